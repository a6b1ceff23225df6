"""Five thousand calls, three in ten of them given up at a random moment: no other call notices, and nothing is kept.

Counted is what the transport reaches: its objects and the entries of its tables, which are exact numbers. Memory is
not: a dict keeps the size of its fullest moment, which a slow machine makes fuller, and what traces a test allocates.
"""

import asyncio
import contextlib
import gc
import logging
import random
import ssl
from collections import Counter, deque
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType

import httpx
import pytest

from bridge.http2.connection import Connection
from bridge.http2.errors import AnswerTimeoutError, UnreachableError
from bridge.http2.exchange import Exchange
from bridge.http2.liveness import Trust
from bridge.http2.transport import Http2Transport
from tests.support.http2.calls import PATIENCE_S, terminate_body
from tests.support.processes import url_of
from tests.support.two_loops import open_descriptors, until_closed

LOGGER = logging.getLogger(__name__)

CALLS = 5_000
CALLERS = 64
WARM_UP = 1_000
GIVEN_UP = 0.3
GIVEN_UP_WITHIN_S = 0.004
"""A random moment below this: before sending, while waiting, or just after the answer."""
CALLS_MORE = 20
"""Calls one by one at each of the three moments that are compared."""
MORE_MAX = 40
"""Objects and entries more than before: one for a hundred calls, thirty of which are given up."""
SEED = 20_221_122

TABLES = (dict, list, set, deque, bytearray)
PASSED_BY = (type, ModuleType, FunctionType, BuiltinMethodType, asyncio.AbstractEventLoop, ssl.SSLContext)
"""What leads out of the transport, to code and to what all share."""


def kept(transport: Http2Transport) -> int:
    """Return how many objects the transport reaches, with the entries of their tables, and how many timers run."""
    gc.collect()
    found: dict[int, object] = {}
    ahead: list[object] = [transport]
    while ahead:
        each = ahead.pop()
        if id(each) not in found and not isinstance(each, PASSED_BY) and not _are_timers(each):
            found[id(each)] = each
            ahead += gc.get_referents(each.__self__ if isinstance(each, MethodType) else each)
    entries = sum(len(each) for each in found.values() if isinstance(each, TABLES))
    timers = [each for each in gc.get_objects() if isinstance(each, asyncio.TimerHandle) and not each.cancelled()]
    return len(found) + entries + len(timers)


def _are_timers(each: object) -> bool:
    """Say whether this is the loop's own list of timers, of which it keeps up to a hundred that were cancelled."""
    return isinstance(each, list) and any(isinstance(entry, asyncio.TimerHandle) for entry in each)


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

    async def kept(self) -> int:
        """Return the least that is kept after each of some more calls.

        Work of the transport's own, like a look-up of its addresses, ends; what a call has left behind stays.
        """
        found = []
        for _ in range(CALLS_MORE):
            await self.make(1)
            found.append(kept(self._transport))
        return min(found)

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
            "POST", self._url, stream=httpx.ByteStream(terminate_body()), extensions={"timeout": {"read": timeout_s}}
        )
        return (await self._transport.handle_async_request(request)).status_code == 200


@pytest.mark.timeout(240)  # it takes CPU: a busy machine needs minutes
@pytest.mark.long
async def test_given_up_calls_leave_nothing() -> None:
    """Calls that are cancelled or time out harm no other call, and leave no stream, task, descriptor or memory."""
    tasks, descriptors = asyncio.all_tasks(), open_descriptors()
    async with url_of("tests.support.good_wallet") as url:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # Time for connecting on a busy machine, too: it is not what is looked at here.
        # So is the time in which the wallet's process answers a PING.
        trust = Trust(unanswered_s=PATIENCE_S, ping_timeout_s=PATIENCE_S)
        transport = Http2Transport(context, connections_max=1, connect_timeout_s=PATIENCE_S, trust=trust)
        callers = Callers(transport, url)
        fresh = await callers.kept()
        await callers.make(WARM_UP - 2 * CALLS_MORE)
        # The wallet may end a connection, and what had been kept for it is gone: hence two looks.
        early = await callers.kept()
        await callers.make(CALLS - WARM_UP - CALLS_MORE)
        late = await callers.kept()
        LOGGER.info("%s; kept %d, then %d and %d", dict(callers.ends), fresh, early, late)
        assert alive(Exchange) == 0
        assert alive(Connection) == 1
        await transport.aclose()
    assert callers.ends.total() == CALLS
    assert callers.ends["failed"] == 0
    assert max(early, late) - fresh <= MORE_MAX
    await until_closed(descriptors)
    assert asyncio.all_tasks() == tasks
