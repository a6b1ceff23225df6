"""When the wallet wants to be asked again: the Retry-After header (RFC 9110, section 10.2.3)."""

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX_S = 60.0
"""A longer delay is cut: a caller that waits for minutes holds a player's session open. Source: CONTRACT.md."""


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the delay in seconds, 0 to 60, that the answer asks for; None where it asks for none that can be read."""
    value = headers.get("retry-after")
    if value is None:
        return None
    delay_s = _seconds(value.strip()) if value.strip().isdecimal() else _until(value, headers.get("date", ""))
    return None if delay_s is None else min(max(delay_s, 0.0), RETRY_AFTER_MAX_S)


def _seconds(digits: str) -> float:
    # Any number of digits may come; more than a few are above the maximum anyway.
    return RETRY_AFTER_MAX_S if len(digits) > len("60") and int(digits[:19]) else float(int(digits[:19]))


def _until(moment: str, now: str) -> float | None:
    # An HTTP-date is measured against the answer's own Date: no clock of ours, no difference between two clocks.
    try:
        return (parsedate_to_datetime(moment) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError):
        return None
