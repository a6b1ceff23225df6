"""grpc.aio's server interface on the native front: its port, its calls, its end.

Rust threads speak HTTP/2. One Python thread takes calls and cancels from them, many at once, and hands them to the
event loop, where each call is a task.
"""

import asyncio
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import grpc
import grpc.aio
from pygrpc_native import EVENT_CANCEL, NativeGrpcFront

from bridge.address import ListenError
from bridge.server.native.call import Details, Handler, NativeCall
from bridge.server.native.fallback import Fallback
from bridge.server.native.limits import Limits, Options

EVENTS_MAX = 64
"""Largest number of events handed over at once."""

FRONT_METADATA_BYTES_MAX = 64 * 1024
"""Up to here, metadata that is too large gets RESOURCE_EXHAUSTED; beyond, the front answers HTTP 431 by itself."""

CONTENT_TYPE = b"application/grpc"
"""Start of a call's content-type (gRPC over HTTP/2, "Requests")."""

METADATA_ENTRY_BYTES = 32
"""Size of an entry beyond its key and value: RFC 9113, section 6.5.2."""

CANCEL_S = 1.0
"""Time for which a stop waits for calls that it has cancelled: one that was sent to the wallet may go on."""

LEAVING_MAX_S = 2.0
LEAVING_POLL_S = 0.002
LINGER_S = 0.05
LEAVING_BYTES_PER_S = 10e6
"""For how long answers may leave before the front closes, which cuts off what its threads still hold.

It reports when it has taken an answer from its queue, not when the answer has left, and has no other way to wait for
that: so a stop gives the last answer LINGER_S, and all of them the time that this rate takes.
"""


