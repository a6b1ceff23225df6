"""`make bench-instructions`: CPU instructions of a call in user space, a figure that holds on a busy machine.

    make bench-instructions [AGAINST="REF REF"]
    python -m benchmarks.instructions [--against REF [REF...]] [--compiled] [--parts rows settlement] [--rows ROW...]
                                      [--keep FOLDER]

CPU time of one commit differs by tens of percent between the hours of a shared machine; its instructions differ by a
few. Each row runs under valgrind's callgrind, which counts while a warm process answers some hundred calls; each
figure is the median of several runs, each in a process of its own, in turns. What the kernel does is not counted:
fsync, sockets, futexes. The bridge is in pure Python, but for the rows that --compiled adds. The exit code is 1 when a
target is missed, 2 when something is not installed.
"""

import argparse
import asyncio
import itertools
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks import callgrind, contestants, forms, h2load, settlement_cost
from benchmarks.against import RefError, checked_out, rows_of
from benchmarks.callgrind import CountError
from benchmarks.contestants import (
    BRIDGE,
    BY_NAME,
    FLOOR,
    NATIVE,
    NATIVE_FLOOR,
    NATIVE_SETTINGS,
    Kind,
    Placement,
    Row,
    Server,
    StartError,
)
from benchmarks.forms import Form
from benchmarks.instruction_report import Counts, compiled_name, report_rows, report_settlement
from benchmarks.procfs import Cores
from benchmarks.scene import Effort, Scene, a_scene
from benchmarks.side_by_side import say
from tests.support.nginx import MISSING, NGINX

WARM_UP_CALLS, CALLS, IN_FLIGHT = 300, 400, 64
ROUNDS = 3
START_TIMEOUT_S = 600.0
"""Longest time until the first answer: a process under valgrind is some fifty times slower, on a
busy machine much more."""
TIMEOUT_S = 60.0
"""Of a call under valgrind."""
COMPARED = (FLOOR, BRIDGE, NATIVE_FLOOR, NATIVE)
PARTS = ("rows", "settlement")
NO_EFFORT = Effort(rounds=0, seconds=0.0)
"""Loads here are so many calls, not so many seconds."""

Load = Callable[[Server, int], Awaitable[int]]
"""Makes so many calls; returns how many ended OK."""


async def count(scene: Scene, row: Row, load: Load, keep: Path | None = None) -> float:
    """Return the instructions of one call of a row. Raise CountError, or StartError where the row does not run.

    `keep`: a folder for what callgrind wrote, for callgrind_annotate.
    """
    file = scene.folder / "callgrind.out"
    file.unlink(missing_ok=True)
    place = Placement(scene.cores.server | scene.cores.load, "other", callgrind.command(file), START_TIMEOUT_S)
    async with contestants.running(row, scene.wallet.url, scene.folder, place) as server:
        await load(server, WARM_UP_CALLS)
        async with callgrind.counting(server.pid):
            ok = await load(server, CALLS)
    if ok != CALLS:
        raise CountError(f"{row.name}: {CALLS - ok} of {CALLS} calls failed, so that its count says nothing")
    if keep is not None:
        _keep(file, keep, row)
    return callgrind.counted(file) / CALLS


def _keep(file: Path, folder: Path, row: Row) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, folder / f"{row.name.replace(' ', '-').replace(',', '')}.callgrind")


async def counts(scene: Scene, rows: Sequence[Row], load: Load, options: argparse.Namespace) -> Counts:
    """Count each row in each round, in turns."""
    found: dict[str, list[float]] = {row.name: [] for row in rows}
    for number in range(options.rounds):
        for row in rows:
            found[row.name].append(await count(scene, row, load, options.keep))
            say(f"round {number + 1} of {options.rounds}: {row.name:<32}{found[row.name][-1]:12,.0f}")
    return found


def same_calls(scene: Scene) -> Load:
    """Return the load of `make bench`: always the wallet page's own example, from h2load."""

    async def load(server: Server, calls: int) -> int:
        return (await h2load.closed_loop(scene.grpc(server), calls, IN_FLIGHT, scene.folder)).ok

    return load


