"""The margin before the caller's deadline: calls that expire together are all reported, and none is refused for it.

In virtual time: endings take their turns on one core, each a fixed time, as they do on the event loop.
"""

from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.deadline import DETAILS_MARGIN_S, GROWTH_MAX_S, MINIMUM_S, margin_s

COST_S = 0.0005
"""The dearest ending that was measured (bridge/deadline.py)."""
TOO_SHORT_S = 0.07
"""With less left, a call is refused as DEADLINE_TOO_SHORT: docs/failures.md."""


def reported_share(calls: Iterable[tuple[float, float, int]], cost_s: float = COST_S) -> float:
    """Return how many of these calls are reported before their callers' deadlines.

    Each is (when it arrives, when its caller gives up, how many are under way then).
    """
    give_up = sorted((ends - margin_s(ends - begun, under_way), ends) for begun, ends, under_way in calls)
    free_at, reported = 0.0, 0
    for due, ends in give_up:
        free_at = max(free_at, due) + cost_s
        reported += free_at <= ends
    return reported / len(give_up)


# How the calls came to be under way together, all with their caller's deadline at the same instant.
ARRIVALS: dict[str, Callable[[int, float], list[tuple[float, float, int]]]] = {
    "all at once": lambda count, ends: [(0.0, ends, number) for number in range(count)],
    "one after the other": lambda count, ends: [(ends / 2 * n / count, ends, n) for n in range(count)],
    "as others leave": lambda count, ends: [(ends / 2 * n / count, ends, count) for n in range(count)],
    "after a burst": lambda count, ends: [(0.0, ends, n + count // 2) for n in range(count)],
}


@pytest.mark.parametrize("arrival", ARRIVALS)
@pytest.mark.parametrize("count", [1, 10, 300, 1000])
@pytest.mark.parametrize("deadline_s", [3.0, 5.0, 30.0])
def test_calls_that_expire_together_are_reported(arrival: str, count: int, deadline_s: float) -> None:
    """At least 95 % of them are reported before their callers give up."""
    assert reported_share(ARRIVALS[arrival](count, deadline_s)) >= 0.95


def test_the_fixed_margin_alone_would_reach_few() -> None:
    """The simulation can fail: with 50 ms for a thousand, a hundred are reported."""
    calls = ARRIVALS["all at once"](1000, 5.0)
    assert reported_share([(begun, ends, 0) for begun, ends, _ in calls]) == 0.1


@given(granted_s=st.floats(TOO_SHORT_S, 300.0) | st.floats(TOO_SHORT_S, 0.2), under_way=st.integers(0, 200_000))
def test_no_call_is_refused_for_the_others(granted_s: float, under_way: int) -> None:
    """A call that alone would have the minimum left has it among any number of others too."""
    left_s = granted_s - margin_s(granted_s, under_way)
    assert left_s >= min(MINIMUM_S, granted_s - DETAILS_MARGIN_S) - 1e-9
    assert left_s >= 0.75 * (granted_s - TOO_SHORT_S)


@given(granted_s=st.floats(-10.0, 300.0), under_way=st.integers(0, 200_000))
def test_the_margin_is_bounded(granted_s: float, under_way: int) -> None:
    """It is never less than 50 ms, nor more than a second beyond it, and grows with the calls."""
    margin = margin_s(granted_s, under_way)
    assert DETAILS_MARGIN_S <= margin <= DETAILS_MARGIN_S + GROWTH_MAX_S
    assert margin <= margin_s(granted_s, under_way + 1)


def test_one_call_alone_has_the_margin_of_the_table() -> None:
    """50 ms for the way back and 20 for the wallet, as the row DEADLINE_TOO_SHORT of docs/failures.md says."""
    assert margin_s(5.0, 0) == 0.05
    assert DETAILS_MARGIN_S + MINIMUM_S == TOO_SHORT_S
