"""How the bridge scales: with workers, calls in flight, a slow wallet; and what it adds to a call's latency."""

import statistics
from collections.abc import Sequence

from benchmarks import h2load
from benchmarks.contestants import Row, Server, free_port
from benchmarks.figures import Added, InFlightPoint, Round, Scaling, WorkersPoint
from benchmarks.scene import Scene
from benchmarks.side_by_side import say
from benchmarks.wallets import slow_wallets

WORKERS = (1, 2)
WORKERS_CONNECTIONS, WORKERS_IN_FLIGHT = 32, 128
"""The kernel gives each connection to one worker, by chance: with many, each gets its share."""
IN_FLIGHT = (1, 16, 64, 256, 1000)
WALLET_MS = (1, 50, 200)
WALLET_IN_FLIGHT = 1000
ADDED_SHARE, ADDED_WALLET_MS = 0.5, 50
ADDED_ROUNDS = 5
WORKERS_ROUNDS_MAX = 5
IN_FLIGHT_ROUNDS_MAX = 7

ROOM = {"SERVER__MAX_IN_FLIGHT": "2000"}
"""For what is in flight here, and for a sample beside it."""


async def measure_scaling(scene: Scene, row: Row) -> Scaling:
    """Put all the questions to one bridge."""
    workers = await _workers(scene, row)
    in_flight = await _in_flight(scene, row)
    delays_ms = sorted({*WALLET_MS, ADDED_WALLET_MS})
    async with slow_wallets(delays_ms, [free_port() for _ in delays_ms], scene.folder) as urls:
        wallet = [await _before_wallet(scene, row, delay_ms, urls[delay_ms]) for delay_ms in WALLET_MS]
        capacity_per_s = next(point.calls_per_s for point in in_flight if point.in_flight == 64)
        added = await _added(scene, row, urls[ADDED_WALLET_MS], capacity_per_s * ADDED_SHARE)
    return Scaling(workers, in_flight, wallet, added)


async def _workers(scene: Scene, row: Row) -> list[WorkersPoint]:
    """Measure each number of workers in turns, several times, and return the medians."""
    rounds: dict[int, list[Round]] = {count: [] for count in WORKERS}
    for _ in range(min(scene.effort.rounds, WORKERS_ROUNDS_MAX)):
        for count in WORKERS:
            rounds[count].append(await _with_workers(scene, row, count))
    return [
        WorkersPoint(
            workers=count,
            calls_per_s=statistics.median(one.calls_per_s for one in ones),
            cpu_us=statistics.median(one.cpu_us for one in ones),
            memory_mb=statistics.median(one.memory_mb for one in ones),
            errors=sum(one.errors for one in ones),
            rounds_per_s=[one.calls_per_s for one in ones],
        )
        for count, ones in rounds.items()
    ]


async def _with_workers(scene: Scene, row: Row, count: int) -> Round:
    settings = ROOM | {"SERVER__WORKERS": str(count)}
    load = (WORKERS_IN_FLIGHT, WORKERS_CONNECTIONS)
    async with scene.running(row, settings=settings, on_all_cores=True) as server:
        # One worker answers while others still start: for so long nothing is measured.
        settled = await scene.load(server, await scene.warm_up(server, *load), *load)
        one = await scene.load(server, settled.calls_per_s, *load)
    say(f"workers: {row.name:<15}{count:5}{one.calls_per_s:8.0f} calls/s {one.cpu_us:7.0f} us  errors {one.errors}")
    return one


async def _in_flight(scene: Scene, row: Row) -> list[InFlightPoint]:
    """Measure one process with ever more calls in flight, several times, and return the medians."""
    rounds: dict[int, list[tuple[float, Round]]] = {number: [] for number in IN_FLIGHT}
    for _ in range(min(scene.effort.rounds, IN_FLIGHT_ROUNDS_MAX)):
        async with scene.running(row, settings=ROOM) as server:
            await scene.warm_up(server)
            for number in IN_FLIGHT:
                one = await _loaded(scene, server, number)
                rounds[number].append(one)
                _say(row, _point(number, 0, [one]))
    return [_point(number, 0, ones) for number, ones in rounds.items()]


async def _loaded(scene: Scene, server: Server, in_flight: int) -> tuple[float, Round]:
    """Return the memory after a warm-up, and the load's figures."""
    pace = await scene.warm_up(server, in_flight)
    return server.memory_mb(), await scene.load(server, pace, in_flight)


async def _before_wallet(scene: Scene, row: Row, wallet_ms: int, wallet_url: str) -> InFlightPoint:
    async with scene.running(row, wallet_url, ROOM) as server:
        pace = await scene.warm_up(server, WALLET_IN_FLIGHT)
        before_mb = (await scene.load(server, pace, WALLET_IN_FLIGHT)).memory_mb
        point = _point(WALLET_IN_FLIGHT, wallet_ms, [(before_mb, await scene.load(server, pace, WALLET_IN_FLIGHT))])
    _say(row, point)
    return point


def _point(in_flight: int, wallet_ms: int, loaded: Sequence[tuple[float, Round]]) -> InFlightPoint:
    rounds = [one for _, one in loaded]
    return InFlightPoint(
        in_flight=in_flight,
        wallet_ms=wallet_ms,
        cpu_us=statistics.median(one.cpu_us for one in rounds),
        calls_per_s=statistics.median(one.calls_per_s for one in rounds),
        p99_ms=statistics.median(one.p99_ms for one in rounds),
        memory_mb=statistics.median(one.memory_mb for one in rounds),
        memory_before_mb=statistics.median(before_mb for before_mb, _ in loaded),
        errors=sum(one.errors for one in rounds),
        rounds_cpu_us=[one.cpu_us for one in rounds],
    )


def _say(row: Row, point: InFlightPoint) -> None:
    say(
        f"in flight: {row.name:<15}{point.in_flight:5}, wallet {point.wallet_ms:3} ms {point.cpu_us:7.0f} us "
        f"{point.calls_per_s:7.0f} calls/s {point.memory_mb:6.1f} MB  errors {point.errors}"
    )


async def _added(scene: Scene, row: Row, wallet_url: str, calls_per_s: float) -> Added:
    """Ask the wallet, alone and through the bridge in turns; return the medians."""
    alone: list[h2load.Sent] = []
    through: list[h2load.Sent] = []
    async with scene.running(row, wallet_url, ROOM) as server:
        await scene.warm_up(server)
        for _ in range(ADDED_ROUNDS):
            for target, sents in ((scene.rest(wallet_url), alone), (scene.grpc(server), through)):
                sents.append(await h2load.open_loop(target, calls_per_s, scene.effort.seconds, scene.folder))
    added = Added(
        calls_per_s=calls_per_s,
        wallet_p50_ms=_median_ms(alone, 0.5),
        wallet_p99_ms=_median_ms(alone, 0.99),
        bridge_p50_ms=_median_ms(through, 0.5),
        bridge_p99_ms=_median_ms(through, 0.99),
        errors=sum(sent.calls - sent.ok for sent in through),
    )
    say(f"added: {row.name:<15}{calls_per_s:7.0f} calls/s  p99 {added.p99_ms:.2f} ms over the wallet's")
    return added


def _median_ms(sents: Sequence[h2load.Sent], share: float) -> float:
    return statistics.median(sent.latency_ms(share) for sent in sents)
