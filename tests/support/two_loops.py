"""A pytest plugin for tests of sockets: run on two event loops, asyncio's and production's, and leave nothing behind.

pytest_plugins = ["tests.support.two_loops"]
pytestmark = [
    pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]),
    pytest.mark.usefixtures("nothing_left"),
]
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Mapping
from collections.abc import Set as AbstractSet
from operator import not_
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.support.whole_path import until

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

_LOOPS: Mapping[str, LoopFactory] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, LoopFactory]:
    """Offer both loops to those who name their loops, and everybody else the one they would have anyway."""
    marker = item.get_closest_marker("asyncio")
    chooses = marker is not None and "loop_factories" in marker.kwargs
    return _LOOPS if chooses else {"asyncio": asyncio.new_event_loop}


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


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task or a descriptor, or an unretrieved exception."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, complaint: complaints.append(complaint))
    # libuv keeps a spare descriptor from the first time that it listens.
    (await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)).close()
    tasks, descriptors = _other_tasks(), open_descriptors()
    yield
    await until(lambda: _other_tasks() ^ tasks, not_)  # a task that was cancelled ends some turns later
    await until_closed(descriptors)
    gc.collect()  # a future whose exception was not retrieved complains now
    assert complaints == []


def _other_tasks() -> set[asyncio.Task[Any]]:
    """Return the tasks but this one: a fixture begins in another task than it ends in."""
    return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}
