"""What an overload came to, and whether that is as it should be (docs/design/faults.md, "Callers and process")."""

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.metrics_page import scrape

GOODPUT_MIN = 0.9
REFUSAL_MEDIAN_MAX_S = 0.001
MEMORY_GROWTH_MAX = 0.05
LATENCY_GROWTH_MAX = 1.1
WAITED_SHARE_MAX = 0.4
"""Of the flood: where the bridge has waited for a CPU for longer, others than the flood, which takes some 0.25 on two
cores, have had it."""
HISTOGRAM = "grpc_server_call_duration_seconds_bucket"
REFUSED, OK = "RESOURCE_EXHAUSTED", "OK"


@dataclass(frozen=True)
class Calls:
    """Calls of one phase as their callers saw them: when each began, how long it took, its code."""

    calls: Sequence[tuple[float, float, str]]
    skipped: int

    @classmethod
    def of(cls, outputs: Iterable[Mapping[str, Any]]) -> "Calls":
        """Put together what several load processes say."""
        outputs = list(outputs)
        calls = sorted((begun, took, code) for output in outputs for begun, took, code in output["calls"])
        return cls(calls, sum(output["skipped"] for output in outputs))

    @property
    def codes(self) -> Counter[str]:
        """How many calls ended with each code."""
        return Counter(code for _, _, code in self.calls)

    @property
    def first_begin(self) -> float:
        """When the first call began."""
        return self.calls[0][0]

    @property
    def last_begin(self) -> float:
        """When the last call began."""
        return self.calls[-1][0]

    @property
    def last_end(self) -> float:
        """When the last of all ended."""
        return max(begun + took for begun, took, _ in self.calls)

    def took_s(self, code: str) -> list[float]:
        """Return how long those calls took that ended with this code, shortest first."""
        return sorted(took for _, took, each in self.calls if each == code)

    def begun_from(self, when: float) -> "Calls":
        """Return only those that began then or later."""
        return Calls([call for call in self.calls if call[0] >= when], self.skipped)

    def per_s(self, code: str | None = None) -> float:
        """Return how many calls ended with this code in a second, or began, over the time in which calls began."""
        if code is None:
            return len(self.calls) / (self.last_begin - self.first_begin)
        # The first answers come when the first calls have taken their time: from then on.
        from_s, to_s = self.first_begin + 1, self.last_begin
        ended = sum(each == code and from_s <= begun + took < to_s for begun, took, each in self.calls)
        return ended / (to_s - from_s)


@dataclass(frozen=True)
class Durations:
    """A histogram: how many took at most so long, by seconds."""

    counts: Mapping[float, float]

    def __sub__(self, earlier: "Durations") -> "Durations":
        return Durations({bound: count - earlier.counts.get(bound, 0) for bound, count in self.counts.items()})

    @property
    def total(self) -> float:
        """How many there are."""
        return max(self.counts.values(), default=0)

    def at_most_s(self, share: float) -> float:
        """Return the bound of the bucket that this share of them is within."""
        return min((bound for bound, count in self.counts.items() if count >= share * self.total), default=float("inf"))


def durations_of(metrics_address: str) -> Durations:
    """Read the bridge's own measure of the calls that it refused as overloaded."""
    samples = [sample for sample in scrape(metrics_address).samples if sample.name == HISTOGRAM]
    return Durations(
        {float(each.labels["le"]): each.value for each in samples if each.labels["grpc_status"] == REFUSED}
    )


