"""HTTP/2 over httpx's stock transport, with evidence of how far each request came.

The seam to the rest is `httpx.AsyncBaseTransport` and a Progress in the request's extensions; nothing outside this
package knows what is behind it.
"""

import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import h2.errors
import h2.events
import httpx

from bridge.http2.progress import EXTENSION, Progress
from bridge.outcome import Outcome

ALPN_HTTP2 = "h2"  # RFC 9113, section 3.2

LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=100, keepalive_expiry=60.0)

Trace = Callable[[str, dict[str, Any]], Awaitable[None]]


class Http2RequiredError(httpx.ConnectError):
    """The server did not agree to HTTP/2 in the TLS handshake. Nothing but the handshake was sent."""


class Http2Transport(httpx.AsyncBaseTransport):
    """Speaks HTTP/2 and nothing else: ALPN h2 for https://, prior knowledge (RFC 9113, section 3.3) for http://.

    No proxies, no credentials and no certificates from the environment, no redirects, no retries of its own.
    """

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        self._stock = httpx.AsyncHTTPTransport(
            verify=ssl_context, http1=False, http2=True, trust_env=False, limits=LIMITS
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request and return its answer, body unread; raise httpx.TransportError and say why in Progress."""
        progress = request.extensions.get(EXTENSION) or Progress()
        progress.outcome = Outcome.NOT_SENT
        evidence = _Evidence(progress)
        request.extensions = {**request.extensions, "trace": evidence.trace}
        # httpcore sends a body only if a header announces one. This one it keeps to itself: it has no place in HTTP/2
        # (RFC 9113, section 8.2.2), and content-length is not among the headers that the bridge may send.
        request.headers["transfer-encoding"] = "chunked"
        try:
            return await self._stock.handle_async_request(request)
        except httpx.TransportError as error:
            evidence.explain(error)
            raise

    async def aclose(self) -> None:
        """Close every connection."""
        await self._stock.aclose()


class _Evidence:
    """Watches the steps that httpcore reports for one request."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._stream_id = 0
        self._tcp: Any = None
        self._steps: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            "connection.connect_tcp.complete": self._connected,
            "connection.start_tls.failed": self._tls_failed,
            "connection.start_tls.complete": self._tls_done,
            "http2.send_request_headers.started": self._sending,
        }

    async def trace(self, name: str, facts: dict[str, Any]) -> None:
        step = self._steps.get(name)
        if step is not None:
            await step(facts)

    async def _connected(self, facts: dict[str, Any]) -> None:
        self._tcp = facts["return_value"]

    async def _tls_failed(self, _facts: dict[str, Any]) -> None:
        await self._tcp.aclose()  # nobody else does: a handshake that times out would leave its socket open

    async def _tls_done(self, facts: dict[str, Any]) -> None:
        stream = facts["return_value"]
        if stream.get_extra_info("ssl_object").selected_alpn_protocol() != ALPN_HTTP2:
            await stream.aclose()
            raise Http2RequiredError("the server does not offer HTTP/2 (ALPN h2)")

    async def _sending(self, facts: dict[str, Any]) -> None:
        self._stream_id = facts["stream_id"]
        self._progress.outcome = Outcome.UNKNOWN

    def explain(self, error: httpx.TransportError) -> None:
        if self._progress.outcome is Outcome.NOT_SENT:
            self._progress.cause = _cause(error)
        elif any(self._is_proof(argument) for link in _chain(error) for argument in link.args):
            self._progress.outcome = Outcome.NOT_PROCESSED

    def _is_proof(self, event: object) -> bool:
        # RFC 9113, section 8.7: REFUSED_STREAM, and streams above GOAWAY's last id, are guaranteed not processed.
        if isinstance(event, h2.events.StreamReset):
            return event.error_code == h2.errors.ErrorCodes.REFUSED_STREAM
        if isinstance(event, h2.events.ConnectionTerminated):
            return event.last_stream_id is not None and self._stream_id > event.last_stream_id
        return False


# Which exception, anywhere in the chain, gives which cause; the first row that fits wins.
_CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (Http2RequiredError, "http2_required"),
    # Before tls: a handshake that stalls until the time-out has an SSLWantReadError in its chain.
    (httpx.TimeoutException, "timeout"),
    (TimeoutError, "timeout"),
    (ssl.SSLError, "tls"),
    (socket.gaierror, "dns"),
    (ConnectionRefusedError, "refused"),
)


def _cause(error: BaseException) -> str:
    links = tuple(_chain(error))
    return next((cause for kind, cause in _CAUSES if any(isinstance(link, kind) for link in links)), "network")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        # anyio tries every address of a name and raises the failures of all of them as one group.
        if isinstance(error, BaseExceptionGroup):
            for member in error.exceptions:
                yield from _chain(member)
        error = error.__cause__ or error.__context__
