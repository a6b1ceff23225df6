"""httpx's seam over our own HTTP/2: an answer that is whole, or an error that carries what is proven.

HTTP/2 and nothing else: ALPN h2 for https://, prior knowledge (RFC 9113, section 3.3) for http://. No proxies, no
credentials and no certificates from the environment, no redirects, no decoding, no retries of its own.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterable, Callable
from typing import cast

import httpx

from bridge.http2.connection import ALPN_HTTP2, Connection, Http2RequiredError
from bridge.http2.errors import UnreachableError
from bridge.http2.exchange import RawAnswer
from bridge.http2.pool import TRUST, Pool, Trust
from bridge.signing import Headers

BODY_BYTES_MAX = 64 * 1024
CONNECT_TIMEOUT_S = 1.0
CONNECTIONS_MAX = 10

# Not in HTTP/2 (RFC 9113, section 8.2.2), or said by a pseudo-header (section 8.3.1).
LEFT_OUT = frozenset({b"host", b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})

Origin = tuple[str, str, int]


class Http2Transport(httpx.AsyncBaseTransport):
    """A pool of connections for each origin. The whole exchange is bounded by httpx's `read` time-out, in seconds.

    An answer's body is collected before it is handed over. One of more than `body_bytes_max` bytes is cut just behind
    that limit, and its stream is reset: whoever reads it finds more than the limit allows.
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
        ssl_context.set_alpn_protocols([ALPN_HTTP2])
        self._ssl_context = ssl_context
        self._connect_timeout_s = connect_timeout_s
        self._connections_max = connections_max
        self._body_bytes_max = body_bytes_max
        self._trust = trust
        self._pools: dict[Origin, Pool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the whole answer; raise one of `bridge.http2.errors`, and nothing else."""
        body = b"".join([part async for part in cast("AsyncIterable[bytes]", request.stream)])
        timeout_s = request.extensions.get("timeout", {}).get("read")
        return _response(await exchange(self.pool(request.url), _headers(request), body, timeout_s))

    async def aclose(self) -> None:
        """Close every connection; further requests fail with UnreachableError, cause closed."""
        for pool in self._pools.values():
            await pool.aclose()

    def pool(self, url: httpx.URL) -> Pool:
        """Return the connections to a URL's origin; call it in the loop that is to use them."""
        origin = url.scheme, url.host, url.port or {"https": 443, "http": 80}[url.scheme]
        if origin not in self._pools:
            self._pools[origin] = Pool(
                lambda changed: self._connect(origin, changed),
                connections_max=self._connections_max,
                trust=self._trust,
            )
        return self._pools[origin]

    async def _connect(self, origin: Origin, changed: Callable[[], None]) -> Connection:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                return await self._connect_to_any_address(origin, changed)
        except (OSError, ssl.SSLError, UnicodeError) as error:
            raise UnreachableError(_cause(error)) from None

    async def _connect_to_any_address(self, origin: Origin, changed: Callable[[], None]) -> Connection:
        scheme, host, port = origin
        loop = asyncio.get_running_loop()
        first_error: OSError | None = None
        for *_, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                return await self._connect_to(str(address[0]), port, host if scheme == "https" else None, changed)
            except OSError as error:
                first_error = first_error or error
        raise first_error or socket.gaierror(host)

    async def _connect_to(
        self, address: str, port: int, server_name: str | None, changed: Callable[[], None]
    ) -> Connection:
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_connection(
            lambda: Connection(loop, self._body_bytes_max, changed),
            address,
            port,
            ssl=self._ssl_context if server_name else None,
            server_hostname=server_name,
        )
        try:
            await connection.ready
        except BaseException:
            transport.abort()
            raise
        if not connection.is_open:
            raise ConnectionResetError("GOAWAY at once")
        return connection


async def exchange(pool: Pool, headers: Headers, body: bytes, timeout_s: float | None) -> RawAnswer:
    """Return the answer to these headers, pseudo-headers first, and this body.

    `timeout_s` bounds the whole of it. Raise one of `bridge.http2.errors`, and nothing else.
    """
    under_way = pool.submit(headers, body)
    # One timer for the whole, and not `asyncio.timeout`: that costs a tenth of a call.
    timer = None if timeout_s is None else pool.loop.call_later(timeout_s, under_way.expire)
    try:
        return await under_way.answer
    finally:
        if timer is not None:
            timer.cancel()
        pool.withdraw(under_way)


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
        headers=answer.headers,
        stream=httpx.ByteStream(answer.body),
        extensions={"http_version": b"HTTP/2"},
    )


# Which exception of a connect gives which cause; the first row that fits wins.
_CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "timeout"),
    (Http2RequiredError, "http2_required"),
    (socket.gaierror, "dns"),
    (UnicodeError, "dns"),  # a name that cannot be one
    (ssl.SSLError, "tls"),
    (ConnectionRefusedError, "refused"),
    (OSError, "network"),
)


def _cause(error: BaseException) -> str:
    # RFC 7301, section 3.2: a server that has none of our protocols may say so with this alert.
    if isinstance(error, ssl.SSLError) and error.reason == "TLSV1_ALERT_NO_APPLICATION_PROTOCOL":
        return "http2_required"
    return next(cause for kind, cause in _CAUSES if isinstance(error, kind))
