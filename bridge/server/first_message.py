"""The grpcio engine's server: grpc.aio's, with limits on calls whose message has not come.

grpc.aio reads the message of a unary call before it calls the handler. A call without one never reaches a handler, and
stays open until its caller gives up. On the wire a unary call is a stream of one message (gRPC over HTTP/2,
"Requests"), so the handlers are registered as those of request streams, and the message is read here.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, NoReturn, TypeAlias

import grpc
import grpc.aio

from bridge.call_id import call_id_of
from bridge.errors import BridgeOverloaded
from bridge.server.batches import Batches
from bridge.server.peers import OpenPeers
from bridge.server.tarpit import Tarpit
from bridge.transcoding.status import wire_status

MESSAGE_S = 5.0
"""Longest time for a message to arrive, from the call's headers to its last byte."""

LOOK_S = 0.5
"""Interval of checks of the waiting calls: a limit of time is exceeded by no more than twice this, and by the time for
which the event loop stood still."""

END_S = 0.1
"""Time for which the end of a stream without a message is held back. A caller that resets its stream ends it too, and
gRPC reports the reset a moment later; then the call is cancelled."""

WAITING_MAX = 200
"""Calls at once whose message has not come; beyond it the oldest is refused. A message comes with the headers, a large
one some round trips later: of 1200 calls that begin together, no more than a few wait. Where each has 50 kB, which flow
control lets in bit by bit, more than 200 of 800 may wait on an overloaded machine: some are refused, before anything is
sent. Each may hold all of a message of 64 KiB but its last byte."""

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"  # at run time it takes no parameters
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # likewise

STREAMS = "grpc.max_concurrent_streams", "grpc.http2.max_deallocating_streams"
"""Channel arguments: how many streams a connection may have, and how many more that have ended."""

HELD_MORE = 100
"""Calls held beyond what one connection may have."""

RETRY_AFTER_S = 1.0
"""When a caller whose call gave way to a newer one may come again."""


