"""How the date of an answer is checked: as far as the way of the answer leaves no doubt, and no further."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.cli.doctor.clock import clock_finding
from bridge.cli.doctor.finding import Level

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def found(ahead_s: float, *, took_s: float = 0.0) -> str:
    """Return the finding for a date by a clock to which ours is so far ahead, in an answer that took this long."""
    date = (NOW - timedelta(seconds=ahead_s)).replace(microsecond=0)
    headers = [(b"date", format_datetime(date, usegmt=True).encode())]
    finding = clock_finding(headers, NOW, NOW + timedelta(seconds=took_s))
    return f"{finding.level} {finding.text}"


CLOCKS = {
    "equal": (0, "ok this machine's clock and the wallet's"),
    "ahead-a-little": (6, "ok "),
    "ahead": (7, "warn this machine's clock is 6 s ahead of the wallet's"),
    "ahead-at-limit": (61, "warn this machine's clock is 60 s ahead of"),
    "ahead-far": (3600, "FAIL this machine's clock is 3599 s ahead of"),
    "behind-a-little": (-5, "ok "),
    "behind": (-6, "warn this machine's clock is 6 s behind the wallet's: check its time service (NTP)"),
    "behind-at-limit": (-60, "warn "),
    "behind-far": (-61, "FAIL this machine's clock is 61 s behind"),
}


@pytest.mark.parametrize(("ahead_s", "begin"), CLOCKS.values(), ids=CLOCKS.keys())
def test_difference(ahead_s: float, begin: str) -> None:
    """More than 5 s is a warning and more than 60 s a failure; the second that a date leaves open is not counted."""
    assert found(ahead_s).startswith(begin)


def test_slow_answer_is_no_wrong_clock() -> None:
    """A date from any moment between request and answer fits, however long that was."""
    assert found(-90, took_s=90).startswith("ok ")
    assert found(0, took_s=90).startswith("ok ")
    assert found(-100, took_s=90).startswith("warn this machine's clock is 10 s behind")


SKIPPED = {
    "no-date": [],
    "empty": [(b"date", b"")],
    "no-date-at-all": [(b"date", b"yesterday")],
    "not-text": [(b"date", b"\xff\x00")],
    "no-such-day": [(b"date", b"Sun, 31 Feb 2026 12:00:00 GMT")],
    "without-zone": [(b"date", b"Sun, 01 Mar 2026 12:00:00 -0000")],
    "from-a-cache": [(b"date", b"Sun, 01 Mar 2026 11:00:00 GMT"), (b"age", b"3600")],
}


@pytest.mark.parametrize("headers", SKIPPED.values(), ids=SKIPPED.keys())
def test_no_usable_date(headers: list[tuple[bytes, bytes]]) -> None:
    """Without a date that is the answer's own and can be read, nothing is said about the clock."""
    assert clock_finding(headers, NOW, NOW).level is Level.SKIP


@given(date=st.binary())
def test_no_date_breaks_it(date: bytes) -> None:
    """Whatever a server sends as its date, there is a finding of one printable line."""
    assert clock_finding([(b"date", date)], NOW, NOW).text.isprintable()
