"""How long a call may take. The clock is read before and after, so that no test depends on how fast it runs."""

import time

import pytest

from bridge.deadline import DETAILS_MARGIN_S, MINIMUM_S, Deadline, DeadlineLimits

LIMITS = DeadlineLimits()
LONG_S = 3600.0


@pytest.mark.parametrize(
    ("caller_s", "granted_s"),
    [(None, 5.0), (3.0, 3.0), (30.0, 30.0), (31.0, 30.0), (LONG_S, 30.0), (0.001, 0.001), (-1.0, -1.0)],
    ids=["none: the default", "its own", "the longest", "too long", "an hour", "a millisecond", "already over"],
)
def test_the_callers_deadline_is_bounded(caller_s: float | None, granted_s: float) -> None:
    """The caller's, at most 30 s, 5 s where none is given; and 50 ms earlier (CONTRACT.md, "Time")."""
    before = time.monotonic()
    deadline = Deadline.for_caller(caller_s, LIMITS)
    after = time.monotonic()
    assert before + (granted_s - 0.05) <= deadline.at <= after + (granted_s - 0.05)


def test_the_operators_limits_count() -> None:
    """Default and maximum are settings."""
    limits = DeadlineLimits(default_s=100.0, max_s=200.0)
    before = time.monotonic()
    assert Deadline.for_caller(None, limits).at >= before + 100.0 - DETAILS_MARGIN_S
    assert Deadline.for_caller(LONG_S, limits).at >= before + 200.0 - DETAILS_MARGIN_S


def test_what_remains_shrinks_as_the_clock_goes_on() -> None:
    """The instant is absolute: whoever asks later has less left."""
    deadline = Deadline.after(LONG_S)
    first = deadline.remaining_s()
    assert LONG_S >= first >= deadline.remaining_s()


def test_what_remains_is_negative_once_it_has_passed() -> None:
    """A deadline that has passed says by how much."""
    assert Deadline(time.monotonic() - 1).remaining_s() <= -1


@pytest.mark.parametrize(
    ("seconds", "is_too_short"),
    [(-1.0, True), (0.0, True), (MINIMUM_S / 2, True), (LONG_S, False)],
    ids=["passed", "now", "below the minimum", "long"],
)
def test_less_than_the_minimum_is_too_short(seconds: float, *, is_too_short: bool) -> None:
    """With less than 20 ms left nothing is sent."""
    assert MINIMUM_S == 0.02
    assert Deadline.after(seconds).is_too_short() is is_too_short
