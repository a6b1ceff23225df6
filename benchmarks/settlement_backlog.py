"""Latency of calls beside a backlog that is being settled: a bridge with an empty store, and one with 50,000 entries.

    python -m benchmarks.settlement_backlog [--entries 50000] [--per-s 200] [--rounds 5] [--store sqlite|redis]

The wallet answers at once, which lets the settler go as fast as it can: the hardest case for the calls beside it. Calls
begin at random times at a rate of their own. Rounds alternate; the figures are medians of the rounds.
"""

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import h2load
from benchmarks.contestants import Kind, Row
from benchmarks.procfs import Cores
from benchmarks.scene import Effort, Scene, a_scene
from benchmarks.side_by_side import say
from bridge.sandbox.operations import TERMINATE_REQUEST
from bridge.server.handlers import SERVICES
from bridge.settlement.entry import Call, Last, NewCall, State, new_ticket
from bridge.settlement.open_store import store_at
from bridge.settlement.sealing import Keys
from bridge.settlement.store import Store
from bridge.transcoding.operation import operations
from bridge.transcoding.route import Route
from tests.support.nginx import MISSING, NGINX
from tests.support.redis_server import redis_server
from tests.support.settling_bridge import settings_of
from wallet.v1.wallet_service_pb2 import TerminateRequest

TERMINATE = operations(SERVICES[0])[0]
PART = 250
RATIO_MAX, MORE_MS_MAX = 1.25, 3.0
"""p99 beside the backlog: at most so many times that alone, or so much more."""
SETTLING_MIN, LOOK_S = 100, 0.1
KEYS = Keys([bytes(range(32))])
"""Of `settings_of`."""


@dataclass(frozen=True)
class Beside:
    """Calls for some seconds."""

    errors: int
    p50_ms: float
    p99_ms: float
    settled_per_s: float


async def fill(store: Store, entries: int) -> None:
    """Leave so many entries behind, each a request of its own that the wallet confirms."""
    route = Route(TERMINATE, {})
    for first in range(0, entries, PART):
        await store.write([_left_behind(route, number) for number in range(first, min(first + PART, entries))])


def _left_behind(route: Route, number: int) -> NewCall:
    request = TerminateRequest(**{**TERMINATE_REQUEST, "currency": f"{number}"})
    sealed = KEYS.seal(TERMINATE.full_name, 1, request.SerializeToString(), route.encode(request))
    return NewCall(
        ticket=new_ticket(),
        call=Call(f"call-{number}", ()),
        sealed=sealed,
        due_in_s=0.0,
        is_owed=True,
        last=Last("WALLET_TIMEOUT"),
    )


async def beside(scene: Scene, store_url: str, entries: int, per_s: float) -> Beside:
    """Load a bridge whose store has so many entries, once it settles them."""
    settings = settings_of(scene.folder) | {"SETTLEMENT__STORE": store_url}
    async with _store(store_url) as store:
        await fill(store, entries)
        async with scene.running(Row("bridge", "", Kind.BRIDGE, settings)) as server:
            await scene.warm_up(server)
            while entries and await _settled(store) < SETTLING_MIN:  # noqa: ASYNC110 - another process settles
                await asyncio.sleep(LOOK_S)
            before = await _settled(store)
            sent = await h2load.open_loop(scene.grpc(server), per_s, scene.effort.seconds, scene.folder)
            settled = await _settled(store) - before
    return Beside(
        sent.calls - sent.ok,
        sent.latency_ms(0.5),
        sent.latency_ms(0.99),
        settled / max(sent.seconds, scene.effort.seconds),
    )


async def _settled(store: Store) -> int:
    return (await store.counts()).by_state[State.SETTLED]


@asynccontextmanager
async def _store(url: str) -> AsyncIterator[Store]:
    store = store_at(url)
    try:
        yield store
    finally:
        await store.close()


async def measure(arguments: argparse.Namespace) -> bool:
    """Measure both in turns and print; return whether the target is reached."""
    alone: list[Beside] = []
    backlog: list[Beside] = []
    async with a_scene(Cores.of_this_machine(), Effort(arguments.rounds, arguments.seconds)) as scene:
        os.sched_setaffinity(0, scene.cores.load)
        for number in range(arguments.rounds):
            for entries, found in ((0, alone), (arguments.entries, backlog)):
                folder = scene.folder / f"{number}-{entries}"
                folder.mkdir()
                found.append(await _one(scene, arguments, folder, entries))
                say(f"round {number + 1}: {entries} entries: {found[-1]}")
    one, other = (statistics.median(each.p99_ms for each in rounds) for rounds in (alone, backlog))
    rate = statistics.median(each.settled_per_s for each in backlog)
    errors = sum(each.errors for each in (*alone, *backlog))
    is_reached = (other <= RATIO_MAX * one or other <= one + MORE_MS_MAX) and not errors
    say(
        f"{arguments.store}, {arguments.per_s:.0f} calls/s: p99 {one:.1f} ms alone, {other:.1f} ms beside a backlog of "
        f"{arguments.entries} entries that is settled at {rate:.0f} a second; {errors} calls failed; "
        f"{'reached' if is_reached else 'MISSED'}: at most {RATIO_MAX} times or {MORE_MS_MAX} ms more"
    )
    return is_reached


async def _one(scene: Scene, arguments: argparse.Namespace, folder: Path, entries: int) -> Beside:
    if arguments.store == "sqlite":
        return await beside(scene, f"sqlite://{folder}/settlement.db", entries, arguments.per_s)
    with redis_server(folder) as url:
        return await beside(scene, url, entries, arguments.per_s)


def main() -> int:
    """Measure and print; return 1 when the target is missed or a call failed, 2 when something is not installed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=50_000)
    parser.add_argument("--per-s", type=float, default=200.0, help="calls that begin in a second (200)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load (5)")
    parser.add_argument("--store", choices=["sqlite", "redis"], default="sqlite")
    if NGINX is None or h2load.H2LOAD is None:
        print(f"settlement_backlog: {MISSING}; {h2load.MISSING}", file=sys.stderr)
        return 2
    return 0 if asyncio.run(measure(parser.parse_args())) else 1


if __name__ == "__main__":
    sys.exit(main())
