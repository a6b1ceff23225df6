"""Callers who never stop."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

from bridge.sandbox.record import Pulse
from tests.support.whole_path import PATIENCE_S, Caller


class Load:
    """Callers each of whom makes one call after the other, with a token of its own each time."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        """How many calls ended with each gRPC code."""
        self.tokens: list[str] = []
        """Of all calls, in the order of their beginning."""
        self._rounds: list[int] = []
        self._ended = Pulse()
        self._is_over = False

    @classmethod
    @asynccontextmanager
    async def running(cls, caller: Caller, callers: int = 12) -> AsyncIterator["Load"]:
        """Let so many callers call until the end of the block, and then end their last call."""
        load = cls()
        load._rounds = [0] * callers
        async with asyncio.TaskGroup() as tasks:
            for number in range(callers):
                tasks.create_task(load._call(caller, number))
            await load.goes_on()
            yield load
            await load.goes_on()
            load._is_over = True

    async def goes_on(self) -> None:
        """Wait until every caller has ended a call that it began since now: the bridge knows what that taught it."""
        target = [ended + 2 for ended in self._rounds]
        async with asyncio.timeout(PATIENCE_S):
            await self._ended.until(lambda: all(map(int.__ge__, self._rounds, target)))

    async def _call(self, caller: Caller, number: int) -> None:
        for turn in count():
            if self._is_over:
                return
            self.tokens.append(f"{number}-{turn}")
            self.ends[(await caller.terminate(self.tokens[-1])).code] += 1
            self._rounds[number] += 1
            self._ended.beat()
