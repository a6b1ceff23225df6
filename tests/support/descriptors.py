"""The process's open file descriptors: what a leak of sockets shows in."""

import asyncio
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TypeVar

_T = TypeVar("_T")

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
    return await left(lambda: open_descriptors() - before)


async def left(look: Callable[[], AbstractSet[_T]]) -> AbstractSet[_T]:
    """Look turn by turn until there is nothing left; return what there is after PATIENCE_S."""
    loop = asyncio.get_running_loop()
    give_up_at, turn = loop.time() + PATIENCE_S, 0
    while (found := look()) and loop.time() < give_up_at:
        await asyncio.sleep(0 if turn < TURNS else LOOK_AGAIN_S)
        turn += 1
    return found
