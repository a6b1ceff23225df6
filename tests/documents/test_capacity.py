"""docs/scaling.md's capacity is what the saved figures give, and its arithmetic comes out."""

import math
import re

import pytest

from benchmarks.capacity import LOADS_PER_S, Costs, capacity, plan
from benchmarks.contestants import OURS
from benchmarks.document import CAPACITY, SCALING, rendered, saved
from tests.support.sums import value

TEXT = SCALING.read_text(encoding="utf-8")
PART = TEXT.partition(f"<!-- {CAPACITY} -->")[2].partition(f"<!-- end of {CAPACITY} -->")[0]
SUMS = re.findall(r"(?<=\| )([^|\n]+) = (\d+)(?= \|)", PART)
ROWS = len(plan(Costs(500, 70, 0.02, 70), 1000))


def test_the_part_is_what_was_measured() -> None:
    """What stands between the markers is what the figures of the last run give, to the letter."""
    assert rendered(TEXT, {CAPACITY: capacity(saved())}) == TEXT


def test_every_sum_comes_out() -> None:
    """Each cell's formula, calculated from its text alone, is its figure; no cell is without one."""
    assert len(SUMS) == len(OURS) * len(LOADS_PER_S) * ROWS
    assert [(formula, value(formula)) for formula, _ in SUMS] == [(formula, int(figure)) for formula, figure in SUMS]


def test_the_costs_are_those_of_the_run() -> None:
    """The cost that the page starts from is the dearest that was measured from 16 in flight on, rounded up."""
    for name, scaling in saved().scaling.items():
        points = (*scaling.in_flight, *scaling.wallet)
        dearest_us = math.ceil(max(point.cpu_us for point in points if point.in_flight >= 16))
        assert f"**{name}**: {dearest_us} µs of CPU for a call" in PART


@pytest.mark.parametrize("load", LOADS_PER_S)
def test_a_plan_carries_its_load(load: int) -> None:
    """With a zone lost, the replicas carry the load at the share of a core; the limits have room for a bad day."""
    found = {name: each.value for name, each in plan(Costs(500, 70, 0.02, 70), load).items()}
    left = found["replicas with a zone lost"] * 2 // 3
    assert left * found["calls per second of a worker"] >= load
    assert found["connections at the wallet"] * 100 >= found["streams at the wallet"] >= load * 1.5
