"""One write in the memory queue, what the store makes of it, and calls that wait for that.

All calls wait equally long, so that one timer serves them all: a timer of its own costs a call as much as a write.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Generator

import msgspec

from bridge.settlement.entry import Added, CallEnd, NewCall

Write = NewCall | CallEnd
Waiter = asyncio.Future[None]


class Written(msgspec.Struct, eq=False):
    """One write of the queue. `added` is its result once `is_done`: None for an end, and for what was replaced."""

    write: Write
    size: int
    """Bytes of the encrypted request."""
    is_tried: bool = False
    """It may stand in the store already: a write that failed may have been carried out."""
    is_done: bool = False
    added: Added | None = None
    _waiter: Waiter | None = None
    _callbacks: tuple[Callable[[], None], ...] = ()

    def __await__(self) -> Generator[object, None, Added | None]:
        """Wait for the result for as long as it takes."""
        if not self.is_done:
            yield from self.wake(asyncio.get_running_loop().create_future())
        return self.added

    def wake(self, waiter: Waiter) -> Waiter:
        """Finish this future with the write; it returns it. One at a time: a write has one call that waits."""
        self._waiter = waiter
        return waiter

    def then(self, callback: Callable[[], None]) -> None:
        """Have this called when it is done, in the next turn of the loop."""
        if self.is_done:
            asyncio.get_running_loop().call_soon(callback)
        else:
            self._callbacks = (*self._callbacks, callback)

    def finish(self, added: Added | None) -> None:
        """Take the result."""
        self.added, self.is_done = added, True
        # A callback may lead back here: kept, it would leave both to the garbage collector.
        callbacks, self._callbacks = self._callbacks, ()
        for callback in callbacks:
            asyncio.get_running_loop().call_soon(callback)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Waits:
    """Futures that end by themselves after a time that is the same for all."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, Waiter]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, longest_s: float) -> Waiter:
        """Return a future that is done after so many seconds, if not before."""
        loop = asyncio.get_running_loop()
        waiter: Waiter = loop.create_future()
        at = loop.time() + longest_s
        self._waiting.append((at, waiter))
        if self._timer is None:
            self._timer = loop.call_at(at, self._end)
        return waiter

    def _end(self) -> None:
        """End the waits that have lasted long enough, and forget those that are over."""
        loop, waiting = asyncio.get_running_loop(), self._waiting
        now = loop.time()
        while waiting and (waiting[0][0] <= now or waiting[0][1].done()):
            _, waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
        self._timer = loop.call_at(waiting[0][0], self._end) if waiting else None
