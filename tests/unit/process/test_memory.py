"""Memory that a burst has left free goes back to the system."""

import asyncio
import ctypes
import gc
import sys
from collections.abc import Container

import pytest

from bridge.process import memory
from bridge.process.memory import give_back_memory
from tests.support.floods.attacks import MEBIBYTE

BLOCK_BYTES, BLOCKS = 2000, 40_000


def resident_bytes() -> int:
    """Return how much memory this process has."""
    return int(memory.STATM.read_text().split()[1]) * memory.PAGE_BYTES


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="this C library has no malloc_trim")
async def test_what_a_burst_has_left_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of 80 MB between blocks that stay is given back, though nothing but the bridge asks for it."""
    monkeypatch.setattr(memory, "LOOK_S", 0.01)
    task = asyncio.create_task(give_back_memory())
    await asyncio.sleep(0)
    burst = [bytes(BLOCK_BYTES) for _ in range(BLOCKS)]
    kept, most_bytes = burst[::20], resident_bytes()
    del burst
    gc.collect()
    while resident_bytes() > most_bytes - BLOCKS * BLOCK_BYTES // 2:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert len(kept) == BLOCKS // 20
    assert most_bytes > BLOCKS * BLOCK_BYTES > MEBIBYTE


THREADS = """
import ctypes, threading
from bridge.process.memory import limit_the_allocator

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
begin = threading.Barrier(20)

def allocate():
    begin.wait()
    for _ in range(100):
        libc.malloc(2000)

%s
threads = [threading.Thread(target=allocate) for _ in range(20)]
for each in threads:
    each.start()
for each in threads:
    each.join()
libc.malloc_stats()
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="this C library has no malloc_stats")
@pytest.mark.parametrize(
    ("before", "arenas"), [("limit_the_allocator()", {1}), ("", range(2, 22))], ids=["limited", "not"]
)
async def test_threads_share_one_arena(before: str, arenas: Container[int]) -> None:
    """Threads that allocate at once share one arena, so that what one of them has freed another can use."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", THREADS % before), stderr=asyncio.subprocess.PIPE
    )
    _, statistics = await process.communicate()
    assert process.returncode == 0
    assert statistics.count(b"Arena ") in arenas


async def test_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without glibc it ends at once, and harms nothing."""
    monkeypatch.setattr(memory, "STATM", memory.STATM.with_name("no such file"))
    memory.limit_the_allocator()
    await give_back_memory()
