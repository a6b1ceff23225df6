"""Five thousand calls, three in ten of them given up at a random moment: no other call notices, and nothing is kept.

Memory is measured as what `tracemalloc` counts for code in `bridge/http2`, h2, hpack and hyperframe: everything that a
call could leave behind in the transport is allocated there, while the fault server's records, which grow by design, are
not, and neither are the whims of the allocator and of other processes, which make a process's size jump. The fault
server runs in a process of its own, because it uses h2 too.
"""

import asyncio
import contextlib
import gc
import logging
import random
import ssl
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h2
import hpack
import httpx
import hyperframe
import pytest

import bridge.http2
from bridge.http2.connection import Connection
from bridge.http2.errors import AnswerTimeoutError, UnreachableError
from bridge.http2.exchange import Exchange
from bridge.http2.transport import Http2Transport
from tests.support.descriptors import open_descriptors
from tests.support.http2_client import terminate_body
from tests.support.processes import url_of
from tests.support.whole_path import PATIENCE_S

LOGGER = logging.getLogger(__name__)

CALLS = 5_000
CALLERS = 64
WARM_UP = 1_000
GIVEN_UP = 0.3
GIVEN_UP_WITHIN_S = 0.004
"""A random moment below this: before sending, while waiting, or just after the answer."""
BLOCKS_MORE_MAX = 40
"""Objects more than before: one for a hundred calls."""
LEFT_BY_A_CALL_BYTES_MAX = 2
"""Three calls in ten are given up, and whatever holds on to one has a pointer, eight bytes: 2.4 bytes a call."""
SEED = 20_221_122

WATCHED = tuple(str(Path(path) / "*") for package in (bridge.http2, h2, hpack, hyperframe) for path in package.__path__)


@contextmanager
def memory_watched() -> Iterator[None]:
    """Let tracemalloc count."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def kept() -> tuple[int, int]:
    """Return how many objects the transport keeps now, and how many bytes they take."""
    gc.collect()
    filters = [tracemalloc.Filter(inclusive=True, filename_pattern=pattern) for pattern in WATCHED]
    traces = tracemalloc.take_snapshot().filter_traces(filters).traces
    return len(traces), sum(trace.size for trace in traces)


def alive(kind: type[object]) -> int:
    """Return how many objects of this class are alive."""
    gc.collect()
    return sum(isinstance(each, kind) for each in gc.get_objects())


class Callers:
    """Many callers of one transport. What is random about them follows from the seed."""

    def __init__(self, transport: Http2Transport, url: str) -> None:
        self.ends: Counter[str] = Counter()
        self._transport = transport
        self._url = f"{url}/api/wallet/terminate"
        self._random = random.Random(SEED)  # noqa: S311 - reproducible is what it must be

    async def make(self, calls: int) -> None:
        """Make that many calls, CALLERS at a time, and return when all have ended."""
        turns = iter(range(calls - 1))

        async def caller() -> None:
            for _ in turns:
                self.ends[await self._call()] += 1

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        # The last one alone: h2 forgets the streams that have ended only when the next one begins.
        assert await self._succeeds(PATIENCE_S)
        self.ends["OK"] += 1
        # The turn of the loop in which a call ends still holds its answer.
        await asyncio.sleep(0)

    async def _call(self) -> str:
        """Make a call and return how it ended: "OK" for one that had all the time it wanted, and nothing else."""
        if self._random.random() >= GIVEN_UP:
            return "OK" if await self._succeeds(PATIENCE_S) else "failed"
        patience_s = self._random.uniform(0.0, GIVEN_UP_WITHIN_S)
        if self._random.random() < 0.5:
            return await self._cancelled(patience_s)
        with contextlib.suppress(AnswerTimeoutError, UnreachableError):
            await self._succeeds(patience_s)
        return "timed out or just in time"

    async def _cancelled(self, patience_s: float) -> str:
        call = asyncio.create_task(self._succeeds(PATIENCE_S))
        asyncio.get_running_loop().call_later(patience_s, call.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await call
        return "cancelled or just in time"

    async def _succeeds(self, timeout_s: float) -> bool:
        request = httpx.Request(
            "POST",
            self._url,
            stream=httpx.ByteStream(terminate_body()),
            extensions={"timeout": {"read": timeout_s}},
        )
        return (await self._transport.handle_async_request(request)).status_code == 200


@pytest.mark.timeout(240)  # it takes CPU, twice as much while tracemalloc counts: a busy machine needs minutes
async def test_given_up_calls_leave_nothing() -> None:
    """Calls that are cancelled or time out harm no other call, and leave no stream, task, descriptor or memory."""
    tasks, descriptors = asyncio.all_tasks(), open_descriptors()
    async with url_of("tests.support.good_wallet") as url:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Time for connecting on a busy machine, too: it is not what is looked at here.
        transport = Http2Transport(context, connections_max=1, connect_timeout_s=PATIENCE_S)
        callers = Callers(transport, url)
        with memory_watched():
            await callers.make(WARM_UP)
            before_blocks, before_bytes = kept()
            await callers.make(CALLS - WARM_UP)
            after_blocks, after_bytes = kept()
        LOGGER.info("%s; kept %d blocks of %d bytes", dict(callers.ends), before_blocks, before_bytes)
        LOGGER.info("then %d blocks of %d bytes", after_blocks, after_bytes)
        assert alive(Exchange) == 0
        assert alive(Connection) == 1
        await transport.aclose()
    assert callers.ends.total() == CALLS
    assert callers.ends["failed"] == 0
    # A table keeps the size of its fullest moment (dict, set and list in CPython): some kB that come and go with how
    # many of the callers meet; the number of objects does not.
    assert after_blocks - before_blocks <= BLOCKS_MORE_MAX
    assert after_bytes - before_bytes <= (CALLS - WARM_UP) * LEFT_BY_A_CALL_BYTES_MAX
    assert asyncio.all_tasks() == tasks
    assert open_descriptors() - descriptors == set()
