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


EXPECTATIONS: Sequence[Expectation] = (
    Expectation(
        "lighttpd",
        "reload under load",
        "WALLET_CONNECTION_LOST",
        0.15,
        "After its GOAWAY it takes frames of streams that were already on their way for a protocol error (RFC 9113, "
        "section 6.8, tells it to ignore them) and closes: calls under way there are UNKNOWN.",
    ),
    Expectation(
        "Undertow",
        "reload under load",
        "WALLET_UNREACHABLE",
        1.0,
        "Between its end and its next start nobody listens: the calls of that time are NOT_SENT, which is true.",
    ),
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
