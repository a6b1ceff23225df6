"""The settler's pace for each provider: one probe while it fails, pauses, and a ramp that doubles each second."""

from collections.abc import Callable

import pytest

from bridge.settlement.pace import CROWDED_S, PAUSE_S, Pace, jittered_s, longest_delay_s

ONE, OTHER = 1, 12345
LIMIT = 10
TICK_S = 1e-6  # what sums of floats may differ by


def ramp(pace: Pace, certain_at: float, *, seconds: int) -> list[int]:
    """Return what may begin in each second after a certain answer."""
    pace.certain(ONE, certain_at)
    return [pace.at_most(certain_at + second)[ONE] for second in range(seconds)]


def test_a_provider_that_was_not_asked_yet_gets_one_probe() -> None:
    """After an outage a bridge that starts does not send everything at once."""
    pace = Pace([ONE, OTHER], LIMIT)
    assert pace.at_most(0.0) == {ONE: 1, OTHER: 1}
    pace.begin(ONE)
    assert pace.at_most(0.0) == {ONE: 0, OTHER: 1}
    pace.end(ONE)
    assert pace.at_most(0.0) == {ONE: 1, OTHER: 1}


@pytest.mark.parametrize("limit", [1, 7, 10, 1000])
def test_the_ramp_doubles_each_second_up_to_the_limit(limit: int) -> None:
    """From the first certain answer on: 1, 2, 4 and so on, never more than settle_in_flight."""
    assert ramp(Pace([ONE], limit), 100.0, seconds=12) == [min(2**second, limit) for second in range(12)]


def test_further_answers_do_not_restart_the_ramp() -> None:
    """It counts from the first certain answer after the failure."""
    pace = Pace([ONE], LIMIT)
    pace.certain(ONE, 0.0)
    pace.certain(ONE, 2.9)
    assert pace.at_most(3.0) == {ONE: 8}


def test_what_is_under_way_counts() -> None:
    """The limit is of attempts at once."""
    pace = Pace([ONE], LIMIT)
    pace.certain(ONE, 0.0)
    for _ in range(3):
        pace.begin(ONE)
    assert [pace.at_most(now)[ONE] for now in (0.0, 1.0, 2.0, 10.0)] == [0, 0, 1, 7]


FAILURES: dict[str, Callable[[Pace, float], object]] = {
    "one that time may cure": lambda pace, now: pace.failed(ONE, now, None),
    "one that an operator must cure": lambda pace, now: pace.pause(ONE, now, "WALLET_UNREACHABLE"),
}


@pytest.mark.parametrize("fail", FAILURES.values(), ids=FAILURES)
def test_a_failure_ends_the_ramp(fail: Callable[[Pace, float], object]) -> None:
    """A provider that fails gets one probe after its delay, and no second one, until a certain answer."""
    pace = Pace([ONE], LIMIT)
    ramp(pace, 0.0, seconds=1)
    fail(pace, 50.0)
    after = 50.0 + PAUSE_S + 1
    assert pace.at_most(after) == {ONE: 1}
    pace.begin(ONE)
    assert pace.at_most(after + 1000) == {ONE: 0}
    pace.end(ONE)
    assert ramp(pace, after, seconds=3) == [1, 2, 4]


def test_a_pause_lasts_five_minutes_and_is_of_one_provider() -> None:
    """Nothing begins in it, and it is new once only until a certain answer ends it."""
    pace = Pace([ONE, OTHER], LIMIT)
    assert pace.pause(ONE, 10.0, "WALLET_AUTH_REJECTED")
    assert pace.at_most(10.0 + PAUSE_S - 0.001) == {ONE: 0, OTHER: 1}
    assert pace.paused == {ONE: "WALLET_AUTH_REJECTED"}
    assert pace.at_most(10.0 + PAUSE_S) == {ONE: 1, OTHER: 1}
    assert not pace.pause(ONE, 10.0 + PAUSE_S, "WALLET_AUTH_REJECTED")
    pace.certain(ONE, 1000.0)
    assert (pace.paused, pace.is_any_failing) == ({}, False)
    assert pace.pause(ONE, 1001.0, "WALLET_ENDPOINT")


@pytest.mark.parametrize("wish_s", [None, 0.0, 30.0, 3600.0])
def test_delays_double_and_keep_the_wallets_wish(wish_s: float | None) -> None:
    """Failures in a row wait up to 1, 2, 4 s and so on, at most 5 min, and never less than Retry-After."""
    for _ in range(50):
        pace, now = Pace([ONE], LIMIT), 0.0
        for failures in range(1, 14):
            pace.failed(ONE, now, wish_s)
            end = pace.next_change(now)
            delay_s = 0.0 if end is None else end - now
            longest_s = max(wish_s or 0.0, min(2.0 ** (failures - 1), 300.0))
            assert (wish_s or 0.0) - TICK_S <= delay_s <= longest_s + TICK_S
            now += delay_s


@pytest.mark.parametrize(("failures", "longest_s"), [(1, 1), (2, 2), (5, 16), (9, 256), (10, 300), (10_000, 300)])
def test_longest_delay(failures: int, longest_s: float) -> None:
    """1 s, doubling to 5 min; no number of failures overflows."""
    assert longest_delay_s(failures) == longest_s
    drawn = [jittered_s(longest_s) for _ in range(1000)]
    assert 0 <= min(drawn) < longest_s / 10
    assert longest_s * 0.9 < max(drawn) <= longest_s


def test_a_crowded_bridge_is_asked_again_a_second_later() -> None:
    """Callers who take all places do not count as a failure of the provider."""
    pace = Pace([ONE], LIMIT)
    ramp(pace, 0.0, seconds=1)
    pace.crowded(ONE, 10.0)
    assert pace.at_most(10.0 + CROWDED_S - 0.001) == {ONE: 0}
    assert pace.at_most(10.0 + CROWDED_S) == {ONE: LIMIT}


def test_a_provider_that_is_not_configured_is_known_from_its_first_attempt_on() -> None:
    """Entries may outlive their provider's settings."""
    pace = Pace([ONE], LIMIT)
    pace.begin(OTHER)
    pace.pause(OTHER, 0.0, "PROVIDER_NOT_CONFIGURED")
    pace.end(OTHER)
    assert pace.at_most(1.0) == {ONE: 1, OTHER: 0}
    assert (pace.next_change(1.0), pace.next_change(PAUSE_S)) == (PAUSE_S, None)
