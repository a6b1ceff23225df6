"""`make simulate SEEDS=10000`: run so many seeds on every core, and show the first that fails."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.scenario import SCENARIOS
from tests.simulation.search import Failure, check

BATCH = 50
REPORT_EVERY_S = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when every seed holds, 1 when one fails."""
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, metavar="N", help="how many (1000)")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the first one (0)")
    parser.add_argument("--seed", type=int, metavar="N", help="this one alone")
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
    failure = _search(seeds)
    if failure is not None:
        print(failure)
        return 1
    print(f"{len(seeds)} seeds, nothing violated, {time.monotonic() - began:.0f} s")
    return 0


def _search(seeds: Sequence[int]) -> Failure | None:
    batches = [seeds[at : at + BATCH] for at in range(0, len(seeds), BATCH)]
    told_at, done = time.monotonic(), 0
    with ProcessPoolExecutor(os.cpu_count()) as processes:
        for batch, failure in zip(batches, processes.map(_first_of, batches), strict=True):
            if failure is not None:
                processes.shutdown(cancel_futures=True)
                return failure
            done += len(batch)
            if time.monotonic() - told_at > REPORT_EVERY_S:
                told_at = time.monotonic()
                print(f"{done} of {len(seeds)} seeds", flush=True)
    return None


def _first_of(seeds: Sequence[int]) -> Failure | None:
    return next((failure for failure in map(check, seeds) if failure is not None), None)


if __name__ == "__main__":
    sys.exit(main())
