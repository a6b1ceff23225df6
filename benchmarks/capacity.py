"""Capacity for 1,000, 10,000 and 100,000 calls a second, by what a run has measured: a part of docs/scaling.md.

Every cell shows its arithmetic, `ceil(10000 / 919) = 11`, so that a reader can put other figures in its place. The
formulas are those of docs/scaling.md, "How to size", with that example's latencies of the wallet, share of a core and
zones; the costs are the dearest of the run, because a plan has to hold on a bad day.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.cells import Cells, markdown
from benchmarks.contestants import ENVOY
from benchmarks.figures import Results, Scaling

LOADS_PER_S = (1_000, 10_000, 100_000)
SHARE, WALLET_P50_S, WALLET_P99_S = 0.6, 0.15, 1.5
STREAMS = 100
"""On a connection, as a wallet usually allows."""
FEW, MANY = 64, 1000
"""Calls in flight between which memory was measured."""


@dataclass(frozen=True)
class Costs:
    """What a worker costs, rounded up."""

    call_us: int
    """CPU microseconds of one call: the dearest point with at least 16 in flight."""
    memory_mb: int
    """Of a worker with 64 in flight."""
    call_mb: float
    """What each further call in flight adds."""
    sidecar_us: int
    """CPU microseconds of one call in an Envoy."""


@dataclass(frozen=True)
class Sum:
    """A sum and what it comes to."""

    formula: str
    value: int

    def __str__(self) -> str:
        return f"{self.formula} = {self.value}"


def capacity(results: Results) -> str:
    """Return costs and tables of both engines in Markdown; "" where scaling was not measured."""
    if ENVOY not in results.rounds:
        return ""
    sidecar_us = math.ceil(statistics.median(one.cpu_us for one in results.rounds[ENVOY]))
    return "\n\n".join(_part(name, costs_of(each, sidecar_us)) for name, each in results.scaling.items())


def costs_of(scaling: Scaling, sidecar_us: int) -> Costs:
    """Return the costs that a plan should reckon with."""
    points = (*scaling.in_flight, *scaling.wallet)
    few = next(point.memory_mb for point in scaling.in_flight if point.in_flight == FEW)
    many = max(point.memory_mb for point in points if point.in_flight == MANY)
    call_us = math.ceil(max(point.cpu_us for point in points if point.in_flight >= 16))
    return Costs(call_us, math.ceil(few), math.ceil(max(0.0, many - few) / (MANY - FEW) * 1000) / 1000, sidecar_us)


def plan(costs: Costs, load_per_s: int) -> dict[str, Sum]:
    """Return what so many calls a second need, by name, in the order of docs/scaling.md."""
    worker = Sum(f"1000000 * {SHARE} / {costs.call_us}", round(1_000_000 * SHARE / costs.call_us))
    workers = _ceil(f"{load_per_s} / {worker.value}", load_per_s / worker.value)
    replicas = _ceil(f"{workers.value} * 3 / 2", workers.value * 3 / 2)
    usual = _ceil(f"{load_per_s} * {WALLET_P50_S} / {replicas.value}", load_per_s * WALLET_P50_S / replicas.value)
    bad = _ceil(f"{load_per_s} * {WALLET_P99_S} / {replicas.value}", load_per_s * WALLET_P99_S / replicas.value)
    limit = _ceil(f"{bad.value} * 1.5", bad.value * 1.5)
    connections = _ceil(f"{limit.value} / {STREAMS}", limit.value / STREAMS)
    memory = _ceil(
        f"{costs.memory_mb} + {limit.value} * {costs.call_mb}", costs.memory_mb + limit.value * costs.call_mb
    )
    return {
        "calls per second of a worker": worker,
        "workers for the load": workers,
        "replicas with a zone lost": replicas,
        "cores that are busy at the peak": _ceil(*_per_second(load_per_s, costs.call_us)),
        "cores that their sidecars keep busy": _ceil(*_per_second(load_per_s, costs.sidecar_us)),
        "in flight in a replica, usual day": usual,
        "in flight in a replica, bad day": bad,
        "`server.max_in_flight`": limit,
        "MB of a replica at that limit": memory,
        "MB of all replicas": Sum(f"{replicas.value} * {memory.value}", replicas.value * memory.value),
        "`wallet.connections_max`": connections,
        "connections at the wallet": Sum(f"{replicas.value} * {connections.value}", replicas.value * connections.value),
        "streams at the wallet": Sum(f"{replicas.value} * {limit.value}", replicas.value * limit.value),
    }


def _ceil(formula: str, value: float) -> Sum:
    return Sum(f"ceil({formula})", math.ceil(value))


def _per_second(load_per_s: int, call_us: int) -> tuple[str, float]:
    return f"{load_per_s} * {call_us} / 1000000", load_per_s * call_us / 1_000_000


def _part(name: str, costs: Costs) -> str:
    memory = f"{costs.memory_mb} MB with {FEW} in flight and {costs.call_mb} MB for each call more"
    costs_line = f"**{name}**: {costs.call_us} µs of CPU for a call, {memory}; a sidecar {costs.sidecar_us} µs."
    return f"{costs_line}\n\n{markdown(_cells(costs))}"


def _cells(costs: Costs) -> Sequence[Cells]:
    plans = [plan(costs, load) for load in LOADS_PER_S]
    head = ("calls a second", *(f"{load:,}" for load in LOADS_PER_S))
    return [head, *((name, *(str(each[name]) for each in plans)) for name in plans[0])]
