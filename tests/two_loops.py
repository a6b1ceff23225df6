"""A pytest plugin for tests of sockets: run on two event loops, asyncio's and production's, and leave nothing behind.

pytest_plugins = ["two_loops"]
pytestmark = [
    pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]),
    pytest.mark.usefixtures("nothing_left"),
]
"""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import uvloop

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

_LOOPS: Mapping[str, LoopFactory] = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
_DESCRIPTORS = Path("/proc/self/fd")


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, LoopFactory]:
    """Offer both loops to those who name their loops, and everybody else the one they would have anyway."""
    marker = item.get_closest_marker("asyncio")
    chooses = marker is not None and "loop_factories" in marker.kwargs
    return _LOOPS if chooses else {"asyncio": asyncio.new_event_loop}


@pytest.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task or a descriptor, or an exception that nobody looked at."""
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, complaint: complaints.append(complaint))
    # libuv keeps a spare descriptor from the first time that it listens.
    (await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)).close()
    before = _tasks_and_descriptors()
    yield
    for _ in range(100):  # a closed socket is released some turns of the loop later
        if _tasks_and_descriptors() == before:
            break
        await asyncio.sleep(0)
    assert _tasks_and_descriptors() == before
    gc.collect()  # a future whose exception nobody has seen complains now
    assert complaints == []


def _tasks_and_descriptors() -> tuple[int, int]:
    return len(asyncio.all_tasks()), len(list(_DESCRIPTORS.iterdir()))
