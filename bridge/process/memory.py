"""Memory that a burst of calls has left free in the process, given back to the system.

glibc keeps what is freed between blocks in use: after a flood a process stays as large as it was at its worst, and the
next one adds to that. malloc_trim(3) gives whole free pages back. It holds the allocator's locks for some milliseconds,
so it runs rarely, in a thread, and only where there is something to gain. Elsewhere than on glibc nothing is done.

By itself glibc raises both of its thresholds with the largest block that was freed (mallopt(3), "Dynamic mmap
threshold"): after one flood of large messages it keeps up to 64 MiB. Thresholds that are set stay as they are. And it
has up to eight arenas a core, so that threads that allocate at once need not wait for one another; what one thread has
freed in one arena, another does not find in its own. gRPC's threads make what Python's thread frees.
"""

import asyncio
import ctypes
import gc
from collections.abc import Callable
from pathlib import Path

GC_OBJECTS = 20_000
"""Number of objects made, above those freed, before the garbage collector looks at the young: those of some hundred
calls."""

LOOK_S = 4.0
"""Interval of looks at resident memory, and shortest between two trims."""

GROWTH_BYTES = 8 * 2**20
"""Growth since the process began to serve before memory is given back."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # malloc.h
ALLOCATOR = {M_TRIM_THRESHOLD: 2**20, M_MMAP_THRESHOLD: 16 * 1024, M_ARENA_MAX: 1}
"""Bytes that may be free at the heap's end; from which size on a block is mapped for itself, and so given back at
once when it is freed: an ordinary call needs none; number of arenas, but for those that threads have already."""

STATM = Path("/proc/self/statm")
PAGE_BYTES = 4096


def spare_the_collector() -> None:
    """Let the garbage collector look at calls seldom, and at what was there before them never again.

    By default it looks whenever 700 objects more were made than freed: with many calls in flight, again and again at
    calls that are still under way. What a call leaves is freed without the collector, but for the rare cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_OBJECTS)


def limit_the_allocator() -> None:
    """Let the C library keep little of what is freed. Call it before threads start that allocate much."""
    if _trim() is not None:
        for parameter, value in ALLOCATOR.items():
            ctypes.CDLL(None).mallopt(parameter, value)


async def give_back_memory() -> None:
    """Give memory back after each burst; run until cancelled."""
    trim = _trim()
    if trim is None:
        return
    least_bytes = _resident_bytes()
    while True:
        await asyncio.sleep(LOOK_S)
        if _resident_bytes() > least_bytes + GROWTH_BYTES:
            await asyncio.to_thread(trim, 0)
        least_bytes = min(least_bytes, _resident_bytes())


def _trim() -> Callable[[int], int] | None:
    """Return malloc_trim; None where the C library is another, or the system is not Linux."""
    if not STATM.exists():
        return None
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return None
    return found


def _resident_bytes() -> int:
    # proc_pid_statm(5): the second number is the resident set, in pages.
    return int(STATM.read_text(encoding="ascii").split()[1]) * PAGE_BYTES
