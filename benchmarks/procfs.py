"""What Linux knows of a server's processes: CPU time and memory. And which CPU cores are whose."""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MISSING = "this needs Linux: CPU time and memory are read from /proc"


@dataclass(frozen=True)
class CpuTime:
    """CPU time in seconds since a process began, of all its threads."""

    user_s: float
    system_s: float

    @property
    def total_s(self) -> float:
        """User and system."""
        return self.user_s + self.system_s

    def __add__(self, other: "CpuTime") -> "CpuTime":
        return CpuTime(self.user_s + other.user_s, self.system_s + other.system_s)

    def __sub__(self, earlier: "CpuTime") -> "CpuTime":
        return CpuTime(self.user_s - earlier.user_s, self.system_s - earlier.system_s)


@dataclass(frozen=True)
class Cores:
    """Which cores the server has to itself, and which the load and the wallet share."""

    server: frozenset[int]
    load: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """Give the server the first core that this process may use, and all others to the rest."""
        first, *others = sorted(os.sched_getaffinity(0))
        return cls(frozenset({first}), frozenset(others or {first}))


def cpu_time(pid: int) -> CpuTime:
    """Return the CPU time of a process and of all below it that live."""
    return sum((_cpu_time(each) for each in process_tree(pid)), CpuTime(0.0, 0.0))


def memory_mb(pid: int) -> float:
    """Return the most resident memory so far of a process and of all below it, in MB (2**20 bytes).

    The most, since what is resident at any one moment goes up and down by as much as a burst has taken.
    """
    return sum(_peak_kb(each) for each in process_tree(pid)) / 1024


def process_tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    children: dict[int, list[int]] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            parent = int(_fields(stat)[1])
        except OSError:  # it has just ended
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    tree = [pid]
    for each in tree:
        tree += children.get(each, ())
    return tree


def _cpu_time(pid: int) -> CpuTime:
    fields = _fields(PROC / str(pid) / "stat")
    return CpuTime(int(fields[11]) / TICKS_PER_S, int(fields[12]) / TICKS_PER_S)


def _fields(stat: Path) -> list[str]:
    # proc(5): the second field is the program's name in brackets, which may hold blanks and brackets. [0] is the state.
    return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()


def _peak_kb(pid: int) -> int:
    lines = (PROC / str(pid) / "status").read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
