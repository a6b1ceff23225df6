"""nghttp2's h2load as the load: so many calls in flight, or calls at their own times whatever has become of others.

h2load counts HTTP statuses, and a gRPC call that failed is an HTTP 200, too. But a failure carries no message: the
bytes of DATA that came, divided by those of the one right response, are the calls that ended OK.
"""

import asyncio
import random
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, takewhile
from pathlib import Path

from benchmarks.figures import percentile

H2LOAD = shutil.which("h2load")
"""None where h2load is not installed."""
MISSING = "h2load is not installed; on Debian: apt-get install nghttp2-client"

CONNECTIONS_MAX = 4
OPEN_LOOP_PROCESSES = 4
"""Each with a connection and a schedule of its own: h2load gives all of its connections the same schedule."""
SILENCE_MAX_S = 30
"""A connection on which nothing happens for so long is given up, with its calls: longer than any deadline here."""
STREAMS_MAX = 1000
"""On one connection of an open loop: a server that falls behind shows it by latency, not by holding the load back."""


@dataclass(frozen=True)
class Target:
    """Where a load goes, always with the same request."""

    url: str
    body_file: Path
    headers: tuple[str, ...]
    response_bytes: int
    """DATA bytes of the one right response."""


@dataclass(frozen=True)
class Sent:
    """What came of a load."""

    calls: int
    ok: int
    seconds: float
    latencies_ms: Sequence[float]
    """Of the calls that got any response, shortest first."""

    @property
    def calls_per_s(self) -> float:
        """Calls that ended in a second."""
        return self.calls / self.seconds

    def latency_ms(self, share: float) -> float:
        """Return what this share of the calls kept within; 0 where no call got a response."""
        return percentile(self.latencies_ms, share) if self.latencies_ms else 0.0


def connections_for(in_flight: int) -> int:
    """Return over how many connections so many calls are spread, as evenly as their number allows."""
    return next(count for count in range(CONNECTIONS_MAX, 0, -1) if in_flight % count == 0 and in_flight >= count)


async def closed_loop(target: Target, calls: int, in_flight: int, folder: Path, connections: int = 0) -> Sent:
    """Make so many calls, always so many of them in flight. `connections`: over how many; 0 for up to 4."""
    connections = connections or connections_for(in_flight)
    log_file = _new(folder / "closed.log")
    options = (
        f"--requests={calls}",
        f"--clients={connections}",
        f"--max-concurrent-streams={in_flight // connections}",
    )
    summary = await _h2load(target, options, log_file)
    return sent([summary], [log_file.read_text(encoding="ascii")], target.response_bytes)


async def open_loop(target: Target, calls_per_s: float, seconds: float, folder: Path) -> Sent:
    """Begin calls at random, independent times (a Poisson process) at this rate on average, for so many seconds."""
    each_per_s = calls_per_s / OPEN_LOOP_PROCESSES
    log_files = [_new(folder / f"open{number}.log") for number in range(OPEN_LOOP_PROCESSES)]
    loads = []
    for number, log_file in enumerate(log_files):
        times_ms = schedule_ms(each_per_s, seconds, seed=number)
        script = folder / f"open{number}.schedule"
        script.write_text("".join(f"{each:.3f}\t{target.url}\n" for each in times_ms), encoding="ascii")
        options = (
            *(f"--requests={len(times_ms)}", "--clients=1", f"--max-concurrent-streams={STREAMS_MAX}"),
            f"--timing-script-file={script}",
        )
        loads.append(_h2load(target, options, log_file))
    summaries = await asyncio.gather(*loads)
    return sent(summaries, [each.read_text(encoding="ascii") for each in log_files], target.response_bytes)


def schedule_ms(calls_per_s: float, seconds: float, seed: int) -> list[float]:
    """Return when each call begins, in milliseconds: at least one, exponentially distributed gaps."""
    chance = random.Random(seed)  # noqa: S311 - no secret, and the same in every run
    gaps = iter(lambda: chance.expovariate(calls_per_s), None)
    return [at * 1000 for at in takewhile(lambda at: at < seconds, accumulate(gaps))] or [0.0]


def _new(log_file: Path) -> Path:
    log_file.unlink(missing_ok=True)  # h2load appends
    return log_file


async def _h2load(target: Target, options: Sequence[str], log_file: Path) -> str:
    headers = (f"--header={header}" for header in target.headers)
    process = await asyncio.create_subprocess_exec(
        *(str(H2LOAD), *options, f"--connection-inactivity-timeout={SILENCE_MAX_S}s"),
        *(f"--log-file={log_file}", f"--data={target.body_file}", *headers, target.url),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return output.decode()


# --- reading ----------------------------------------------------------------------------------------------------

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


def sent(summaries: Sequence[str], logs: Sequence[str], response_bytes: int) -> Sent:
    """Read what several h2load at once have printed and logged; raise ValueError for what is none of theirs."""
    data_bytes = sum(int(_found(r"\(([0-9]+)\) data", summary)[0]) for summary in summaries)
    latencies_ms = sorted(each for log in logs for each in logged_latencies_ms(log))
    return Sent(
        calls=sum(int(_found(r"requests: ([0-9]+) total", summary)[0]) for summary in summaries),
        ok=data_bytes // response_bytes,
        seconds=max(_seconds(summary) for summary in summaries),
        latencies_ms=latencies_ms,
    )


def logged_latencies_ms(log: str) -> list[float]:
    """Read h2load's log: start in microseconds, HTTP status or -1, microseconds until the response's end."""
    rows = (line.split("\t") for line in log.splitlines())
    return [int(took_us) / 1000 for _, status, took_us, *_ in rows if status != "-1"]


def _seconds(summary: str) -> float:
    number, unit = _found(r"finished in ([0-9.]+)(us|ms|s|m)\b", summary)
    return float(number) * _UNITS_S[unit]


def _found(pattern: str, text: str) -> tuple[str, ...]:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"this is not what h2load prints at its end:\n{text}")
    return found.groups()
