"""Failed calls that are a server's own right, each with why. Nothing here excuses a duplicate or a false word."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Expectation:
    """In this row of this server so many calls may fail in this way."""

    server: str
    row: str
    reason: str
    """The bridge's reason, with its cause where there is one; its beginning is enough."""
    most: float
    """The share of the row's healthy calls that may fail so: 0 to 1."""
    why: str


_LIGHTTPD = (
    "It has 8 streams a connection, and reset ones stay taken until the application answers; it refuses the next "
    "one with a GOAWAY, takes frames already on their way for a protocol error (RFC 9113, section 6.8, says: ignore "
    "them) and closes: calls under way there are UNKNOWN."
)
_LIGHTTPD_RESTART = "Between its old and its new process some connections get no SETTINGS: NOT_SENT, which is true."
_NO_GOAWAY = (
    "It closes idle connections without a GOAWAY: for a call that crosses the end nothing proves that it "
    "was not taken, so UNKNOWN is right."
)
_HYPERCORN = (
    "At its end it sends no GOAWAY: of the calls under way it answers some, leaves others without one and closes. "
    "Nothing proves that these were not taken, so UNKNOWN is right."
)
_JETTY = (
    "While it ends its GracefulHandler answers new calls with 503, which leaves their outcome UNKNOWN, and connections "
    "that it has still accepted get no SETTINGS (NOT_SENT, which is true)."
)
_TOMCAT = (
    "While it ends its application goes before its connections do: new calls get a page of 404 (REJECTED, which is "
    "true) or are cut; connections that it has still accepted get no SETTINGS (NOT_SENT, which is true)."
)
_UNDERTOW_GAP = "Between its end and its next start no process listens: calls of that time are NOT_SENT, which is true."
_UNDERTOW_END = (
    "While it ends it answers new calls with a page of 503 and then closes without a GOAWAY: neither proves that a "
    "call was not taken, so UNKNOWN is right."
)

EXPECTATIONS: Sequence[Expectation] = (
    Expectation("lighttpd", "reload under load", "WALLET_CONNECTION_LOST", 0.15, _LIGHTTPD),
    Expectation("lighttpd", "reload under load", "WALLET_NOT_PROCESSED", 0.15, _LIGHTTPD),
    Expectation("lighttpd", "reload under load", "WALLET_UNREACHABLE", 0.15, _LIGHTTPD_RESTART),
    Expectation("lighttpd", "expiring", "WALLET_CONNECTION_LOST", 0.15, _LIGHTTPD),
    Expectation("lighttpd", "expiring", "WALLET_NOT_PROCESSED", 0.15, _LIGHTTPD),
    Expectation(
        "Apache httpd",
        "expiring",
        "WALLET_TIMEOUT",
        0.5,
        "mod_http2 gives each connection a few workers, and fewer after resets; each slow call holds one until its "
        "application has answered, and healthy calls wait in the queue behind them.",
    ),
    Expectation(
        "Apache httpd",
        "reload under load",
        "WALLET_CONNECTION_LOST",
        0.15,
        "A worker that ends under three reloads in a row cuts connections without a GOAWAY.",
    ),
    Expectation(
        "Apache httpd",
        "reload under load",
        "WALLET_UNREACHABLE",
        0.15,
        "Between its old and its new workers some connections get no SETTINGS: NOT_SENT, which is true.",
    ),
    Expectation("Jetty", "reload under load", "WALLET_GATEWAY_ERROR", 0.15, _JETTY),
    Expectation("Jetty", "reload under load", "WALLET_UNREACHABLE", 0.15, _JETTY),
    Expectation("Tomcat", "reload under load", "WALLET_ENDPOINT (404)", 0.15, _TOMCAT),
    Expectation("Tomcat", "reload under load", "WALLET_CONNECTION_LOST", 0.15, _TOMCAT),
    Expectation("Tomcat", "reload under load", "WALLET_UNREACHABLE", 0.15, _TOMCAT),
    Expectation("nghttpx", "idle close", "WALLET_CONNECTION_LOST", 0.25, _NO_GOAWAY),
    Expectation("Varnish", "idle close", "WALLET_CONNECTION_LOST", 0.25, _NO_GOAWAY),
    Expectation("hypercorn", "idle close", "WALLET_CONNECTION_LOST", 0.25, _NO_GOAWAY),
    Expectation("hypercorn", "reload under load", "WALLET_CONNECTION_LOST", 0.15, _HYPERCORN),
    Expectation("hypercorn", "reload under load", "WALLET_TIMEOUT", 0.15, _HYPERCORN),
    Expectation("Undertow", "reload under load", "WALLET_UNREACHABLE", 1.0, _UNDERTOW_GAP),
    Expectation("Undertow", "reload under load", "WALLET_CONNECTION_LOST", 0.15, _UNDERTOW_END),
    Expectation("Undertow", "reload under load", "WALLET_GATEWAY_ERROR", 0.15, _UNDERTOW_END),
)


def explained(server: str, row: str, calls: int, reasons: Mapping[str, int]) -> Sequence[Expectation] | None:
    """Return what explains every failed call of a row; None when some failed in another way, or more than may."""
    used = []
    for reason, count in reasons.items():
        for each in EXPECTATIONS:
            if (
                (each.server, each.row) == (server, row)
                and reason.startswith(each.reason)
                and count <= each.most * calls
            ):
                used.append(each)
                break
        else:
            return None
    return used
