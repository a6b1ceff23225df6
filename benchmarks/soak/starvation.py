"""How long the soak itself kept what it measures from running: a busy machine is no late bridge.

Two things delay what a caller sees although the bridge was quick. The callers' event loop may be behind: a timer beside
the calls measures by how much. And a thread of the bridge, or of gRPC in the callers' process, may be ready to run
while others have the cores: the kernel counts that for each thread, second in /proc/PID/task/TID/schedstat.
"""

import asyncio
import contextlib
import os
from pathlib import Path

BEAT_S = 0.005
TICK_S = 0.002
"""How late a timer may always be: event loops count in milliseconds."""
BEATS_PER_COUNT = 10


class Starvation:
    """Measures for how many seconds in all the callers' loop was behind, and threads had to wait for a core."""

    def __init__(self, bridge_pid: int) -> None:
        own_pid = os.getpid()
        self._processes = [Path(f"/proc/{pid}/task") for pid in (bridge_pid, own_pid)]
        # What this process's main thread waits for is what its loop is behind, in any case.
        self._left_out = str(own_pid)
        self._loop = asyncio.get_running_loop()
        self._behind_s = 0.0
        self._beats = 0
        self._beat()

    def before(self) -> float:
        """Return the sum as it was a moment ago, at no cost: as the beginning of a time it is on the generous side."""
        return self._counted_s + self._behind_s

    def now(self) -> float:
        """Return the sum up to this moment."""
        return self._waited_s() + self._behind_s + self._behind_now_s

    def close(self) -> None:
        """Measure no more."""
        self._timer.cancel()

    def _beat(self) -> None:
        if self._beats % BEATS_PER_COUNT == 0:
            self._counted_s = self._waited_s()
        self._beats += 1
        self._due_s = self._loop.time() + BEAT_S
        self._timer = self._loop.call_at(self._due_s, self._beaten)

    def _beaten(self) -> None:
        self._behind_s += self._behind_now_s
        self._beat()

    @property
    def _behind_now_s(self) -> float:
        return max(self._loop.time() - self._due_s - TICK_S, 0.0)

    def _waited_s(self) -> float:
        waited_ns = 0
        for process in self._processes:
            # A process, or one of its threads, may end before it is read.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for thread in process.iterdir():
                    if thread.name != self._left_out:
                        waited_ns += int((thread / "schedstat").read_bytes().split()[1])
        return waited_ns / 1e9
