"""One call on the native front: what its handler sees of it, and the one place where it ends.

A call that is begun is ended, whatever happens: the front itself would leave it open until its caller gives up.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeAlias

import grpc
import grpc.aio
from pygrpc_native import STREAM_SENT, NativeGrpcFront

from bridge.places import places_of
from bridge.server.native.streaming import stream
from bridge.transcoding.status import DETAILS_TRAILER

LOGGER = logging.getLogger(__name__)

Metadata = Iterable[tuple[str, Any]]
"""Values are text or bytes. Any: the front checks them; compiled code would do so first, and the call would not end."""
Details = tuple[tuple[tuple[str, str | bytes], ...], str, float | None]
"""Of the front: metadata, peer, seconds left (None: no deadline)."""

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # at run time it takes no parameters

RESERVED = "grpc-"
"""The one trailer of gRPC's own that the front takes. It refuses grpc-retry-pushback-ms, together with its call."""


class NativeCall:
    """One call. Its methods without an underscore are those of grpc.aio's context that the bridge's handlers use.

    `arrived` is when `details` were read, on the clock of `time.monotonic`. `sent_bytes` is what its messages took.
    """

    __slots__ = ("_deadline", "_front", "_id", "_is_over", "_metadata", "_peer", "_trailers", "sent_bytes")

    def __init__(self, front: NativeGrpcFront, call_id: int, details: Details, arrived: float) -> None:
        self._front = front
        self._id = call_id
        self._metadata, self._peer, remaining_s = details
        self._deadline = None if remaining_s is None else arrived + remaining_s
        self._is_over = False
        self._trailers: Metadata = ()
        self.sent_bytes = 0

    # --- what a handler sees ------------------------------------------------------------------------------------

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()) -> NoReturn:
        """End the call with a status that is not OK; raise AbortError."""
        self.fail(code, details, trailing_metadata)
        raise grpc.aio.AbortError

    def auth_context(self) -> dict[str, tuple[bytes, ...]]:
        """Return what the connection proves about the caller: nothing, as there is no TLS."""
        return {}

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return what came beside the request; bytes for keys that end in -bin."""
        return self._metadata

    def peer(self) -> str:
        """Return the caller's address, as gRPC writes it: ipv4:127.0.0.1:50123."""
        return self._peer

    def set_trailing_metadata(self, trailing_metadata: Metadata) -> None:
        """Take the trailers that the call ends with, unless an abort brings its own."""
        self._trailers = trailing_metadata

    def time_remaining(self) -> float | None:
        """Return for how many seconds the caller will still wait, at least 0; None when it did not say."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    # --- what the server does -----------------------------------------------------------------------------------

    async def run(self, handler: Handler, payload: bytes) -> None:
        """Carry the call out. It may not even begin, when it is cancelled: `ended` must follow in any case."""
        try:
            request = _converted(handler.request_deserializer, payload)
        except Exception:  # noqa: BLE001 - whatever a deserializer raises, the request is to blame
            self.fail(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
            return
        try:
            if handler.response_streaming:
                await stream(self, handler, request)
            else:
                await self._unary(handler, request)
        except grpc.aio.AbortError:
            pass  # the call has ended with it
        except Exception as unexpected:  # noqa: BLE001 - no exception's text may reach a caller
            LOGGER.error("a handler failed: %s", places_of(unexpected))  # noqa: TRY400 - places, no text
            self.fail(grpc.StatusCode.UNKNOWN, "the handler failed")

    def ended(self, task: asyncio.Task[None]) -> None:
        """End a call whose task is done, if nothing else has ended it."""
        if not task.cancelled():
            task.exception()  # or else asyncio logs an exception that was never retrieved
        self.fail(grpc.StatusCode.CANCELLED, "the call was cut off")

    def fail(self, code: grpc.StatusCode, message: str, trailers: Metadata = ()) -> None:
        """End the call with a status that is not OK, unless it has ended. Trailers that cannot be sent are left out.

        Without trailers it ends with those that were set before.
        """
        if self._is_over:
            return
        self._is_over = True
        trailers = trailers or self._trailers
        sendable = [(key, value) for key, value in trailers if not key.startswith(RESERVED) or key == DETAILS_TRAILER]
        for text, metadata in ((message, sendable), (message, []), ("", [])):
            try:
                self._front.fail(self._id, code.value[0], text, metadata)
            except (TypeError, ValueError):
                LOGGER.error("the engine refused a status: %d trailers left out", len(metadata))  # noqa: TRY400 - likewise
            else:
                return

    def try_send(self, message: bytes) -> int:
        """Send a message of a stream if it can be sent now; return what became of it, in the front's words."""
        sent = self._front.stream_try_send(self._id, message)
        if sent == STREAM_SENT:
            self.sent_bytes += len(message)
        return sent

    def end_stream(self) -> None:
        """End a stream with OK, unless it has ended."""
        if not self._is_over:
            self._front.stream_end(self._id, list(self._trailers))
            self._is_over = True

    async def _unary(self, handler: Handler, request: Any) -> None:
        # An attribute that the type does not have: its stub knows synchronous handlers only.
        answer: Any = handler.unary_unary
        response = _converted(handler.response_serializer, await answer(request, self))
        if not self._is_over:
            self._front.respond(self._id, response, None, list(self._trailers))
            self.sent_bytes = len(response)
            self._is_over = True


def _converted(convert: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if convert is None else convert(value)
