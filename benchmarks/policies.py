"""What SCHED_BATCH changes for the bridge: cost, throughput and latency, in three situations, both policies in turns.

    one core                  all threads share it; load and wallet are on the others
    cores shared              with load and wallet
    beside a busy process     on the one core, beside a process that never waits

Throughput and its cost are those with 64 calls in flight. Latency is that of calls at random times, a third of what the
row carries in that situation: then a core is idle most of the time, but for the busy process.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks import h2load
from benchmarks.contestants import Placement, Row
from benchmarks.figures import PolicyRound
from benchmarks.scene import Scene
from benchmarks.side_by_side import say
from bridge.process.scheduling import Policy

POLICIES: Sequence[Policy] = ("other", "batch")
SHARE = 1 / 3
ROUNDS_MAX = 3
BUSY = ("-c", "while True: pass")


@dataclass(frozen=True)
class Situation:
    """Where the bridge runs."""

    name: str
    is_on_all_cores: bool = False
    has_neighbour: bool = False


SITUATIONS = (
    Situation("one core"),
    Situation("cores shared with load and wallet", is_on_all_cores=True),
    Situation("one core, beside a busy process", has_neighbour=True),
)


async def measure_policies(scene: Scene, rows: Sequence[Row]) -> list[PolicyRound]:
    """Measure each row in each situation under each policy, in turns."""
    measured: list[PolicyRound] = []
    for situation in SITUATIONS:
        async with _neighbour(scene, situation):
            for row in rows:
                pace = await _pace(scene, row, situation)
                for number in range(min(scene.effort.rounds, ROUNDS_MAX)):
                    # Each round from the other policy on.
                    order = (POLICIES, POLICIES[::-1])[number % 2]
                    measured += [await _round(scene, row, situation, policy, pace) for policy in order]
    return measured


async def _pace(scene: Scene, row: Row, situation: Situation) -> float:
    """Return the calls per second that a row carries in a situation under the system's own policy."""
    async with scene.running(row, on_all_cores=situation.is_on_all_cores, policy="other") as server:
        await scene.warm_up(server)
        return (await scene.load(server, await scene.warm_up(server))).calls_per_s


async def _round(scene: Scene, row: Row, situation: Situation, policy: Policy, pace_per_s: float) -> PolicyRound:
    async with scene.running(row, on_all_cores=situation.is_on_all_cores, policy=policy) as server:
        full = await scene.load(server, await scene.warm_up(server))
        before = server.cpu_time()
        sent = await h2load.open_loop(scene.grpc(server), pace_per_s * SHARE, scene.effort.seconds, scene.folder)
        spent = server.cpu_time() - before
    one = PolicyRound(
        row=row.name,
        situation=situation.name,
        policy=policy,
        cpu_us=full.cpu_us,
        calls_per_s=full.calls_per_s,
        third_cpu_us=spent.total_s / sent.calls * 1e6,
        third_p50_ms=sent.latency_ms(0.5),
        third_p99_ms=sent.latency_ms(0.99),
        errors=full.errors + sent.calls - sent.ok,
    )
    say(
        f"policy: {row.name:<15} {situation.name:<34} {policy:<5} {one.cpu_us:6.0f} us {one.calls_per_s:7.0f} calls/s; "
        f"a third: {one.third_cpu_us:6.0f} us  p99 {one.third_p99_ms:6.2f} ms  errors {one.errors}"
    )
    return one


@asynccontextmanager
async def _neighbour(scene: Scene, situation: Situation) -> AsyncIterator[None]:
    """Keep the server's core busy under the system's own policy, where the situation has it."""
    if not situation.has_neighbour:
        yield
        return
    command = (*Placement(scene.cores.server, "other").command, sys.executable, *BUSY)
    process = await asyncio.create_subprocess_exec(*command)
    try:
        yield
    finally:
        process.kill()
        await process.wait()
