"""What the soak looks at: the bridge's process from outside, by /proc, and its state, by its metrics."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.soak.bridge_process import BridgeProcess
from tests.support.metrics_page import scrape

GAUGES = {
    "in_flight": "wallet_bridge_calls_in_flight",
    "queued": "wallet_bridge_calls_queued",
    "detached": "wallet_bridge_calls_detached",
    "streams": "wallet_bridge_streams",
    "connections": "wallet_bridge_connections",
}
ROWS_MAX = 30
_CLOCK_HZ = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look."""

    at_s: float
    """Since the soak began."""
    calls: int
    """That had ended by then."""
    memory_kib: int
    """Resident."""
    descriptors: int
    threads: int
    tasks: int
    """Of its event loop."""
    cpu_s: float
    in_flight: int
    queued: int
    detached: int
    streams: int
    connections: int
    callers_kib: int
    wallet_kib: int
    """Resident memory of the soak's own processes."""

    @property
    def is_quiet(self) -> bool:
        """Whether the bridge does nothing and has no connection to the wallet."""
        return not any(getattr(self, name) for name in GAUGES)


COLUMNS = ("seconds", "calls", "MiB", "CPU s", "descriptors", "threads", "tasks", *GAUGES)


def heading() -> str:
    """Return the names of a row's columns."""
    return "".join(f"{name:>12}" for name in COLUMNS)


def row(sample: Sample) -> str:
    """Return a sample on one line."""
    counts = (sample.descriptors, sample.threads, sample.tasks, *(getattr(sample, name) for name in GAUGES))
    figures = (f"{sample.at_s:.0f}", sample.calls, f"{sample.memory_kib / 1024:.1f}", f"{sample.cpu_s:.1f}", *counts)
    return "".join(f"{figure:>12}" for figure in figures)


def table(samples: Sequence[Sample]) -> list[str]:
    """Return a heading and at most ROWS_MAX of the samples, evenly chosen, the last one among them."""
    step = -(-len(samples) // ROWS_MAX)
    return [heading(), *map(row, samples[::-step][::-1])]


class Sampler:
    """Looks at one bridge, and beside it at the soak's own processes."""

    def __init__(self, bridge: BridgeProcess, wallet_pid: int, calls: Callable[[], int]) -> None:
        self._bridge = Path(f"/proc/{bridge.process.pid}")
        self._tasks = bridge.tasks
        self._wallet = Path(f"/proc/{wallet_pid}")
        self._metrics_address = bridge.metrics_address
        self._calls = calls
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()

    async def look(self) -> Sample:
        """Take a sample. The process before the metrics: a scrape is a connection, and so a descriptor."""
        status = _status(self._bridge)
        descriptors = sum(1 for _ in (self._bridge / "fd").iterdir())
        cpu = (self._bridge / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
        page = await asyncio.to_thread(scrape, self._metrics_address)
        return Sample(
            at_s=self._loop.time() - self._began_s,
            calls=self._calls(),
            memory_kib=status["VmRSS"],
            descriptors=descriptors,
            threads=status["Threads"],
            tasks=await self._tasks(),
            cpu_s=(int(cpu[11]) + int(cpu[12])) / _CLOCK_HZ,
            callers_kib=_status(Path("/proc/self"))["VmRSS"],
            wallet_kib=_status(self._wallet)["VmRSS"],
            **{name: int(page.value(metric)) for name, metric in GAUGES.items()},
        )


def _status(process: Path) -> dict[str, int]:
    lines = (line.split() for line in (process / "status").read_text(encoding="utf-8").splitlines())
    return {words[0].rstrip(":"): int(words[1]) for words in lines if words[0] in {"VmRSS:", "Threads:"}}
