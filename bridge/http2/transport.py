"""httpx's transport interface over our own HTTP/2: a whole answer, or an error that carries what is proven.

HTTP/2 and nothing else: ALPN h2 for https://, prior knowledge (RFC 9113, section 3.3) for http://. No proxies, no
credentials and no certificates from the environment, no redirects, no decoding, no retries of its own.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterable, Callable
from functools import partial
from typing import Any, cast

import httpx

from bridge.headers import Headers
from bridge.http2.addresses import Addresses
from bridge.http2.causes import CLOSED, Http2RequiredError, why
from bridge.http2.connect import Race, Sockets
from bridge.http2.connection import ALPN_HTTP2, Connection
from bridge.http2.errors import UnreachableError
from bridge.http2.exchange import RawAnswer
from bridge.http2.limits import BODY_BYTES_MAX
from bridge.http2.liveness import TRUST, Trust
from bridge.http2.pool import Pool
from bridge.outcome import Outcome
from bridge.places import without_context

CONNECT_TIMEOUT_S = 1.0
CONNECTIONS_MAX = 10

# Not in HTTP/2 (RFC 9113, section 8.2.2), or said by a pseudo-header (section 8.3.1).
LEFT_OUT = frozenset({b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})

Origin = tuple[str, str, int]


class Http2Transport(httpx.AsyncBaseTransport):
    """A pool of connections for each origin. The whole exchange is bounded by httpx's `read` time-out, in seconds.

    An answer's body is collected before it is handed over. One of more than `body_bytes_max` bytes is cut just behind
    that limit, and its stream is reset: its reader finds more than the limit allows.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        *,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        connections_max: int = CONNECTIONS_MAX,
        body_bytes_max: int = BODY_BYTES_MAX,
        trust: Trust = TRUST,
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._connections_max = connections_max
        self._body_bytes_max = body_bytes_max
        self._trust = trust
        self._pools: dict[Origin, Pool] = {}
        self._addresses: dict[Origin, Addresses] = {}
        self.use_tls(ssl_context)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the whole answer; raise one of `bridge.http2.errors`, and nothing else."""
        body = b"".join([part async for part in cast("AsyncIterable[bytes]", request.stream)])
        timeout_s = request.extensions.get("timeout", {}).get("read")
        return _response(await exchange(self.pool(request.url), _headers(request), body, timeout_s, _never))

    def use_tls(self, ssl_context: ssl.SSLContext) -> None:
        """Make every further connection with this. Those that are open take no further request."""
        ssl_context.set_alpn_protocols([ALPN_HTTP2])
        self._ssl_context = ssl_context
        for pool in self._pools.values():
            pool.retire()

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return sum(pool.connections for pool in self._pools.values())

    @property
    def streams(self) -> int:
        """Number of requests under way on them."""
        return sum(pool.streams for pool in self._pools.values())

    async def aclose(self) -> None:
        """Close every connection; further requests fail with UnreachableError, cause closed."""
        for pool in self._pools.values():
            await pool.aclose()
        for addresses in self._addresses.values():
            await addresses.aclose()

    def pool(self, url: httpx.URL) -> Pool:
        """Return the connections to a URL's origin; call it in the loop that is to use them."""
        origin = url.scheme, url.host, url.port or {"https": 443, "http": 80}[url.scheme]
        if origin not in self._pools:
            addresses = self._addresses[origin] = Addresses(origin[1], origin[2])
            self._pools[origin] = Pool(
                partial(self._connect, origin, addresses),
                connections_max=self._connections_max,
                trust=self._trust,
            )
        return self._pools[origin]

    async def _connect(
        self, origin: Origin, addresses: Addresses, changed: Callable[[], None], sockets: Sockets
    ) -> Connection:
        scheme, host, _ = origin
        deadline = asyncio.get_running_loop().time() + self._connect_timeout_s
        handshake = partial(self._handshake, host if scheme == "https" else None, changed)
        try:
            async with asyncio.timeout_at(deadline):
                return await Race(addresses, handshake, deadline, sockets).run()
        except (OSError, ssl.SSLError, UnicodeError) as error:
            raise without_context(UnreachableError(*why(error))) from None

    async def _handshake(
        self, server_name: str | None, changed: Callable[[], None], connected: socket.socket
    ) -> Connection:
        loop, ssl_context = asyncio.get_running_loop(), self._ssl_context
        transport, connection = await loop.create_connection(
            lambda: Connection(loop, self._body_bytes_max, changed),
            sock=connected,
            ssl=ssl_context if server_name else None,
            server_hostname=server_name,
        )
        try:
            await connection.ready
        except BaseException:
            transport.abort()
            raise
        if not connection.is_open:
            raise Http2RequiredError("GOAWAY at once") if connection.refuses_http2 else UnreachableError(CLOSED)
        if ssl_context is not self._ssl_context:
            # Made with the settings from before `use_tls`; another one will soon be there for those who wait.
            connection.retire()
        return connection


async def exchange(
    pool: Pool, headers: Headers, body: bytes, timeout_s: float | None, goes_on: Callable[[], bool]
) -> RawAnswer:
    """Return the answer to these headers, pseudo-headers first, and this body.

    `timeout_s` bounds the whole of it. `goes_on` is called when the task is cancelled after the request was sent: true
    means that the cancel is to be ignored. Raise one of `bridge.http2.errors`, and nothing else.
    """
    under_way = pool.submit(headers, body)
    # One timer for the whole, and not `asyncio.timeout`: that costs a tenth of a call.
    timer = None if timeout_s is None else pool.loop.call_later(timeout_s, pool.expire, under_way)
    try:
        while True:
            try:
                return await under_way.answer
            except asyncio.CancelledError:
                # What is proven not to be processed need not be finished.
                if under_way.outcome is not Outcome.UNKNOWN or not goes_on():
                    raise
                under_way.resume(pool.loop.create_future())
                cast("asyncio.Task[Any]", asyncio.current_task()).uncancel()
    finally:
        if timer is not None:
            timer.cancel()
        pool.withdraw(under_way)


def _never() -> bool:
    return False


def _headers(request: httpx.Request) -> Headers:
    url = request.url
    return (
        (b":method", request.method.encode()),
        (b":authority", request.headers.get("host", url.netloc.decode()).encode()),
        (b":scheme", url.raw_scheme),
        (b":path", url.raw_path),
        *((name.lower(), value) for name, value in request.headers.raw if name.lower() not in LEFT_OUT),
    )


def _response(answer: RawAnswer) -> httpx.Response:
    return httpx.Response(
        answer.status,
        headers=list(answer.headers),
        stream=httpx.ByteStream(answer.body),
        extensions={"http_version": b"HTTP/2"},
    )
