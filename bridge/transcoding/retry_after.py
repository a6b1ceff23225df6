"""The wallet's delay before a retry: the Retry-After header (RFC 9110, section 10.2.3)."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

TIME = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"
HTTP_DATE = re.compile(
    rf"[A-Z][a-z]{{2}}, [0-9]{{1,2}} [A-Z][a-z]{{2}} [0-9]{{4}} {TIME} GMT"  # IMF-fixdate
    rf"|[A-Z][a-z]+, [0-9]{{2}}-[A-Z][a-z]{{2}}-[0-9]{{2}} {TIME} GMT"  # RFC 850
    rf"|[A-Z][a-z]{{2}} [A-Z][a-z]{{2}} [ 0-9][0-9] {TIME} [0-9]{{4}}"  # asctime
)

RETRY_AFTER_MAX_S = 60.0
"""A longer delay is cut: a caller that waits for minutes holds a session open. Source: docs/design/contract.md."""


def retry_after_s(headers: Mapping[str, str], received_at_s: float) -> float | None:
    """Return the delay in seconds, 0 to 60, that the answer asks for; None where it asks for none that can be read.

    `received_at_s`: when the answer came, in seconds since 1970; a date counts from it where there is no usable Date.
    """
    value = headers.get("retry-after")
    if value is None:
        return None
    value = value.strip()
    # Only ASCII digits are digits here (RFC 9110, section 10.2.3: 1*DIGIT).
    is_seconds = value.isascii() and value.isdecimal()
    delay_s = _seconds(value) if is_seconds else _until(value, headers.get("date", ""), received_at_s)
    return None if delay_s is None else min(max(delay_s, 0.0), RETRY_AFTER_MAX_S)


def _seconds(digits: str) -> float:
    # Any number of digits may come; three that count are above the maximum anyway.
    counted = digits.lstrip("0")
    return float(counted or 0) if len(counted) <= len("60") else RETRY_AFTER_MAX_S


def _until(date: str, sent_date: str, received_at_s: float) -> float | None:
    until = http_date(date)
    if until is None:
        return None
    # By the answer's own Date there is one clock only, and ours may be wrong. Not every server sends one.
    sent = http_date(sent_date)
    return until.timestamp() - (received_at_s if sent is None else sent.timestamp())


def http_date(text: str) -> datetime | None:
    """Return the moment of an HTTP-date in any of its three forms (RFC 9110, section 5.6.7); None for anything else."""
    # By its form first: the parser would take the first of two dates that stand in two fields and were joined.
    if HTTP_DATE.fullmatch(text) is None:
        return None
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    # In UTC, also in the one old form that does not say so.
    return date.replace(tzinfo=UTC)
