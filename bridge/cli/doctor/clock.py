"""Distance of this machine's clock from the wallet's, by the date of an answer."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from bridge.cli.doctor.finding import Finding, Level
from bridge.transcoding.retry_after import http_date

WARN_ABOVE_S = 5
FAIL_ABOVE_S = 60

RESOLUTION = timedelta(seconds=1)
"""A date has whole seconds (RFC 9110, section 5.6.7)."""


def clock_finding(headers: Sequence[tuple[bytes, bytes]], sent_at: datetime, received_at: datetime) -> Finding:
    """Check the date of an answer against the local clock when the request was sent and when the answer came."""
    values = dict(headers)
    if b"date" not in values:
        return Finding(Level.SKIP, "clock", "because the wallet's answer has no date")
    if b"age" in values:
        # RFC 9111, section 5.1: it comes from a cache, and its date is that of another answer.
        return Finding(Level.SKIP, "clock", "because the answer comes from a cache, and so its date is an older one")
    date = http_date(values[b"date"].decode("latin-1"))
    if date is None:
        return Finding(Level.SKIP, "clock", "because the date of the wallet's answer cannot be read")
    return _rated(_ahead_s(date, sent_at, received_at))


def _ahead_s(date: datetime, sent_at: datetime, received_at: datetime) -> float:
    """Return how many seconds this clock is ahead of the wallet's at least, less than 0 where it is behind.

    The wallet wrote the date between the two moments; no difference that the way of the answer explains is counted.
    """
    if date + RESOLUTION < sent_at:
        return (sent_at - date - RESOLUTION).total_seconds()
    return min((received_at - date).total_seconds(), 0.0)


def _rated(ahead_s: float) -> Finding:
    if abs(ahead_s) <= WARN_ABOVE_S:
        return Finding(Level.OK, "clock", f"this machine's clock and the wallet's differ by {WARN_ABOVE_S} s at most")
    level = Level.FAIL if abs(ahead_s) > FAIL_ABOVE_S else Level.WARN
    direction = "ahead of" if ahead_s > 0 else "behind"
    text = f"this machine's clock is {abs(ahead_s):.0f} s {direction} the wallet's: check its time service (NTP)"
    return Finding(level, "clock", text)
