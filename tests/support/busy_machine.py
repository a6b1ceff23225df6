"""How much of the machine others had, for tests whose facts are latencies and hold on a machine that is their own."""

import os
import time
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
IDLE, WAITING = 3, 4
COUNTED = 8
"""Columns of the first line of /proc/stat up to "steal", what the host gave to other machines (proc(5))."""


class Others:
    """What processes that are not below this one take from now on, and the host from a virtual machine."""

    def __init__(self) -> None:
        self._began = self._now()

    def share(self) -> float:
        """Return their share of all cores since the beginning: 0 to 1."""
        at, machine_s, own_s = self._now()
        began_at, machine_before_s, own_before_s = self._began
        others_s = machine_s - machine_before_s - (own_s - own_before_s)
        return max(0.0, others_s / ((at - began_at) * (os.cpu_count() or 1)))

    @staticmethod
    def _now() -> tuple[float, float, float]:
        return time.monotonic(), _machine_s(), _own_s()


def _machine_s() -> float:
    columns = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1 : 1 + COUNTED]
    return sum(int(ticks) for at, ticks in enumerate(columns) if at not in {IDLE, WAITING}) / TICKS_PER_S


def _own_s() -> float:
    """Return the CPU time of this process and of all below it, those that have ended too."""
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The second field is the program's name in brackets, which may hold blanks and brackets. [0] is the state.
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        pid = int(stat.parent.name)
        children.setdefault(int(fields[1]), []).append(pid)
        ticks[pid] = sum(map(int, fields[11:15]))  # its own, and those of the children that it has waited for
    tree = [os.getpid()]
    for pid in tree:
        tree += children.get(pid, ())
    return sum(ticks.get(pid, 0) for pid in tree) / TICKS_PER_S
