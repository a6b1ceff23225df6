"""What must be reached (docs/performance.md), each as a line with its figure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.contestants import BRIDGE, ENVOY, FLOOR, NATIVE, OURS, TEXTBOOK
from benchmarks.figures import InFlightPoint, Results, Round, Scaling, WorkersPoint, cost_ratio, median_ratio

FLOOR_RATIO_MAX, TEXTBOOK_RATIO_MIN = 1.6, 4.5
NATIVE_ENVOY_RATIO_MAX, NATIVE_TEXTBOOK_RATIO_MIN = 1.0, 10.0
ADDED_P99_MAX_MS = 3.0
COST_GROWTH_MAX = 0.15
FLAT_FROM = 16
MEMORY_MAX_MB = 120.0
MEMORY_GROWTH_MAX = 0.10
WORKERS_GAIN_MIN = 1.6
"""Not 2: wallet and load need cores too."""


@dataclass(frozen=True)
class Verdict:
    """One target."""

    what: str
    figure: str
    limit: str
    is_reached: bool

    def __str__(self) -> str:
        return f"{'ok    ' if self.is_reached else 'MISSED'}  {self.what}: {self.figure}, {self.limit}"


@dataclass(frozen=True)
class Ratio:
    """A target for how the costs of two rows compare."""

    row: str
    other: str
    limit: float
    is_most: bool
    """Whether the limit is what the first may cost at most, in costs of the other; else at least, the other way."""

    def verdict(self, rounds: Mapping[str, Sequence[Round]]) -> Verdict:
        """Return whether it is reached, and the text."""
        if self.is_most:
            found = cost_ratio(rounds[self.row], rounds[self.other])
            what, limit = f"{self.row} / {self.other}", f"at most {self.limit}"
            return Verdict(what, str(found), limit, found.median <= self.limit)
        found = cost_ratio(rounds[self.other], rounds[self.row])
        return Verdict(f"{self.other} / {self.row}", str(found), f"at least {self.limit}", found.median >= self.limit)


RATIOS = (
    Ratio(BRIDGE, FLOOR, FLOOR_RATIO_MAX, is_most=True),
    Ratio(BRIDGE, TEXTBOOK, TEXTBOOK_RATIO_MIN, is_most=False),
    Ratio(NATIVE, ENVOY, NATIVE_ENVOY_RATIO_MAX, is_most=True),
    Ratio(NATIVE, TEXTBOOK, NATIVE_TEXTBOOK_RATIO_MIN, is_most=False),
)


def verdicts(results: Results) -> list[Verdict]:
    """Check everything that was measured; what was not is left out."""
    rounds = results.rounds
    found = [each.verdict(rounds) for each in RATIOS if {each.row, each.other} <= set(rounds)]
    for row in OURS:
        if row.name in rounds:
            found.append(_no_failure(row.name, rounds[row.name]))
        if row.name in results.scaling:
            found += _scaling(row.name, results.scaling[row.name])
    return found


def _no_failure(name: str, rounds: Sequence[Round]) -> Verdict:
    failed = sum(one.errors for one in rounds)
    twice = sum(one.reached != one.calls for one in rounds)
    what = f"{name}: calls that failed; rounds in which the wallet saw more or fewer calls than were made"
    return Verdict(what, f"{failed}; {twice}", "none", not failed and not twice)


def _scaling(name: str, scaling: Scaling) -> Iterator[Verdict]:
    points: Sequence[WorkersPoint | InFlightPoint] = (*scaling.workers, *scaling.in_flight, *scaling.wallet)
    failed = sum(point.errors for point in points) + scaling.added.errors
    yield Verdict(f"{name}: calls that failed while scaling", str(failed), "none", not failed)
    added = scaling.added.p99_ms
    what = f"{name}: p99 added to the wallet's at half the capacity"
    yield Verdict(what, f"{added:.2f} ms", f"under {ADDED_P99_MAX_MS} ms", added < ADDED_P99_MAX_MS)
    growth = cost_growth(scaling.in_flight)
    what = f"{name}: cost of a call from {FLAT_FROM} to {scaling.in_flight[-1].in_flight} in flight"
    yield Verdict(what, f"{growth:+.0%}", f"within {COST_GROWTH_MAX:.0%}", growth <= COST_GROWTH_MAX)
    yield from _memory(name, scaling.wallet)
    gain = workers_gain(scaling.workers[-1], scaling.workers[0])
    what = f"{name}: throughput with {scaling.workers[-1].workers} workers"
    yield Verdict(what, f"{gain:.2f} times that of one", f"at least {WORKERS_GAIN_MIN}", gain >= WORKERS_GAIN_MIN)


def _memory(name: str, points: Sequence[InFlightPoint]) -> Iterator[Verdict]:
    most = max(point.memory_mb for point in points)
    what = f"{name}: memory of a worker with {points[0].in_flight} in flight"
    yield Verdict(what, f"{most:.0f} MB", f"under {MEMORY_MAX_MB:.0f} MB", most < MEMORY_MAX_MB)
    growth = max(point.memory_mb / point.memory_before_mb for point in points) - 1
    what = f"{name}: growth of memory while {points[0].in_flight} are in flight"
    yield Verdict(what, f"{growth:+.0%}", f"at most {MEMORY_GROWTH_MAX:.0%}", growth <= MEMORY_GROWTH_MAX)


def cost_growth(points: Sequence[InFlightPoint]) -> float:
    """Return by how much the dearest point is above the cheapest, of those with at least 16 in flight.

    The points of a round are compared with its first: a slow minute of the machine is no growth.
    """
    flat = [point.rounds_cpu_us or (point.cpu_us,) for point in points if point.in_flight >= FLAT_FROM]
    costs = [median_ratio(rounds, flat[0]) for rounds in flat]
    return max(costs) / min(costs) - 1


def workers_gain(point: WorkersPoint, one: WorkersPoint) -> float:
    """Return how many times the throughput of one worker this is, round by round."""
    return median_ratio(point.rounds_per_s or (point.calls_per_s,), one.rounds_per_s or (one.calls_per_s,))
