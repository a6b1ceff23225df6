"""One request and its answer, and what is proven about it at every moment."""

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import httpx

from bridge.http2.errors import AnswerTimeoutError, ConnectionLostError, NotProcessedError, UnreachableError
from bridge.http2.frames import ErrorCode
from bridge.outcome import Outcome
from bridge.signing import Headers

if TYPE_CHECKING:
    from bridge.http2.connection import Connection


class RawAnswer(NamedTuple):
    """What the server returned for one request, whole."""

    status: int
    """100 to 599, of the final answer."""
    headers: tuple[tuple[bytes, bytes], ...]
    """Names in lower case; without pseudo-header fields."""
    body: bytes
    """No longer than a few pieces over the limit: see `Http2Transport`."""


class Exchange:
    """What is known of one request. Its `answer` is done when the exchange is."""

    __slots__ = (
        "_end",
        "answer",
        "connection",
        "headers",
        "outcome",
        "parts",
        "request_headers",
        "size_bytes",
        "status",
        "stream_id",
        "unsent",
    )

    def __init__(self, headers: Headers, body: bytes, answer: "asyncio.Future[RawAnswer]") -> None:
        self.request_headers = headers
        self.unsent = memoryview(body)
        self.answer = answer
        self.outcome = Outcome.NOT_SENT
        """NOT_SENT until its first byte is written, then UNKNOWN, or NOT_PROCESSED once the server proves that."""
        self.connection: Connection | None = None
        """None while it waits for a stream."""
        self.stream_id = 0
        self.status = 0
        """Of the final answer; 0 before it has begun."""
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        self.parts: list[bytes] = []
        """Of the answer's body."""
        self.size_bytes = 0
        """Of these parts."""
        self._end: RawAnswer | Exception | None = None

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
        if self._is_malformed():
            self.fail_with(ConnectionLostError("the body is not as long as its content-length"))
        else:
            self._end_with(RawAnswer(self.status, self.headers, b"".join(self.parts)))

    def fail(self, what: str) -> None:
        """End without an answer, with the error that is proven."""
        self.fail_with(self._failure("closed", ConnectionLostError(what)))

    def reset(self, error_code: int) -> None:
        """End because the server gave the stream up (RFC 9113, section 8.7)."""
        if error_code == ErrorCode.REFUSED_STREAM:
            self.disowned()
        self.fail(f"RST_STREAM {error_code}")

    def expire(self) -> None:
        """End because its time is over."""
        self.fail_with(self._failure("timeout", AnswerTimeoutError()))

    def resume(self, answer: "asyncio.Future[RawAnswer]") -> None:
        """Go on although whoever waited was cancelled, and its future with it."""
        if self.answer.cancelled():
            self.answer = answer
            # It may have ended between the cancel and this: nothing else would ever tell so.
            self._tell()

    def fail_with(self, error: Exception) -> None:
        """End with this error; nothing if it has ended."""
        self._end_with(error)

    def _end_with(self, end: RawAnswer | Exception) -> None:
        if self._end is None:
            self._end = end
            self._tell()

    def _tell(self) -> None:
        if self.answer.done():
            return
        if isinstance(self._end, Exception):
            self.answer.set_exception(self._end)
            self.answer.exception()  # seen: a caller who is cancelled just now never looks
        elif self._end is not None:
            self.answer.set_result(self._end)

    def _failure(self, cause: str, unknown: httpx.TransportError) -> httpx.TransportError:
        if self.outcome is Outcome.NOT_SENT:
            return UnreachableError(cause)
        return NotProcessedError() if self.outcome is Outcome.NOT_PROCESSED else unknown

    def _is_malformed(self) -> bool:
        # RFC 9113, section 8.1.1: the DATA of an answer must add up to its content-length.
        for name, value in self.headers:
            if name == b"content-length" and not (value.isdigit() and int(value) == self.size_bytes):
                return True
        return False
