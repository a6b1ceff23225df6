"""Calls that come close together begin together.

grpc.aio takes one call from gRPC's C core in each turn of gRPC's threads. So under load the event loop carries out one
call at a time, and the code of the next finds the processor's caches full of other things: the same instructions take
twice as long. Here a call that has come waits until no other follows, some tens of microseconds; then all begin in one
turn of the loop, and share its writes to the wallet. Under full load a call costs a quarter less
(docs/performance.md, "What each trick gained"). A call that comes alone gains nothing by waiting, and after some of
these few wait.
"""

import asyncio
import os
import time
from collections.abc import Callable

BATCH_MAX = 16
"""Calls that begin together at most: as many as have come by then begin."""

LOOKS_MAX = 16
"""Turns of the event loop in which no call has come, until those that wait begin."""

WAIT_S = 0.002
"""Longest time for which a call waits, but for the turn of the loop in which it is over."""

TAKEN_S = 0.001
"""Where an offer of the processor takes longer, it was another process that took it, and not gRPC's threads, which need
some tens of microseconds: then no call waits on."""

ALONE_MAX = 15
"""Calls that begin at once, after others that have waited for nothing, until the next one waits."""


def _nothing() -> None:
    """Do nothing, on a system without sched_yield(2)."""


LET_OTHERS_RUN: Callable[[], None] = getattr(os, "sched_yield", _nothing)


class Batches:
    """The calls that wait for others to come, in the order in which they have come.

    `let_others_run` gives the processor to gRPC's threads, which bring the calls.
    """

    def __init__(
        self, let_others_run: Callable[[], None] = LET_OTHERS_RUN, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._let_others_run = let_others_run
        self._clock = clock
        self._waiting: list[asyncio.Future[None]] = []
        self._seen = 0
        """How many waited at the last look at which there were more than before."""
        self._looks = 0
        """Looks since then."""
        self._begin_by = 0.0
        """When those that wait begin at the latest, on the clock."""
        self._is_taken = False
        """Whether another process has taken the processor since they wait."""
        self._alone_next, self._alone = 0, 0
        """How many calls begin at once when one has waited for nothing; how many are left of them."""

    async def turn(self) -> None:
        """Wait until this call may begin."""
        if self._alone:
            self._alone -= 1
            return
        loop = asyncio.get_running_loop()
        begin = loop.create_future()
        self._waiting.append(begin)
        if len(self._waiting) == 1:
            self._seen = self._looks = 0
            self._is_taken = False
            self._begin_by = self._clock() + WAIT_S
            loop.call_soon(self._look, loop)
        await begin

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        count = len(self._waiting)
        self._seen, self._looks = (count, 0) if count > self._seen else (self._seen, self._looks + 1)
        now = self._clock()
        if count < BATCH_MAX and self._looks < LOOKS_MAX and now < self._begin_by and not self._is_taken:
            self._let_others_run()
            self._is_taken = self._clock() - now > TAKEN_S
            loop.call_soon(self._look, loop)
        else:
            self._begin()

    def _begin(self) -> None:
        together, self._waiting = self._waiting, []
        is_in_vain = len(together) == 1 or self._is_taken
        self._alone_next = min(2 * self._alone_next + 1, ALONE_MAX) if is_in_vain else 0
        self._alone = self._alone_next
        for begin in together:
            if not begin.done():  # its client has cancelled
                begin.set_result(None)
