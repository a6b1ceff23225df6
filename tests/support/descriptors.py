"""The process's open file descriptors: what a leak of sockets shows in."""

import asyncio
from collections.abc import Set as AbstractSet
from pathlib import Path

TURNS = 100
"""Turns of the loop after which a test that waits for descriptors to be closed sleeps between two looks."""
PATIENCE_S = 30.0
LOOK_AGAIN_S = 0.01


def open_descriptors() -> AbstractSet[int]:
    """Return their numbers, that of the one that lists them included.

    To be subtracted, and not counted: what earlier tests have left to a library's threads, like gRPC's sockets, is
    closed at some time or other, which is no fault of the test that runs by then. A new one has the lowest free number
    (POSIX, open), so that one more than before shows as a number that was not there.
    """
    return {int(each.name) for each in Path("/dev/fd").iterdir()}


async def left_open(before: AbstractSet[int]) -> AbstractSet[int]:
    """Return the descriptors that are open and were not so `before`: none, or those that are left after PATIENCE_S.

    A socket or pipe that was closed is released some turns of the loop later, that of a child process or of another
    thread when that one has run.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + PATIENCE_S
    turn = 0
    while (left := open_descriptors() - before) and loop.time() < give_up_at:
        await asyncio.sleep(0 if turn < TURNS else LOOK_AGAIN_S)
        turn += 1
    return left
