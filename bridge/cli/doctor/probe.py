"""One address of the wallet, as a call would find it: TLS, ALPN, HTTP/2, an answer, its clock.

One connection, made as the bridge makes its own. Only where that fails is another made, to find out more.
"""

import asyncio
import ssl
from datetime import UTC, datetime

from bridge.cli.doctor.clock import clock_finding
from bridge.cli.doctor.finding import Finding, Level, skipped
from bridge.cli.doctor.handshake import HUNG_UP
from bridge.cli.doctor.target import Place, agreed_on
from bridge.cli.doctor.tls import agreed_findings, context_offering, failed_findings
from bridge.http2.causes import Http2RequiredError
from bridge.http2.connection import ALPN_HTTP2, Connection
from bridge.http2.errors import ConnectionLostError, NotProcessedError, UnreachableError
from bridge.http2.exchange import Exchange

VISIT_CHECKS = ("tls", "alpn", "http2", "answer", "clock")
"""In the order in which they are made."""

PATIENCE_MAX_S = 5.0
"""Longest wait for what is no part of connecting, which has wallet.connect_timeout_s."""
BODY_BYTES_MAX = 1024 * 1024
"""An answer that is longer loses its headers, and with them its date."""

NO_PLAINTEXT_HTTP2 = "what answers there does not speak plaintext HTTP/2: it may be TLS (https://), or HTTP/1.1 alone"
HUNG_UP_PLAINTEXT = (
    "the wallet closes the connection before HTTP/2 stands: it may be TLS there (https://), or HTTP/1.1 alone, "
    "or its allow-list lacks this machine's address"
)

NO_TLS = tuple(Finding(Level.SKIP, check, "because wallet.url is http://") for check in ("tls", "alpn"))

# RFC 9110, section 15.6: what stands before the wallet says that it got no answer from there.
GATEWAY_ERRORS = frozenset({502, 503, 504})


async def visit(place: Place, address: str) -> tuple[Finding, ...]:
    """Return what every check finds at this address."""
    found = await _found(place, address)
    return (*found, *skipped(VISIT_CHECKS, found))


async def _found(place: Place, address: str) -> list[Finding]:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + place.wallet.connect_timeout_s
    context = context_offering(place.wallet, ALPN_HTTP2) if place.is_tls else None
    try:
        async with asyncio.timeout_at(deadline):
            transport, connection = await loop.create_connection(
                lambda: Connection(loop, BODY_BYTES_MAX, lambda: None),
                address,
                place.port,
                ssl=context,
                server_hostname=place.host if context else None,
            )
    except OSError as error:
        return (
            await failed_findings(place, address, error)
            if place.is_tls
            else [*NO_TLS, _failed(_why_not_begun(place, error))]
        )
    try:
        return await _connected(place, address, transport, connection, deadline)
    finally:
        connection.close()
        await connection.closed


async def _connected(
    place: Place, address: str, transport: asyncio.BaseTransport, connection: Connection, deadline: float
) -> list[Finding]:
    failure = await _failure_to_begin(connection, deadline)
    if isinstance(failure, ssl.SSLError):
        # With TLS 1.3 a server may refuse our certificate when for us the handshake is over.
        return await failed_findings(place, address, failure)
    found = await agreed_findings(place, address, agreed_on(transport)) if place.is_tls else [*NO_TLS]
    if found[-1].level is not Level.FAIL:
        found.append(await _http2(place, connection, failure))
    if found[-1].level is not Level.FAIL:
        found += await _answer(place, connection)
    return found


async def _failure_to_begin(connection: Connection, deadline: float) -> OSError | None:
    try:
        async with asyncio.timeout_at(deadline):
            await connection.ready
    except OSError as error:
        return error
    return None


# --- HTTP/2 -----------------------------------------------------------------------------------------------------


async def _http2(place: Place, connection: Connection, failure: OSError | None) -> Finding:
    if failure is not None:
        return _failed(_why_not_begun(place, failure))
    if not connection.is_open:
        return _failed("the wallet ends the connection with GOAWAY as soon as it has begun")
    if not connection.has_slot:
        return _failed("the wallet allows no request at all on a connection (SETTINGS_MAX_CONCURRENT_STREAMS is 0)")
    try:
        async with asyncio.timeout(_patience_s(place)):
            await connection.ping()
    except TimeoutError:
        return _failed(f"SETTINGS exchanged, but PING is not answered within {_patience_s(place):g} s")
    except ConnectionError:
        return _failed("SETTINGS exchanged, but the wallet closes the connection instead of answering PING")
    return Finding(Level.OK, "http2", "SETTINGS exchanged, PING answered")


def _why_not_begun(place: Place, failure: OSError) -> str:
    if isinstance(failure, TimeoutError):
        limit_s = place.wallet.connect_timeout_s
        return f"the wallet's SETTINGS do not come within wallet.connect_timeout_s = {limit_s:g} s from connecting"
    if not isinstance(failure, Http2RequiredError):
        return HUNG_UP if place.is_tls else HUNG_UP_PLAINTEXT
    return "the wallet agrees to HTTP/2 and then does not speak it" if place.is_tls else NO_PLAINTEXT_HTTP2


def _patience_s(place: Place) -> float:
    # No longer than the bridge waits for an answer when its caller sets no deadline.
    return min(place.wallet.deadline_default_s, PATIENCE_MAX_S)


def _failed(text: str) -> Finding:
    return Finding(Level.FAIL, "http2", text)


# --- an answer --------------------------------------------------------------------------------------------------


async def _answer(place: Place, connection: Connection) -> list[Finding]:
    sent_at = datetime.now(UTC)
    exchange = Exchange(place.request_headers, b"", asyncio.get_running_loop().create_future())
    connection.begin(exchange)
    try:
        async with asyncio.timeout(_patience_s(place)):
            raw = await exchange.answer
    except TimeoutError:
        return [Finding(Level.FAIL, "answer", f"GET {place.path} is not answered within {_patience_s(place):g} s")]
    except (ConnectionLostError, NotProcessedError, UnreachableError):
        return [Finding(Level.FAIL, "answer", f"GET {place.path} is not answered: the wallet breaks it off")]
    return [_rated(place, raw.status), clock_finding(raw.headers, sent_at, datetime.now(UTC))]


def _rated(place: Place, status: int) -> Finding:
    asked = f"GET {place.path} without credentials -> HTTP {status}"
    if status in GATEWAY_ERRORS:
        return Finding(Level.WARN, "answer", f"{asked}: a gateway answers, and says that the wallet behind it does not")
    return Finding(Level.OK, "answer", f"{asked}; any answer shows that the way is open")
