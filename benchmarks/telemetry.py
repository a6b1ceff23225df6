"""What telemetry costs a call in CPU time: the bridge as it is by default, beside one that reports nothing.

Measured as the rows of `make bench` are, with the same wallet and load.
"""

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Mapping, Sequence

from benchmarks import bench
from benchmarks.cells import plain
from benchmarks.contestants import Kind, Row
from benchmarks.figures import Round, cost_ratio
from benchmarks.procfs import Cores
from benchmarks.scene import Effort, a_scene
from benchmarks.side_by_side import measure_rounds, say

RATIO_MAX = 1.10
"""Of "telemetry" to "quiet"."""
QUIET, DEFAULT = "quiet", "telemetry"

NO_METRICS, METRICS = {"TELEMETRY__METRICS_LISTEN": ""}, {"TELEMETRY__METRICS_LISTEN": "127.0.0.1:0"}
NO_LOG, LOG = {"TELEMETRY__LOG_LEVEL": "error"}, {"TELEMETRY__LOG_LEVEL": "info"}
TRACING = {"TELEMETRY__TRACING": "true"}
ROWS = (
    Row(QUIET, "no metrics, and a log of errors only", Kind.BRIDGE, NO_METRICS | NO_LOG),
    Row("log", "to /dev/null: what it costs to say, without what it costs to keep", Kind.BRIDGE, NO_METRICS | LOG),
    Row("metrics", "at their endpoint, which is not scraped", Kind.BRIDGE, METRICS | NO_LOG),
    Row(DEFAULT, "log and metrics: the default, and the target", Kind.BRIDGE, METRICS | LOG),
    Row("tracing", "both, and each call traced, for an exporter that drops it", Kind.BRIDGE, METRICS | LOG | TRACING),
)
DROPPED = {"OTEL_TRACES_EXPORTER": "none"}
FULL, QUICK = Effort(rounds=15, seconds=2.0), Effort(rounds=3, seconds=1.0)


async def measure(effort: Effort) -> dict[str, list[Round]]:
    """Run all rows in turns and return the rounds of each."""
    async with a_scene(Cores.of_this_machine(), effort) as scene:
        # The rows go to the server's core by themselves; what else this process starts stays on the others.
        os.sched_setaffinity(0, scene.cores.load)
        return await measure_rounds(scene, ROWS)


def report(measured: Mapping[str, Sequence[Round]]) -> bool:
    """Print the table; return whether the default keeps to the target and no call was lost."""
    quiet = measured[QUIET]
    cells = [("row", "CPU us/call", "calls/s", "errors", "/ quiet", "us more", "what it is")]
    for row in ROWS:
        rounds = measured[row.name]
        more_us = statistics.median(one.cpu_us - other.cpu_us for one, other in zip(rounds, quiet, strict=True))
        cpu_us = statistics.median(one.cpu_us for one in rounds)
        per_s = statistics.median(one.calls_per_s for one in rounds)
        errors, ratio = sum(one.errors for one in rounds), str(cost_ratio(rounds, quiet))
        cells.append((row.name, f"{cpu_us:.0f}", f"{per_s:.0f}", str(errors), ratio, f"{more_us:.0f}", row.what))
    say(f"\n{plain(cells)}\n")
    is_reached = cost_ratio(measured[DEFAULT], quiet).median <= RATIO_MAX
    failed = sum(one.errors for rounds in measured.values() for one in rounds)
    say(f"{DEFAULT} at most {RATIO_MAX:.2f} x {QUIET}: {'reached' if is_reached else 'MISSED'}; failed calls: {failed}")
    return is_reached and not failed


def main() -> int:
    """Measure and print; return 1 when the target is missed, 2 when something is not installed."""
    parser = argparse.ArgumentParser(description="CPU time that telemetry adds to a call")
    parser.add_argument("--quick", action="store_true", help="few short rounds, some two minutes")
    quick = parser.parse_args().quick
    if text := bench.missing():
        print(f"telemetry: {text}", file=sys.stderr)
        return 2
    os.environ |= DROPPED
    return 0 if report(asyncio.run(measure(QUICK if quick else FULL))) else 1


if __name__ == "__main__":
    sys.exit(main())
