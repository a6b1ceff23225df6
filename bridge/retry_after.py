"""When the wallet wants to be asked again: the Retry-After header (RFC 9110, section 10.2.3)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX_S = 60.0
"""A longer delay is cut: a caller that waits for minutes holds a player's session open. Source: CONTRACT.md."""


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the delay in seconds, 0 to 60, that the answer asks for; None where it asks for none that can be read."""
    value = headers.get("retry-after")
    if value is None:
        return None
    value = value.strip()
    # Only ASCII digits are digits here (RFC 9110, section 10.2.3: 1*DIGIT).
    is_seconds = value.isascii() and value.isdecimal()
    delay_s = _seconds(value) if is_seconds else _until(value, headers.get("date", ""))
    return None if delay_s is None else min(max(delay_s, 0.0), RETRY_AFTER_MAX_S)


def _seconds(digits: str) -> float:
    # Any number of digits may come; three that count are above the maximum anyway.
    counted = digits.lstrip("0")
    return float(counted or 0) if len(counted) <= len("60") else RETRY_AFTER_MAX_S


def _until(moment: str, now: str) -> float | None:
    # An HTTP-date is measured against the answer's own Date: no clock of ours, no difference between two clocks.
    try:
        return (_instant(moment) - _instant(now)).total_seconds()
    except (ValueError, OverflowError):
        return None


def _instant(date: str) -> datetime:
    # An HTTP-date is in UTC, also in the one old form that does not say so (RFC 9110, section 5.6.7).
    instant = parsedate_to_datetime(date)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)
