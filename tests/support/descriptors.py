"""The process's open file descriptors: what a leak of sockets shows in."""

from collections.abc import Set as AbstractSet
from operator import not_
from pathlib import Path

from tests.support.whole_path import until


def open_descriptors() -> AbstractSet[int]:
    """Return their numbers, that of the one that lists them included.

    To be subtracted, and not counted: what earlier tests have left to a library's threads, like gRPC's sockets, is
    closed at some time or other, which is no fault of the test that runs by then. A new one has the lowest free number
    (POSIX, open), so that one more than before shows as a number that was not there.
    """
    return {int(each.name) for each in Path("/dev/fd").iterdir()}


async def until_closed(before: AbstractSet[int]) -> None:
    """Wait until no descriptor is open that was not so `before`; fail with those that are left.

    A socket or pipe that was closed is released some turns of the loop later, that of a child process or of another
    thread when that one has run.
    """
    await until(lambda: open_descriptors() - before, not_)
