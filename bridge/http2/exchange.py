"""One request and its answer, and what is proven about it at every moment."""

import asyncio
from typing import Protocol

import httpx

from bridge.headers import Headers
from bridge.http2.causes import HTTP2_REQUIRED, cause_of_code, code_name
from bridge.http2.content_length import content_length
from bridge.http2.errors import AnswerTimeoutError, ConnectionLostError, NotProcessedError, UnreachableError
from bridge.http2.frames import ErrorCode
from bridge.http2.hpack import Fields
from bridge.outcome import Outcome, Value

NOT_MODIFIED = 304


class Carrier(Protocol):
    """The connection that an exchange is on, as its pool sees it."""

    def abandon(self, exchange: "Exchange") -> None:
        """Abandon an exchange that was cancelled; nothing if it is over."""

    def expired(self, exchange: "Exchange") -> None:
        """Note that one of its exchanges has expired."""


class RawAnswer(Value, frozen=True):
    """A server's whole answer to one request."""

    status: int
    """100 to 599, of the final answer."""
    headers: Fields
    """Names in lower case; without pseudo-header fields."""
    body: bytes
    """No longer than a few pieces over the limit: see `Http2Transport`."""


class Exchange:
    """State of one request. Its `answer` is done when the exchange is."""

    __slots__ = (
        "_end",
        "answer",
        "connection",
        "declared_bytes",
        "has_begun",
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
        self.connection: Carrier | None = None
        """None while it waits for a stream."""
        self.stream_id = 0
        self.has_begun = False
        """A header of an answer has come, of the final one or of an informational (1xx) one."""
        self.status = 0
        """Of the final answer; 0 before it has begun."""
        self.headers: Fields = ()
        self.declared_bytes: int | None = None
        """Length of the answer's body by its content-length."""
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
        """Note the server's statement that it did not process the request.

        About a request that it has begun to answer the server contradicts itself, and that proves nothing.
        """
        if not self.has_begun:
            self.outcome = Outcome.NOT_PROCESSED

    def begin(self, status: int, headers: Fields) -> bool:
        """Take the head of the final answer; return whether it can be read. If not, the exchange has failed."""
        self.has_begun = True
        self.status, self.headers = status, headers
        try:
            self.declared_bytes = content_length(headers)
        except ValueError as error:
            self.fail_with(ConnectionLostError(str(error)))
            return False
        return True

    def complete(self) -> None:
        """End with the answer, or with an error where its body is not as long as declared (RFC 9113, 8.1.1)."""
        if self.declared_bytes in (None, self.size_bytes) or self._has_no_content():
            self._end_with(RawAnswer(self.status, self.headers, b"".join(self.parts)))
        else:
            self.fail_with(ConnectionLostError("the body is not as long as its content-length"))

    def cut(self) -> None:
        """End with what has come of an answer that is too long: its reader finds it over the limit."""
        self._end_with(RawAnswer(self.status, (), b"".join(self.parts)))

    def fail(self, what: str, cause: str = "") -> None:
        """End without an answer, with the error that is proven; `cause` is what the server has named, if anything."""
        self.fail_with(self._failure(cause or "closed", what, ConnectionLostError(what, cause)))

    def reset(self, error_code: int) -> None:
        """End because the server gave the stream up (RFC 9113, section 8.7).

        Only REFUSED_STREAM proves that it was not processed. HTTP_1_1_REQUIRED is reported as the cause and proves
        nothing: a server may require another protocol at any time, also while it works on the request.
        """
        if error_code == ErrorCode.REFUSED_STREAM:
            self.disowned()
        self.fail(f"RST_STREAM {code_name(error_code)}", cause_of_code(error_code))

    def expire(self) -> None:
        """End because its time is over."""
        self.fail_with(self._failure("timeout", "", AnswerTimeoutError()))

    def resume(self, answer: "asyncio.Future[RawAnswer]") -> None:
        """Go on although the task that waited was cancelled, and its future with it."""
        if self.answer.cancelled():
            self.answer = answer
            # It may have ended between the cancel and this: nothing else would resolve the new future.
            self._resolve()

    def fail_with(self, error: Exception) -> None:
        """End with this error; nothing if it has ended."""
        self._end_with(error)

    def _end_with(self, end: RawAnswer | Exception) -> None:
        if self._end is None:
            self._end = end
            self._resolve()

    def _resolve(self) -> None:
        if self.answer.done():
            return
        if isinstance(self._end, Exception):
            self.answer.set_exception(self._end)
            self.answer.exception()  # retrieved: a caller that is cancelled just now never reads it
        elif self._end is not None:
            self.answer.set_result(self._end)

    def _failure(self, cause: str, detail: str, unknown: httpx.TransportError) -> httpx.TransportError:
        if self.outcome is Outcome.NOT_SENT:
            return UnreachableError(cause, detail)
        if self.outcome is Outcome.NOT_PROCESSED:
            return NotProcessedError(cause if cause == HTTP2_REQUIRED else "", detail)
        return unknown

    def _has_no_content(self) -> bool:
        # RFC 9110, section 15.4.5: a 304 may declare the length that a 200 would have.
        return self.status == NOT_MODIFIED and not self.size_bytes
