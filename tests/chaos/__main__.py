"""`make chaos SECONDS=120`: settlement under SIGKILL of any process, once with each store."""

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from tests.chaos.run import run

STORES = ("sqlite", "redis")


def main() -> int:
    """Return 0 when everything holds, 1 when not."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, metavar="S", help="how long with each store (120)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), metavar="N", help="chance's source")
    parser.add_argument("--store", choices=STORES, metavar="NAME", action="append", help="only with this store")
    options = parser.parse_args()
    is_well = True
    for store in options.store or STORES:
        with tempfile.TemporaryDirectory(prefix="c") as folder:
            report = asyncio.run(run(store, options.seed, Path(folder), is_enough=lambda s, *_: s >= options.seconds))
        print(report, flush=True)
        is_well = is_well and not report.violations
    return 0 if is_well else 1


if __name__ == "__main__":
    sys.exit(main())
