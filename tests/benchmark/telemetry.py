"""What telemetry costs a call in CPU time: the bridge as it is by default, beside one that tells nothing.

    quiet      no metrics, and a log of errors only
    log        the log at info, to /dev/null: what it costs to say, without what it costs to keep
    metrics    metrics at their endpoint, which nobody scrapes
    telemetry  both: the default, and the target
    tracing    both, and every call traced, for an exporter that drops all spans

Measured as in cost.py, with the same wallet and load; the rows in turns, each round from another row on. Every single
measurement has a process of its own: two processes that do the same differ by some percent for as long as they live. A
ratio is that of two rows in the same round, so that what disturbs a whole round is in both.
"""

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Mapping, Sequence

from benchmark import cost
from whole_path import environment

RATIO_MAX = 1.10
"""Of "telemetry" to "quiet"."""
QUIET, DEFAULT = "quiet", "telemetry"

NO_METRICS, METRICS = {"TELEMETRY__METRICS_LISTEN": ""}, {"TELEMETRY__METRICS_LISTEN": "127.0.0.1:0"}
NO_LOG, LOG = {"TELEMETRY__LOG_LEVEL": "error"}, {"TELEMETRY__LOG_LEVEL": "info"}
ROWS: Mapping[str, Mapping[str, str]] = {
    QUIET: NO_METRICS | NO_LOG,
    "log": NO_METRICS | LOG,
    "metrics": METRICS | NO_LOG,
    DEFAULT: METRICS | LOG,
    "tracing": METRICS | LOG | {"TELEMETRY__TRACING": "true"},
}
DROPPED = {"OTEL_TRACES_EXPORTER": "none"}

Measured = Mapping[str, Sequence[cost.Round]]


async def _measured(name: str, load: cost.Load, calls: int) -> cost.Round:
    port = cost.free_port()
    environ = environment(load.wallet_url, {"SERVER__LISTEN": f"127.0.0.1:{port}", **ROWS[name]})
    async with cost.running(name, cost.BRIDGE, port, environ | DROPPED) as server:
        await load.run(server, cost.WARM_UP_CALLS)
        return await load.run(server, calls)


async def measure(calls: int, rounds: int) -> Measured:
    """Run all rows in turns and return the rounds of each."""
    measured: dict[str, list[cost.Round]] = {name: [] for name in ROWS}
    async with cost.loading() as load:
        for number in range(rounds):
            first = number % len(ROWS)
            for name in (*ROWS, *ROWS)[first : first + len(ROWS)]:
                measured[name].append(await _measured(name, load, calls))
                print(f"round {number + 1} of {rounds}: {cost.row_line(name, measured[name][-1])}", flush=True)
    return measured


def report(measured: Measured) -> bool:
    """Print the table; return whether the default keeps to the target and no call was lost."""
    print(f"\n{'row':<14}{'CPU us/call':>12}{'calls/s':>9}{'OK':>9}{'/ quiet':>22}{'us more':>12}")
    quiet = measured[QUIET]
    for name, rounds in measured.items():
        cpu_us = statistics.median(one.cpu_us for one in rounds)
        per_s = statistics.median(one.calls_per_s for one in rounds)
        ok = sum(one.ok for one in rounds) / sum(one.calls for one in rounds)
        more_us = statistics.median(one.cpu_us - other.cpu_us for one, other in zip(rounds, quiet, strict=True))
        ratio = cost.spread(cost.ratios(rounds, quiet))
        print(f"{name:<14}{cpu_us:12.0f}{per_s:9.0f}{ok:9.2%}{ratio:>22}{more_us:12.0f}")
    ratio_to_quiet = statistics.median(cost.ratios(measured[DEFAULT], quiet))
    is_exact = all(one.ok == one.calls for rounds in measured.values() for one in rounds)
    print(f"\nratios: median (least-most). target: {DEFAULT} at most {RATIO_MAX:.2f} x {QUIET}")
    print(
        f"target {'reached' if ratio_to_quiet <= RATIO_MAX else 'MISSED'}; every call OK: {'yes' if is_exact else 'NO'}"
    )
    return is_exact and ratio_to_quiet <= RATIO_MAX


def main() -> int:
    """Measure and print; return 1 when the target is missed, 2 when something is not installed."""
    parser = argparse.ArgumentParser(description="CPU time that telemetry adds to a call")
    parser.add_argument("--quick", action="store_true", help="few short rounds, some two minutes")
    quick = parser.parse_args().quick
    if problem := cost.missing():
        print(f"telemetry: {problem}", file=sys.stderr)
        return 2
    # What this process starts stays on this core, but for the rows, which are moved.
    os.sched_setaffinity(0, {cost.LOAD_CORE})
    calls, rounds = (3000, 3) if quick else (8000, 15)
    print(f"{rounds} rounds of {calls} calls a row, {cost.CONNECTIONS * cost.STREAMS_EACH} in flight", flush=True)
    return 0 if report(asyncio.run(measure(calls, rounds))) else 1


if __name__ == "__main__":
    sys.exit(main())