@dataclass(frozen=True)
class Figures:
    """Everything that was measured."""

    capacity_per_s: float
    before: Calls
    during: Calls
    after: Calls
    """From the moment on in which all must be as before."""
    refused_in_bridge: Durations
    ran_share: float
    """Of the flood's time, on a CPU."""
    waited_share: float
    """Of the flood's time, ready to run while others had the CPU."""
    health_s: Sequence[float]
    not_serving: int
    memory_bytes: Sequence[int]
    """Before, once a second during the flood, and after."""

    @property
    def memory_growth(self) -> float:
        """From the flood's first fifth, in which its buffers come to be, to its last."""
        flood = self.memory_bytes[1:-1]
        fifth = max(len(flood) // 5, 1)
        return statistics.median(flood[-fifth:]) / statistics.median(flood[:fifth]) - 1


def report(figures: Figures) -> bool:
    """Print the figures; return whether all targets are reached."""
    for line in _lines(figures):
        print(line)
    reached = targets(figures)
    for target, is_reached in reached.items():
        print(f"{'ok    ' if is_reached else 'MISSED'}  {target}")
    if figures.waited_share > WAITED_SHARE_MAX:
        print("\nothers had the CPU for much of the time: these figures are the machine's, not the bridge's")
    return all(reached.values())


def targets(figures: Figures) -> dict[str, bool]:
    """Return what must hold, with what was found, and whether it does."""
    goodput = figures.during.per_s(OK) / figures.capacity_per_s
    asked, growth = figures.not_serving + len(figures.health_s), figures.memory_growth
    others = set(figures.during.codes) - {OK, REFUSED} | set(figures.after.codes) - {OK}
    before_s, after_s = figures.before.took_s(OK), figures.after.took_s(OK)
    return {
        f"goodput {goodput:.1%} of the capacity, at least {GOODPUT_MIN:.0%}": goodput >= GOODPUT_MIN,
        f"the bridge's own time for a refusal: median at most {_ms(REFUSAL_MEDIAN_MAX_S)}": (
            figures.refused_in_bridge.at_most_s(0.5) <= REFUSAL_MEDIAN_MAX_S
        ),
        f"health not SERVING {figures.not_serving} times of {asked}": not figures.not_serving and bool(asked),
        f"memory grew by {growth:.1%} in the flood, at most {MEMORY_GROWTH_MAX:.0%}": growth <= MEMORY_GROWTH_MAX,
        f"median and p99 at most {LATENCY_GROWTH_MAX:.1f} times as before": all(
            _at(after_s, share) <= LATENCY_GROWTH_MAX * _at(before_s, share) for share in (0.5, 0.99)
        ),
        f"no other end than OK and {REFUSED}: {', '.join(sorted(others)) or 'none'}": not others,
    }


def _lines(figures: Figures) -> Iterator[str]:
    during, refused = figures.during, figures.refused_in_bridge
    before, at_end, after = (figures.memory_bytes[index] / 2**20 for index in (0, -2, -1))
    yield ""
    yield f"offered           {during.per_s():.0f} calls/s, {during.skipped} were not begun; {dict(during.codes)}"
    yield f"the bridge's loop ran {figures.ran_share:.0%} of the time, waited for a CPU {figures.waited_share:.0%}"
    yield f"refused, bridge   median <= {_ms(refused.at_most_s(0.5))}, p99 <= {_ms(refused.at_most_s(0.99))}"
    yield f"refused, caller   {_spread(during.took_s(REFUSED))}"
    yield f"OK in the flood   {_spread(during.took_s(OK))}"
    yield f"health            {_spread(figures.health_s)}"
    yield f"memory            {before:.1f} MB before, {at_end:.1f} MB at the flood's end, {after:.1f} MB after"
    yield f"OK before         {_spread(figures.before.took_s(OK))}"
    yield f"OK after          {_spread(figures.after.took_s(OK))}"
    yield ""


def _at(sorted_s: Sequence[float], share: float) -> float:
    return sorted_s[min(int(len(sorted_s) * share), len(sorted_s) - 1)] if sorted_s else float("inf")


def _spread(values_s: Sequence[float]) -> str:
    ordered = sorted(values_s)
    return f"median {_ms(_at(ordered, 0.5))}, p99 {_ms(_at(ordered, 0.99))}, longest {_ms(_at(ordered, 1))}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.3g} ms"
