"""Every flood against a fresh bridge on each engine: `python -m benchmarks.floods [--seconds 5]`."""

import argparse
import asyncio
from collections.abc import Sequence

from tests.support.engines import NAMES, served_by
from tests.support.floods.attacks import FLOODS
from tests.support.floods.measure import measure, target
from tests.support.whole_path import NO_SETTINGS

HEAD = (
    "| flood | median, ms | longest, ms | memory grows, MB | and keeps, MB | calls failed | connections ended |\n"
    "| --- | --- | --- | --- | --- | --- | --- |"
)


async def bench(engines: Sequence[str], names: Sequence[str], seconds: float) -> None:
    """Print a table for each engine."""
    for engine in engines:
        print(f"\n{engine}, {seconds:.0f} s each\n\n{HEAD}", flush=True)
        for name in names:
            with served_by(engine):
                async with target(NO_SETTINGS) as bridge:
                    figures = await measure(bridge, name, seconds, kept_mb_max=1.0)
            print(figures.row(name), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="latency of other calls, and memory, under each flood")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each flood lasts (5)")
    parser.add_argument("--engine", action="append", choices=NAMES, help="only this one")
    parser.add_argument("--flood", action="append", choices=list(FLOODS), help="only this one")
    parsed = parser.parse_args()
    asyncio.run(bench(parsed.engine or NAMES, parsed.flood or list(FLOODS), parsed.seconds))


if __name__ == "__main__":
    main()
