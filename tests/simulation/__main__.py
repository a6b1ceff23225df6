"""`make simulate SEEDS=10000`: run so many seeds on every core, and show the first that fails."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.scenario import SCENARIOS
from tests.simulation.search import Failure, check

BATCH = 25
"""Seeds that a process is given at a time: few, so that all processes end at about the same time."""
REPORT_EVERY_S = 10.0
CORES = len(os.sched_getaffinity(0))
"""Those that this process may use."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when every seed holds, 1 when one fails."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, metavar="N", help="how many (1000)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first one (0)")
    parser.add_argument("--seed", type=int, metavar="N", help="this one alone")
    parser.add_argument("--processes", type=int, default=CORES, metavar="N", help=f"how many at once ({CORES})")
    names = [kind.name for kind in SCENARIOS]
    parser.add_argument("--kind", choices=names, metavar="NAME", action="append", help="only seeds of these kinds")
    options = parser.parse_args(arguments)
    kinds = {names.index(name) for name in options.kind or names}
    seeds: Sequence[int] = [
        seed for seed in range(options.first, options.first + options.seeds) if seed % len(names) in kinds
    ]
    if options.seed is not None:
        seeds = [options.seed]
    began = time.monotonic()
    failure = _search(seeds, options.processes)
    if failure is not None:
        print(failure)
        return 1
    print(f"{len(seeds)} seeds, nothing violated, {time.monotonic() - began:.0f} s")
    return 0


def _search(seeds: Sequence[int], processes: int) -> Failure | None:
    """Run seeds in so many processes; return the failure of the lowest that fails."""
    batches = [seeds[at : at + BATCH] for at in range(0, len(seeds), BATCH)]
    began = reported_at = time.monotonic()
    done = 0
    with ProcessPoolExecutor(processes) as pool:
        for batch, failure in zip(batches, pool.map(_first_of, batches), strict=True):
            if failure is not None:
                pool.shutdown(cancel_futures=True)
                return failure
            done += len(batch)
            now = time.monotonic()
            if now - reported_at > REPORT_EVERY_S:
                reported_at = now
                print(progress(done, len(seeds), now - began), flush=True)
    return None


def progress(done: int, seeds: int, took_s: float) -> str:
    """Return one line: how many seeds are done, and how long the rest takes at the same rate."""
    left_s = (seeds - done) * took_s / done
    return f"{done} of {seeds} seeds, {done / took_s:.1f} a second, {_clock(took_s)} gone, about {_clock(left_s)} left"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _first_of(seeds: Sequence[int]) -> Failure | None:
    return next((failure for failure in map(check, seeds) if failure is not None), None)


if __name__ == "__main__":
    sys.exit(main())
