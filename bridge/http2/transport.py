"""httpx's seam over our own HTTP/2: an answer that is whole, or an error that carries what is proven.

HTTP/2 and nothing else: ALPN h2 for https://, prior knowledge (RFC 9113, section 3.3) for http://. No proxies, no
credentials and no certificates from the environment, no redirects, no decoding, no retries of its own.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterable, Callable
from typing import cast

import hpack
import httpx

from bridge.http2.connection import ALPN_HTTP2, Connection, Http2RequiredError
from bridge.http2.errors import AnswerTimeoutError, NotProcessedError, UnreachableError
from bridge.http2.exchange import Exchange
from bridge.http2.pool import TRUST, Pool, Ticket, Trust
from bridge.outcome import Outcome
from bridge.signing import Headers

BODY_BYTES_MAX = 64 * 1024
CONNECT_TIMEOUT_S = 1.0
CONNECTIONS_MAX = 10

# Another value in every request: to remember it would only drive the others out of HPACK's table, and it is nobody's
# to compare with (RFC 7541, section 7.1.3).
NEVER_INDEXED = frozenset({b"x-request-signature"})
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
        ticket = self._pool(request.url).submit(_headers(request), body)
        try:
            async with asyncio.timeout(timeout_s):
                exchange = await ticket.answer()
        except TimeoutError:
            raise _timeout(ticket) from None
        return _response(exchange)

    async def aclose(self) -> None:
        """Close every connection; further requests fail with UnreachableError, cause closed."""
        for pool in self._pools.values():
            await pool.aclose()

    def _pool(self, url: httpx.URL) -> Pool:
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


def _headers(request: httpx.Request) -> Headers:
    url = request.url
    return (
        (b":method", request.method.encode()),
        (b":authority", request.headers.get("host", url.netloc.decode()).encode()),
        (b":scheme", url.raw_scheme),
        (b":path", url.raw_path),
        *(
            hpack.NeverIndexedHeaderTuple(name, value) if name in NEVER_INDEXED else (name, value)
            for name, value in ((raw_name.lower(), raw_value) for raw_name, raw_value in request.headers.raw)
            if name not in LEFT_OUT
        ),
    )


def _response(exchange: Exchange) -> httpx.Response:
    return httpx.Response(
        exchange.status,
        headers=exchange.headers,
        stream=httpx.ByteStream(bytes(exchange.body)),
        extensions={"http_version": b"HTTP/2", "stream_id": exchange.stream_id},
    )


def _timeout(ticket: Ticket) -> httpx.TransportError:
    if ticket.outcome is Outcome.NOT_SENT:
        return UnreachableError("timeout")
    return NotProcessedError() if ticket.outcome is Outcome.NOT_PROCESSED else AnswerTimeoutError()


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
