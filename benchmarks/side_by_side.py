"""All rows in turns: what a call costs, how many end OK, and latency against offered load."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks import h2load
from benchmarks.contestants import Row
from benchmarks.figures import LoadPoint, Round, spread
from benchmarks.forms import Form
from benchmarks.scene import Scene

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.1)
"""Of what a row carries with 64 calls in flight."""


async def measure_rounds(scene: Scene, rows: Sequence[Row]) -> dict[str, list[Round]]:
    """Measure every row in every round, each time in a process of its own, each round from another row on.

    Two processes that do the same differ by some percent for as long as they live; and what disturbs a machine for a
    while disturbs all rows of a round.
    """
    measured: dict[str, list[Round]] = {row.name: [] for row in rows}
    for number in range(scene.effort.rounds):
        first = number % len(rows)
        for row in (*rows[first:], *rows[:first]):
            async with scene.running(row) as server:
                one = await scene.load(server, await scene.warm_up(server))
            measured[row.name].append(one)
            say(
                f"round {number + 1} of {scene.effort.rounds}: {row.name:<25}{one.cpu_us:7.0f} us "
                f"{one.calls_per_s:7.0f} calls/s  p99 {one.p99_ms:6.1f} ms  errors {one.errors} of {one.calls}"
            )
    return measured


async def measure_curves(
    scene: Scene, rows: Sequence[Row], rounds: Mapping[str, Sequence[Round]]
) -> dict[str, list[LoadPoint]]:
    """Measure the latency of every row under ever more calls, which begin whatever has become of those before."""
    curves: dict[str, list[LoadPoint]] = {row.name: [] for row in rows}
    for row in rows:
        capacity_per_s = spread([one.calls_per_s for one in rounds[row.name]]).median
        async with scene.running(row) as server:
            await scene.warm_up(server)
            for share in SHARES:
                point = await _point(scene, scene.grpc(server), share, capacity_per_s)
                curves[row.name].append(point)
                say(
                    f"latency: {row.name:<15}{share:4.0%} {point.offered_per_s:7.0f} calls/s  "
                    f"p50 {point.p50_ms:7.2f} ms  p99 {point.p99_ms:7.2f} ms  errors {point.errors}"
                )
    return curves


async def _point(scene: Scene, target: h2load.Target, share: float, capacity_per_s: float) -> LoadPoint:
    offered_per_s = capacity_per_s * share
    sent = await h2load.open_loop(target, offered_per_s, scene.effort.seconds, scene.folder)
    return LoadPoint(share, offered_per_s, sent.calls - sent.ok, sent.latency_ms(0.5), sent.latency_ms(0.99))


async def measure_forms(scene: Scene, rows: Sequence[Row]) -> dict[str, dict[str, list[Round]]]:
    """Measure each of these rows in each form of the bridge, in turns; return the rounds by row and form."""
    both = {(row.name, form): replace(row, name=f"{row.name}, {form}", form=form) for row in rows for form in Form}
    measured = await measure_rounds(scene, tuple(both.values()))
    return {row.name: {form: measured[both[row.name, form].name] for form in Form} for row in rows}


def say(line: str) -> None:
    """Report how far the run is."""
    print(line, flush=True)