def calls_that_differ() -> Load:
    """Return the load of `settlement_cost`: equal requests would share one entry."""
    numbers = itertools.count()

    async def load(server: Server, calls: int) -> int:
        return len(await settlement_cost.load(server, numbers, calls, TIMEOUT_S))

    return load


async def measure_rows(options: argparse.Namespace) -> bool:
    """Count the bridge on both engines and the floors here, and the bridge in other commits; print; return success."""
    chosen = [BY_NAME[name] for name in options.rows]
    with checked_out(options.against) as commits:
        rows = [each for row in chosen for each in (*(rows_of(commits, [row]) or [row]), *compiled(row, options))]
        async with a_scene(Cores.of_this_machine(), NO_EFFORT) as scene:
            found = await counts(scene, rows, same_calls(scene), options)
    return report_rows(found, chosen, [commit.ref for commit in commits])


def compiled(row: Row, options: argparse.Namespace) -> Sequence[Row]:
    """Return one of our rows with compiled modules, where that is asked for; no row otherwise."""
    is_wanted = options.compiled and row.is_ours
    return [replace(row, name=compiled_name(row), form=Form.COMPILED)] if is_wanted else []


async def measure_settlement(options: argparse.Namespace) -> bool:
    """Count the bridge with settlement off and on, on both engines; print; return success."""
    async with a_scene(Cores.of_this_machine(), NO_EFFORT) as scene:
        with settlement_cost.redis(scene.folder) as redis_url:
            engines = {engine: _settlement_rows(scene.folder, redis_url, engine) for engine in options.engines}
            rows = [row for each in engines.values() for row in each]
            found = await counts(scene, rows, calls_that_differ(), options)
    return report_settlement(found, {engine: [row.name for row in each] for engine, each in engines.items()})


ENGINES: Mapping[str, Mapping[str, str]] = {"grpcio": {}, "native": NATIVE_SETTINGS}


def _settlement_rows(folder: Path, redis_url: str, engine: str) -> list[Row]:
    own = folder / engine
    own.mkdir()
    rows = settlement_cost.rows(own, redis_url, ENGINES[engine])
    return [replace(row, name=f"{engine}: {row.name}", kind=Kind.FULL_BATCHES) for row in rows]


def missing(needed: Collection[Form] = ()) -> str:
    """Return what is not installed, these forms of the bridge included, and how to get it; "" when all is there."""
    needs = {
        callgrind.MISSING: callgrind.is_installed(),
        MISSING: NGINX is not None,
        h2load.MISSING: h2load.H2LOAD is not None,
    }
    lacks = [text for text, is_there in needs.items() if not is_there]
    return "; ".join(filter(None, (*lacks, forms.missing(needed))))


async def measure(options: argparse.Namespace) -> bool:
    """Measure the parts that are asked for; return whether every target is reached."""
    steps = {"rows": measure_rows, "settlement": measure_settlement}
    return all([await steps[part](options) for part in options.parts])


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="instructions of a call in user space")
    parser.add_argument("--against", nargs="+", default=(), metavar="REF", help="the bridges of other commits, too")
    parser.add_argument("--compiled", action="store_true", help="the bridge here with compiled modules, too")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="only these")
    parser.add_argument("--rows", nargs="+", choices=COMPARED, default=COMPARED, metavar="ROW", help="only these")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=tuple(ENGINES), help="of settlement, these")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"runs of each row ({ROUNDS})")
    parser.add_argument("--keep", type=Path, help="a folder for what callgrind wrote, for callgrind_annotate")
    options = parser.parse_args(arguments)
    if text := missing([Form.COMPILED] if options.compiled else ()):
        print(f"bench-instructions: {text}", file=sys.stderr)
        return 2
    try:
        # One order of sets in all processes: it changes counts by a percent or two.
        os.environ["PYTHONHASHSEED"] = "0"
        return 0 if asyncio.run(measure(options)) else 1
    except (StartError, RefError, CountError) as error:
        print(f"bench-instructions: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
