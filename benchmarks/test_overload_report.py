"""The checks of the overload benchmark: it notices what it is there to notice. The run itself is overload.py."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.overload_report import OK, REFUSED, Calls, Durations, Figures, targets

SECONDS = 10
CAPACITY_PER_S = 100


def evenly(per_s: float, code: str, took_s: float) -> Calls:
    """Return calls that begin at this rate and all end alike."""
    return Calls([(number / per_s, took_s, code) for number in range(int(per_s * SECONDS))], skipped=0)


def together(*some: Calls) -> Calls:
    """Return the calls of several load processes as one."""
    return Calls.of([{"calls": each.calls, "skipped": each.skipped} for each in some])


CALM = evenly(50, OK, 0.2)
FLOOD = together(evenly(CAPACITY_PER_S, OK, 0.4), evenly(900, REFUSED, 0.002))
QUICK = Durations({0.0005: 90.0, 0.001: 99.0, 5.0: 100.0, float("inf"): 100.0})

GOOD = Figures(
    capacity_per_s=CAPACITY_PER_S,
    before=CALM,
    during=FLOOD,
    after=CALM,
    refused_in_bridge=QUICK,
    ran_share=0.5,
    waited_share=0.0,
    health_s=[0.001] * 100,
    not_serving=0,
    memory_bytes=[60, *[70] * 10, 70],
)

MISSED: Mapping[str, tuple[dict[str, Any], str]] = {
    "goodput": ({"during": together(evenly(85, OK, 0.4), evenly(900, REFUSED, 0.002))}, "goodput 85"),
    "slow refusals": ({"refused_in_bridge": Durations({0.001: 49.0, 0.002: 100.0})}, "the bridge's own time"),
    "no refusals": ({"refused_in_bridge": Durations({})}, "the bridge's own time"),
    "not SERVING once": ({"not_serving": 1}, "health not SERVING 1 times of 101"),
    "health never asked": ({"health_s": []}, "health not SERVING 0 times of 0"),
    "memory": ({"memory_bytes": [60, *[70] * 8, 75, 75, 60]}, "memory grew by 7.1%"),
    "median after": ({"after": evenly(50, OK, 0.23)}, "median and p99"),
    "p99 after": ({"after": together(CALM, evenly(1, OK, 0.3))}, "median and p99"),
    "no call after": ({"after": evenly(50, "UNKNOWN", 0.2)}, "median and p99"),
    "cut off": ({"during": together(FLOOD, evenly(1, "CANCELLED", 0.1))}, "no other end than OK"),
    "refused after": ({"after": together(CALM, evenly(1, REFUSED, 0.001))}, "no other end than OK"),
}


def test_all_is_well() -> None:
    """What is as it should be reaches every target."""
    assert all(targets(GOOD).values())


@pytest.mark.parametrize(("change", "missed"), MISSED.values(), ids=MISSED)
def test_what_is_missed_is_noticed(change: dict[str, Any], missed: str) -> None:
    """Each target can be missed, and says by how much."""
    assert any(
        target.startswith(missed)
        for target, is_reached in targets(dataclasses.replace(GOOD, **change)).items()
        if not is_reached
    )


def test_a_rate_counts_ends_and_not_begins() -> None:
    """Goodput is what is answered in a second, once the first answers could have come, until the last call began."""
    assert evenly(100, OK, 0.9).per_s(OK) == pytest.approx(100, rel=0.02)
    assert evenly(100, OK, 100.0).per_s(OK) == 0
    assert FLOOD.per_s() == pytest.approx(1000, rel=0.01)


def test_only_late_calls_count_as_after() -> None:
    """Those that began before the bridge had its time to recover are left out."""
    assert [begun for begun, _, _ in CALM.begun_from(9.95).calls] == [9.96, 9.98]


def test_durations_of_a_time_are_a_difference() -> None:
    """Counters never go back: what was counted before is taken off."""
    later = Durations({0.001: 10.0, 1.0: 30.0})
    assert (later - Durations({0.001: 10.0, 1.0: 10.0})).at_most_s(0.5) == 1.0
    assert later.total == 30