class NativeServer(grpc.aio.Server):
    """A server for one port without TLS. Handlers are coroutines and async generators, and get a NativeCall.

    Only handlers of add_registered_method_handlers are served.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._limits = Limits.of(options)
        self._served: dict[str, Handler] = {}
        self._unserved: dict[str, dict[str, Handler]] = {}
        self._fallback: Fallback | None = None
        self._front: NativeGrpcFront | None = None
        self._taking: threading.Thread | None = None
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._ended_at = 0.0
        self._sent_by = 0.0
        self._is_stopping = False
        self._has_stopped = asyncio.Event()

    # --- before the start ---------------------------------------------------------------------------------------

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Ignore these: every service registers its handlers the other way too, as generated code does."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """Serve a service. Methods whose requests are streams are left to a grpcio server."""
        for name, handler in method_handlers.items():
            if handler.request_streaming:
                self._unserved.setdefault(service_name, {})[name] = handler
            else:
                self._served[f"/{service_name}/{name}"] = handler

    def add_insecure_port(self, address: str) -> int:
        """Bind "host:port" and return the port's number; raise RuntimeError where that cannot be."""
        try:
            self._front = NativeGrpcFront(
                address,
                [],
                call_details=True,
                delay_stream_headers=True,
                metrics=True,
                # The one field of a call's own that the front shows beside its metadata.
                client_key_metadata="content-type",
                keepalive_time_ms=self._limits.keepalive_ms,
                keepalive_timeout_ms=self._limits.keepalive_timeout_ms,
                keepalive_permit_without_calls=self._limits.pings_when_idle,
                max_concurrent_streams=self._limits.streams_max,
                max_metadata_size=FRONT_METADATA_BYTES_MAX,
                reuse_port=self._limits.reuse_port,
            )
        except OSError as error:
            raise RuntimeError(f"cannot listen on {address}") from error
        return self._front.bound_port

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Raise NotImplementedError: the settings refuse TLS with this engine before it comes to this."""
        raise NotImplementedError("the native engine has no TLS")

    # --- start and stop -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Take calls from now on, on the event loop that runs this."""
        front = self._bound()
        front.add_methods([(path, handler.response_streaming) for path, handler in self._served.items()])
        if self._unserved:
            try:
                self._fallback = Fallback(self._unserved, self._options)
            except ListenError:
                front.close()
                raise
            await self._fallback.start()
            front.set_fallback(self._fallback.path)
        front.start()
        self._taking = threading.Thread(
            target=self._take, args=(front, asyncio.get_running_loop()), name="bridge-native", daemon=True
        )
        self._taking.start()

    async def stop(self, grace: float | None) -> None:
        """Refuse new calls, end those that are open after so many seconds (None: at once), and close the port.

        An answer that was given before still leaves. May be called again, also when the first stop was cancelled.
        """
        self._is_stopping = True
        await asyncio.gather(self._end_calls(grace), self._end_fallback(grace))
        await self._let_answers_leave()
        await asyncio.to_thread(self._close)
        self._has_stopped.set()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - grpc.aio's signature
        """Wait for the end of a stop; say whether the time was up before."""
        try:
            # Not asyncio.wait_for: before Python 3.12 it may swallow a cancellation.
            async with asyncio.timeout(timeout):
                await self._has_stopped.wait()
        except TimeoutError:
            return True
        return False

    async def _end_calls(self, grace: float | None) -> None:
        tasks = tuple(self._tasks.values())
        if tasks and grace:
            await asyncio.wait(tasks, timeout=grace)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_S)

    async def _end_fallback(self, grace: float | None) -> None:
        if self._fallback is not None:
            await self._fallback.stop(grace)
            self._ended_at = time.monotonic()  # what it has answered leaves through the front

    async def _let_answers_leave(self) -> None:
        give_up_at = time.monotonic() + LEAVING_MAX_S
        while self._are_answers_queued() and time.monotonic() < give_up_at:  # noqa: ASYNC110 - there is no event
            await asyncio.sleep(LEAVING_POLL_S)
        until = min(max(self._ended_at + LINGER_S, self._sent_by), give_up_at)
        await asyncio.sleep(max(0.0, until - time.monotonic()))

    def _are_answers_queued(self) -> bool:
        metrics = self._bound().metrics() or {"methods": {}}
        return any(
            method["started"] > sum(status["count"] for status in method["status"].values())
            for method in metrics["methods"].values()
        )

    def _close(self) -> None:
        self._bound().close()
        if self._taking is not None:
            self._taking.join()

    def _bound(self) -> NativeGrpcFront:
        if self._front is None:
            raise RuntimeError("add_insecure_port comes first")
        return self._front

    # --- calls --------------------------------------------------------------------------------------------------

    def _take(self, front: NativeGrpcFront, loop: asyncio.AbstractEventLoop) -> None:
        handlers = tuple(self._served.values())
        while (events := front.recv_batch_details(EVENTS_MAX)) is not None:
            try:
                loop.call_soon_threadsafe(self._handle, front, handlers, events, time.monotonic())
            except RuntimeError:  # the loop is closed, and the server was not stopped
                front.close()

    def _handle(
        self, front: NativeGrpcFront, handlers: Sequence[Handler], events: Sequence[Any], arrived: float
    ) -> None:
        for kind, call_id, method_id, payload, content_type, details in events:
            if kind == EVENT_CANCEL:
                task = self._tasks.get(call_id)
                if task is not None:
                    task.cancel()
            else:
                call = NativeCall(front, call_id, details, arrived)
                refusal = self._refusal(payload, content_type, details)
                if refusal is None:
                    self._begin(call, call_id, handlers[method_id], payload)
                else:
                    call.fail(*refusal)
                    self._ended_at = time.monotonic()

    def _begin(self, call: NativeCall, call_id: int, handler: Handler, payload: bytes) -> None:
        task = asyncio.get_running_loop().create_task(call.run(handler, payload))
        self._tasks[call_id] = task
        # A task that is cancelled before it begins never runs: only this callback is called at its end.
        task.add_done_callback(partial(self._ended, call, call_id))

    def _refusal(
        self, payload: bytes, content_type: bytes | str | None, details: Details
    ) -> tuple[grpc.StatusCode, str] | None:
        if self._is_stopping:
            return grpc.StatusCode.UNAVAILABLE, "the bridge stops"
        # In place of a content-type that is missing the front shows the caller's address, as text.
        if not isinstance(content_type, bytes) or not content_type.startswith(CONTENT_TYPE):
            return grpc.StatusCode.INVALID_ARGUMENT, f"content-type must be {CONTENT_TYPE.decode()}"
        if len(payload) > self._limits.request_bytes_max:
            return _too_large("message", len(payload), self._limits.request_bytes_max)
        metadata_bytes = 0
        for key, value in details[0]:  # in a loop: a generator would cost more than all the rest here
            metadata_bytes += len(key) + len(value) + METADATA_ENTRY_BYTES
        if metadata_bytes > self._limits.metadata_bytes_max:
            return _too_large("metadata", metadata_bytes, self._limits.metadata_bytes_max)
        return None

    def _ended(self, call: NativeCall, call_id: int, task: asyncio.Task[None]) -> None:
        del self._tasks[call_id]
        call.ended(task)
        self._ended_at = time.monotonic()
        self._sent_by = max(self._sent_by, self._ended_at) + call.sent_bytes / LEAVING_BYTES_PER_S


def _too_large(what: str, found_bytes: int, bytes_max: int) -> tuple[grpc.StatusCode, str]:
    return grpc.StatusCode.RESOURCE_EXHAUSTED, f"the {what} has {found_bytes} bytes, more than {bytes_max}"
