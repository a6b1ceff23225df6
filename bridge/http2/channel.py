"""Channel to one server: over our own HTTP/2 directly, or over any transport of httpx."""

import asyncio
from collections.abc import AsyncIterable, Callable, Coroutine
from typing import Any, Protocol, cast

import httpx

from bridge.headers import Headers
from bridge.http2.errors import AnswerTimeoutError
from bridge.http2.exchange import RawAnswer
from bridge.http2.pool import Pool
from bridge.http2.transport import Http2Transport, exchange

GUARD_S = 0.02
"""Time beyond its timeout after which a transport that does not keep it is cut off."""


GoesOn = Callable[[], bool]


class Channel(Protocol):
    """Carries POSTs to one server."""

    def post(
        self, path: str, headers: Headers, body: bytes, timeout_s: float, goes_on: GoesOn
    ) -> Coroutine[Any, Any, RawAnswer]:
        """Return the whole answer within this time, or raise an httpx.TransportError: see `errors.outcome_of`.

        `goes_on` is called when the task is cancelled after the request may have been sent: if it returns true, a
        channel that can do so finishes the exchange. Only these headers are sent, and what HTTP/2 itself needs.
        """


def channel_to(transport: httpx.AsyncBaseTransport, url: str, body_bytes_max: int) -> Channel:
    """Return a channel over this transport to the server at this URL, whose path comes before every other.

    A body of more than `body_bytes_max` bytes is cut somewhere behind that limit.
    """
    base = httpx.URL(url)
    if isinstance(transport, Http2Transport):
        return Http2Channel(transport, base)
    return HttpxChannel(transport, base, body_bytes_max)


class Http2Channel:
    """Channel without httpx's objects for requests and answers, which cost as much as the whole exchange."""

    def __init__(self, transport: Http2Transport, base: httpx.URL) -> None:
        self._transport = transport
        self._base = base
        self._ways: dict[str, tuple[Pool, Headers]] = {}

    def post(
        self, path: str, headers: Headers, body: bytes, timeout_s: float, goes_on: GoesOn
    ) -> Coroutine[Any, Any, RawAnswer]:
        """Return the answer; the transport keeps the time."""
        pool, pseudo_headers = self._ways.get(path) or self._prepared(path)
        return exchange(pool, pseudo_headers + headers, body, timeout_s, goes_on)

    def _prepared(self, path: str) -> tuple[Pool, Headers]:
        url = _joined(self._base, path)
        pseudo_headers = (
            (b":method", b"POST"),
            (b":authority", url.netloc),
            (b":scheme", url.raw_scheme),
            (b":path", url.raw_path),
        )
        # Not in __init__: a pool belongs to the loop that runs.
        self._ways[path] = self._transport.pool(url), pseudo_headers
        return self._ways[path]


class HttpxChannel:
    """Channel over a transport that is not ours: only what its errors prove is assumed."""

    def __init__(self, transport: httpx.AsyncBaseTransport, base: httpx.URL, body_bytes_max: int) -> None:
        self._transport = transport
        self._base = base
        self._body_bytes_max = body_bytes_max

    async def post(self, path: str, headers: Headers, body: bytes, timeout_s: float, goes_on: GoesOn) -> RawAnswer:
        """Return the answer; a transport that exceeds the timeout is cut off."""
        request = httpx.Request(
            "POST",
            _joined(self._base, path),
            headers=[(b"host", self._base.netloc), *headers],
            # A stream of ours, not `content`: httpx would add headers to it.
            stream=httpx.ByteStream(body),
            extensions={"timeout": dict.fromkeys(("connect", "read", "write", "pool"), timeout_s)},
        )
        try:
            async with asyncio.timeout(timeout_s + GUARD_S):
                return await self._exchange(request)
        except TimeoutError:
            raise AnswerTimeoutError from None
        except asyncio.CancelledError:
            # This channel cannot go on; the call still reports that the request may have been sent.
            goes_on()
            raise

    async def _exchange(self, request: httpx.Request) -> RawAnswer:
        response = await self._transport.handle_async_request(request)
        try:
            body = await self._read(cast("AsyncIterable[bytes]", response.stream))
        finally:
            await response.aclose()
        headers = tuple((name.lower(), value) for name, value in response.headers.raw)
        return RawAnswer(response.status_code, headers, body)

    async def _read(self, stream: AsyncIterable[bytes]) -> bytes:
        body = b""
        async for chunk in stream:
            body += chunk
            if len(body) > self._body_bytes_max:
                break
        return body


def _joined(base: httpx.URL, path: str) -> httpx.URL:
    return base.copy_with(path=base.path.rstrip("/") + path)
