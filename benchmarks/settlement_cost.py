"""What settlement costs a call in CPU time: off, durability "unknown", and "before" on SQLite and on Redis.

    python -m benchmarks.settlement_cost [--quick] [--native]

No call fails. All rows run in turns before the same wallet, as those of `make bench` do, with 64 calls in flight from a
gRPC client that sends requests which differ: equal ones would share one entry. Counted is the bridge's process with all
its threads; Redis, which runs beside the load, is not.
"""

import argparse
import asyncio
import base64
import itertools
import os
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio

from benchmarks import procfs
from benchmarks.cells import plain
from benchmarks.contestants import NATIVE_SETTINGS, Kind, Row, Server
from benchmarks.procfs import Cores
from benchmarks.scene import Effort, Scene, a_scene
from benchmarks.side_by_side import say
from bridge.sandbox.operations import TERMINATE_REQUEST
from bridge.settlement.open_store import store_at
from tests.support.nginx import MISSING, NGINX
from tests.support.redis_server import SERVER, redis_server
from wallet.v1.wallet_service_pb2 import TerminateRequest
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

IN_FLIGHT, CHANNELS, WARM_UP_CALLS = 64, 4, 500
FULL, QUICK = Effort(rounds=9, seconds=3.0), Effort(rounds=3, seconds=1.0)
OFF, UNKNOWN, SQLITE, REDIS = "off", "unknown", "before, SQLite", "before, Redis"
TARGETS = {UNKNOWN: 1.02, SQLITE: 1.15, REDIS: 1.15}
"""At most so many times the cost without settlement (docs/design/settlement.md); on grpcio."""


@dataclass(frozen=True)
class Measured:
    """One load of a row."""

    calls: int
    errors: int
    cpu_us: float
    calls_per_s: float
    p50_ms: float
    p99_ms: float


def rows(folder: Path, redis_url: str, further: Mapping[str, str]) -> list[Row]:
    """Return the bridges that are compared, each with a store of its own."""
    key_file = folder / "settlement.key"
    key_file.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
    key = {"SETTLEMENT__KEY_FILE": str(key_file)}
    stores = {
        OFF: {},
        UNKNOWN: {"STORE": f"sqlite://{folder}/unknown.db"},
        SQLITE: {"STORE": f"sqlite://{folder}/before.db", "DURABILITY": "before"},
        REDIS: {"STORE": redis_url, "DURABILITY": "before"},
    }
    sections = {name: {f"SETTLEMENT__{key}": value for key, value in one.items()} for name, one in stores.items()}
    return [
        Row(name, "", Kind.BRIDGE, {**further, **section, **(key if section else {})})
        for name, section in sections.items()
        if redis_url or name != REDIS
    ]


async def load(server: Server, numbers: Iterator[int], calls: int, timeout_s: float = 10.0) -> list[float]:
    """Make calls that differ, IN_FLIGHT at once; return how long each took that ended OK, in milliseconds."""
    took_ms: list[float] = []
    todo = iter(range(calls))

    async def caller(stub: Any) -> None:
        for _ in todo:
            request = TerminateRequest(**{**TERMINATE_REQUEST, "currency": f"{next(numbers)}"})
            began = time.perf_counter()
            try:
                await stub.Terminate(request, timeout=timeout_s)
            except grpc.aio.AioRpcError:
                continue
            took_ms.append(1000 * (time.perf_counter() - began))

    channels = [grpc.aio.insecure_channel(f"127.0.0.1:{server.port}", [("c", one)]) for one in range(CHANNELS)]
    try:
        stubs = [WalletServiceStub(channel) for channel in channels]
        await asyncio.gather(*(caller(stubs[number % CHANNELS]) for number in range(IN_FLIGHT)))
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))
    return sorted(took_ms)


