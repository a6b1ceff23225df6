"""One request and its answer on one stream, and what is proven about it at every moment."""

import asyncio

import httpx

from bridge.http2.errors import ConnectionLostError, NotProcessedError, UnreachableError
from bridge.http2.protocol import ErrorCodes
from bridge.outcome import Outcome

BodyPart = memoryview


class Exchange:
    """What the connection knows of one stream. Its `answer` is done when the exchange is."""

    __slots__ = ("answer", "body", "headers", "outcome", "status", "stream_id", "unsent")

    def __init__(self, stream_id: int, body: bytes, answer: "asyncio.Future[Exchange]") -> None:
        self.stream_id = stream_id
        self.outcome = Outcome.NOT_SENT
        """NOT_SENT until its first byte is written, then UNKNOWN, or NOT_PROCESSED once the server proves that."""
        self.unsent: BodyPart = memoryview(body)
        self.answer = answer
        self.status = 0
        """Of the final answer; 0 before it has begun."""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()

    def written(self) -> None:
        """Note that the first byte leaves now."""
        if self.outcome is Outcome.NOT_SENT:
            self.outcome = Outcome.UNKNOWN

    def disowned(self) -> None:
        """Note the server's promise that it did not process the request. One that it has begun to answer, it did."""
        if not self.status:
            self.outcome = Outcome.NOT_PROCESSED

    def complete(self) -> None:
        """End with the answer, or with what its content-length proves."""
        if self.answer.done():
            return
        if self._is_malformed():
            self._fail_with(ConnectionLostError("the body is not as long as its content-length"))
        else:
            self.answer.set_result(self)

    def fail(self, what: str) -> None:
        """End without an answer, with the error that is proven."""
        if not self.answer.done():
            self._fail_with(self.failure(what))

    def reset(self, error_code: int) -> None:
        """End because the server gave the stream up (RFC 9113, section 8.7)."""
        if error_code == ErrorCodes.REFUSED_STREAM:
            self.disowned()
        self.fail(f"RST_STREAM {error_code}")

    def failure(self, what: str) -> httpx.TransportError:
        """Return the error for an exchange that ends now, without an answer."""
        if self.outcome is Outcome.NOT_SENT:
            return UnreachableError("closed")
        if self.outcome is Outcome.NOT_PROCESSED:
            return NotProcessedError()
        return ConnectionLostError(what)

    def _fail_with(self, error: httpx.TransportError) -> None:
        self.answer.set_exception(error)
        self.answer.exception()  # seen: a caller who is cancelled just now never looks

    def _is_malformed(self) -> bool:
        # RFC 9113, section 8.1.1: the DATA of an answer must add up to its content-length.
        lengths = [value for name, value in self.headers if name == b"content-length"]
        return any(not value.isdigit() or int(value) != len(self.body) for value in lengths)
