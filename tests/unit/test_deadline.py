"""How long a call may take. The clock is read before and after, so that no test depends on how fast it runs.

The margin before the caller's deadline: calls that expire together are all reported, and none is refused for it.

In virtual time: endings take their turns on one core, each a fixed time, as they do on the event loop.
"""

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.deadline import DETAILS_MARGIN_S, GROWTH_MAX_S, MINIMUM_S, Deadline, DeadlineLimits, margin_s

LIMITS = DeadlineLimits()
LONG_S = 3600.0


@pytest.mark.parametrize(
    ("caller_s", "granted_s"),
    [(None, 5.0), (0.9, 0.9), (3.0, 2.97), (30.0, 29.7), (31.0, 30.0), (LONG_S, 30.0), (0.001, 0.001), (-1.0, -1.0)],
    ids=["the default", "exact", "its own", "the longest", "too long", "an hour", "a millisecond", "already over"],
)
def test_the_callers_deadline_is_bounded(caller_s: float | None, granted_s: float) -> None:
    """The caller's, from 1 s on less the 1 % of rounding, at most 30 s, 5 s where none is given; and 50 ms earlier."""
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


WAITS_S = (0.1, 0.987, 1.001, 1.234, 4.987, 9.981, 9.999, 10.0, 10.01, 12.34, 29.91, 30.0, 99.91, 100.01, 199.1)
"""Among them those that C core rounds up most: just above a step of 10 ms, of 100 ms and of 1 s."""


@pytest.mark.parametrize("waits_s", WAITS_S)
async def test_the_bridge_gives_up_before_a_client_on_c_core(waits_s: float) -> None:
    """Whatever Python's library makes of a timeout on its way, the bridge gives up 50 ms before that caller does."""
    granted_s: list[float] = []

    async def behaviour(_request: bytes, context: Any) -> bytes:
        # A slow machine makes this less, never more.
        granted_s.append(Deadline.for_caller(context.time_remaining(), DeadlineLimits(max_s=LONG_S)).remaining_s())
        return b""

    async with calls_to(behaviour) as call:
        await call(b"")  # connected, so that the next call is sent at once
        while len(granted_s) < 2:
            with contextlib.suppress(grpc.aio.AioRpcError):  # on a busy machine it may expire on its way, unseen
                await call(b"", timeout=waits_s)
    assert granted_s[1] <= waits_s - DETAILS_MARGIN_S + C_CORE_ROUNDS_S


C_CORE_ROUNDS_S = 0.002
"""C core counts a deadline in whole milliseconds, and up."""


@asynccontextmanager
async def calls_to(behaviour: Any) -> AsyncIterator[Any]:
    """Serve one method with this behaviour; yield what calls it."""
    server = grpc.aio.server()
    handler: Any = grpc.unary_unary_rpc_method_handler(behaviour)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("S", {"M": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel.unary_unary("/S/M")
    await server.stop(None)


COST_S = 0.0005
"""The dearest ending that was measured (bridge/deadline.py)."""
TOO_SHORT_S = 0.07
"""With less left, a call is refused as DEADLINE_TOO_SHORT: docs/failures.md."""


def reported_share(calls: Iterable[tuple[float, float, int]]) -> float:
    """Return how many of these calls are reported before their callers' deadlines.

    Each is (when it arrives, when its caller gives up, how many are under way then).
    """
    give_up = sorted((ends - margin_s(ends - begun, under_way), ends) for begun, ends, under_way in calls)
    free_at, reported = 0.0, 0
    for due, ends in give_up:
        free_at = max(free_at, due) + COST_S
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