async def measured(scene: Scene, row: Row, numbers: Iterator[int]) -> Measured:
    """Measure one load of a row, in a process of its own."""
    async with scene.running(row) as server:
        began = time.perf_counter()
        await load(server, numbers, WARM_UP_CALLS)
        calls = max(IN_FLIGHT, round(WARM_UP_CALLS / (time.perf_counter() - began) * scene.effort.seconds))
        before, began = server.cpu_time(), time.perf_counter()
        took_ms = await load(server, numbers, calls)
        seconds, spent = time.perf_counter() - began, server.cpu_time() - before
    errors = calls - len(took_ms) + await _left_over(row)
    p50_ms, p99_ms = took_ms[len(took_ms) // 2], took_ms[len(took_ms) * 99 // 100]
    return Measured(calls, errors, spent.total_s / calls * 1e6, len(took_ms) / seconds, p50_ms, p99_ms)


async def _left_over(row: Row) -> int:
    """Return how many entries the calls have left in the row's store: none, as all of them ended OK."""
    url = row.settings.get("SETTLEMENT__STORE")
    if url is None:
        return 0
    store = store_at(url)
    try:
        return sum((await store.counts()).by_state.values())
    finally:
        await store.close()


async def measure(effort: Effort, further: Mapping[str, str]) -> dict[str, list[Measured]]:
    """Run all rows in turns, each round from another row on; return what was measured of each."""
    async with a_scene(Cores.of_this_machine(), effort) as scene:
        # The bridge goes to the server's core by itself; what else this process starts stays on the others.
        os.sched_setaffinity(0, scene.cores.load)
        with redis(scene.folder) as redis_url:
            compared = rows(scene.folder, redis_url, further)
            found: dict[str, list[Measured]] = {row.name: [] for row in compared}
            numbers = itertools.count()
            for number in range(effort.rounds):
                first = number % len(compared)
                for row in (*compared[first:], *compared[:first]):
                    one = await measured(scene, row, numbers)
                    found[row.name].append(one)
                    say(f"round {number + 1} of {effort.rounds}: {row.name:<16}{one.cpu_us:6.0f} us")
            return found


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Run a Redis and give its URL; "" where there is none to run."""
    if SERVER is None:
        say("no redis-server here: that row is left out")
        yield ""
        return
    with redis_server(folder) as url:
        yield url


def report(found: Mapping[str, Sequence[Measured]], targets: Mapping[str, float]) -> bool:
    """Print the table; return whether every target is reached and every call ended OK and left nothing."""
    cells = [("settlement", "CPU us/call", "/ off", "us more", "calls/s", "p50 ms", "p99 ms", "errors", "target")]
    is_reached = True
    for name, rounds in found.items():
        ratios = [one.cpu_us / off.cpu_us for one, off in zip(rounds, found[OFF], strict=True)]
        more_us = statistics.median(one.cpu_us - off.cpu_us for one, off in zip(rounds, found[OFF], strict=True))
        ratio, errors = statistics.median(ratios), sum(one.errors for one in rounds)
        target = targets.get(name)
        is_reached = is_reached and not errors and (target is None or ratio <= target)
        figures = [
            statistics.median(figure)
            for figure in zip(*((one.cpu_us, one.calls_per_s, one.p50_ms, one.p99_ms) for one in rounds), strict=True)
        ]
        cells.append(
            (
                *(name, f"{figures[0]:.0f}", f"{ratio:.3f} ({min(ratios):.2f}-{max(ratios):.2f})", f"{more_us:.0f}"),
                *(f"{figures[1]:.0f}", f"{figures[2]:.1f}", f"{figures[3]:.1f}", str(errors)),
                "" if target is None else f"at most {target:.2f}",
            )
        )
    say(f"\n{plain(cells)}\n\nratios are round by round: median (least-most); {'reached' if is_reached else 'MISSED'}")
    return is_reached


def main() -> int:
    """Measure and print; return 1 when a target is missed or a call failed, 2 when something is not installed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few short rounds, some two minutes")
    parser.add_argument("--native", action="store_true", help='the same with server.engine = "native", without targets')
    arguments = parser.parse_args()
    if NGINX is None or not procfs.PROC.joinpath("self/stat").exists():
        print(f"settlement_cost: {MISSING}; {procfs.MISSING}", file=sys.stderr)
        return 2
    found = asyncio.run(measure(QUICK if arguments.quick else FULL, NATIVE_SETTINGS if arguments.native else {}))
    return 0 if report(found, {} if arguments.native else TARGETS) else 1


if __name__ == "__main__":
    sys.exit(main())