class Waiting:
    """Calls whose message has not come, oldest first; those that wait for too long, or are too many, are given up."""

    def __init__(self, count_max: int = WAITING_MAX, message_s: float = MESSAGE_S) -> None:
        self._count_max = count_max
        self._message_s = message_s
        self._since: dict[asyncio.Task[Any], float] = {}
        """Task of the call -> when it began to wait, on the loop's clock."""
        self._late: set[asyncio.Task[Any]] = set()
        self._superseded: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._since)

    async def message(self, context: Context) -> bytes | None:
        """Return the message of the call that this task carries out; None where none comes.

        Raise AbortError for a call that gave way to a newer one, CancelledError where the client cancels.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the type checker: a coroutine runs in a task
        self._enter(task)
        try:
            message = await context.read()
            if message is grpc.aio.EOF:
                await asyncio.sleep(END_S)
                return None
        except asyncio.CancelledError:
            if task in self._superseded:
                task.uncancel()
                await _refuse(context)
            if task not in self._late:
                raise
            task.uncancel()
            return None
        else:
            return bytes(message)
        finally:
            if self._since.pop(task, None) is None:  # it was given up
                self._late.discard(task)
                self._superseded.discard(task)

    def _enter(self, task: asyncio.Task[Any]) -> None:
        loop = task.get_loop()
        self._since[task] = loop.time()
        if len(self._since) > self._count_max:
            self._give_up(next(iter(self._since)), self._superseded)
        if self._timer is None:
            self._look_later(loop)

    def _give_up(self, task: asyncio.Task[Any], why: set[asyncio.Task[Any]]) -> None:
        del self._since[task]
        why.add(task)
        task.cancel()

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(LOOK_S, self._look, loop, loop.time() + LOOK_S)

    def _look(self, loop: asyncio.AbstractEventLoop, due_at: float) -> None:
        now, self._timer = loop.time(), None
        # A loop that stood still has yet to read what has come meanwhile.
        if now <= due_at + LOOK_S:
            for task in [task for task, since in self._since.items() if since <= now - self._message_s]:
                self._give_up(task, self._late)
        if self._since:
            self._look_later(loop)


class GrpcioServer(grpc.aio.Server):
    """grpc.aio's server. A handler whose request_deserializer is None gets None where a call has no message.

    For the others such a call ends with INVALID_ARGUMENT before the handler is called.
    """

    def __init__(self, options: tuple[tuple[str, int], ...]) -> None:
        self._server = grpc.aio.server(options=options)
        self.waiting = Waiting()
        self._batches = Batches()
        given = dict(options)
        # No open connection can make its own calls go before their time, and so get more of them.
        self.tarpit = Tarpit(sum(given.get(name, 0) for name in STREAMS) + HELD_MORE, OpenPeers().has)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Ignore these: every service registers its handlers the other way too, as generated code does."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        """Serve a service.

        Its methods are registered as generic ones all the same. grpc.aio waits for the next call of every registered
        method at once, by an `asyncio.wait` over all of them for each call. Among generic handlers it waits for one.
        """
        reading = {name: self._reading(handler) for name, handler in method_handlers.items()}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service_name, reading),))

    def add_insecure_port(self, address: str) -> int:
        """Bind "host:port" in plaintext and return the port's number; raise RuntimeError where that cannot be."""
        return self._server.add_insecure_port(address)

    def add_secure_port(self, address: str, server_credentials: grpc.ServerCredentials) -> int:
        """Bind "host:port" for TLS and return the port's number; raise RuntimeError where that cannot be."""
        return self._server.add_secure_port(address, server_credentials)

    async def start(self) -> None:
        """Take calls from now on."""
        self._server.add_generic_rpc_handlers((_Unknown(self.tarpit),))  # the last: those before it come first
        await self._server.start()

    async def stop(self, grace: float | None) -> None:
        """Refuse new calls, and end those that are open after so many seconds (None: at once)."""
        self.tarpit.close()
        await self._server.stop(grace)

    async def wait_for_termination(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - grpc.aio's signature
        """Wait for the end of a stop; return whether the time was up before."""
        return await self._server.wait_for_termination(timeout)

    def _message(self, context: Context) -> Awaitable[bytes | None]:
        return self.tarpit.unless_cancelled(self._message_of_a_batch(context), context)

    async def _message_of_a_batch(self, context: Context) -> bytes | None:
        message = await self.waiting.message(context)
        if message is None:
            await self.tarpit.slow_down(context)
        await self._batches.turn()
        return message

    def _reading(self, handler: Handler) -> Handler:
        """Return a handler that reads the message itself; one of request streams does so anyway."""
        if handler.request_streaming:
            return self._conversation(handler)
        return self._streaming(handler) if handler.response_streaming else self._unary(handler)

    def _conversation(self, handler: Handler) -> Handler:
        converse: Any = handler.stream_stream

        async def behaviour(requests: Any, context: Context) -> None:
            await self.tarpit.unless_cancelled(converse(requests, context), context)

        return grpc.stream_stream_rpc_method_handler(
            behaviour, handler.request_deserializer, handler.response_serializer
        )

    def _unary(self, handler: Handler) -> Handler:
        # An attribute that the type does not have: its stub knows synchronous handlers only.
        answer: Any = handler.unary_unary
        is_raw = handler.request_deserializer is None

        async def behaviour(_requests: Any, context: Context) -> Any:
            message = await self._message(context)
            return await answer(message if is_raw else await _parsed(handler, message, context), context)

        return grpc.stream_unary_rpc_method_handler(behaviour, response_serializer=handler.response_serializer)

    def _streaming(self, handler: Handler) -> Handler:
        answers: Any = handler.unary_stream

        async def behaviour(_requests: Any, context: Context) -> AsyncIterator[Any]:
            request = await _parsed(handler, await self._message(context), context)
            async with aclosing(answers(request, context)) as responses:
                async for response in responses:
                    yield response

        return grpc.stream_stream_rpc_method_handler(behaviour, response_serializer=handler.response_serializer)


class _Unknown(grpc.GenericRpcHandler):
    """Serves all methods that nothing else serves: with UNIMPLEMENTED, late where there are many such calls."""

    def __init__(self, tarpit: Tarpit) -> None:
        async def behaviour(_requests: Any, context: Context) -> NoReturn:
            await tarpit.unless_cancelled(tarpit.slow_down(context), context)
            await _abort(context, grpc.StatusCode.UNIMPLEMENTED, "there is no such method")

        self._handler: Handler = grpc.stream_unary_rpc_method_handler(behaviour)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:  # noqa: ARG002 - grpc's signature
        """Return what answers a call of any method."""
        return self._handler


async def _parsed(handler: Handler, message: bytes | None, context: Context) -> Any:
    deserialize = handler.request_deserializer
    if deserialize is None:
        return message
    if message is None:
        await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "the call has no message")
    try:
        return deserialize(message)
    except Exception:  # noqa: BLE001 - whatever a deserializer raises, the request is to blame
        await _abort(context, grpc.StatusCode.INTERNAL, "the message cannot be parsed")


async def _refuse(context: Context) -> NoReturn:
    error = BridgeOverloaded(retry_after_s=RETRY_AFTER_S, cause="no_message")
    wire = wire_status(error, call_id_of(context.invocation_metadata() or ()))
    await _abort(context, grpc.StatusCode.RESOURCE_EXHAUSTED, wire.message, wire.trailers)


async def _abort(context: Context, code: grpc.StatusCode, message: str, trailers: Any = ()) -> NoReturn:
    try:
        await context.abort(code, message, trailers)
    except grpc.aio.InternalError:
        # The call has just ended in gRPC's core: the client cancelled. gRPC would log that as an error.
        raise asyncio.CancelledError from None
