"""Calls that are worth no work, held for a moment before they end, so that their caller cannot make more of them.

A caller that opens streams and resets them at once (CVE-2023-44487), or calls what does not exist, makes calls that
cost the event loop 0.2 ms each and bring nothing. gRPC's C core counts a stream until this process has let its call go,
and refuses more than a connection may have without asking the event loop. So what slows such a caller down is to take
time. Once its connection has closed, a call that is held would only take memory: it is let go.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

ResultT = TypeVar("ResultT")

HOLD_S = 2.0
"""Least time for which a call is held: a connection gets no more of such calls in it than it may have streams."""

FREE, FREE_S = 100, 1.0
"""How many calls `slow_down` does not hold, in how many seconds: those of a client that is newer than the bridge."""

LOOK_S = 0.05
"""Interval of looks: what is held is let go in small groups, as it came."""

GOING_MAX = 10
"""Calls whose time is up and that are let go at one look: 200 a second at most. So many more may come in their place,
which takes a slow machine a tenth of its time; without this limit a connection's 1450 would come again every two
seconds, one after the other, and take all of it."""


class Call(Protocol):
    """What is held; grpc.aio's ServicerContext is one."""

    def peer(self) -> str:
        """Return who calls, in gRPC's words."""


class Tarpit:
    """The calls that are held, oldest first, for `hold_s` seconds or more: at most `count_max`, else the oldest goes.

    `is_open` says whether a peer still has a connection.
    """

    def __init__(
        self,
        count_max: int,
        is_open: Callable[[str], bool],
        hold_s: float = HOLD_S,
        free: int = FREE,
        free_s: float = FREE_S,
    ) -> None:
        self._count_max = count_max
        self._is_open = is_open
        self._hold_s = hold_s
        self._free_max, self._free_s = free, free_s
        self._held: dict[asyncio.Future[None], tuple[float, str]] = {}
        """What a call waits for -> when it may go, on the loop's clock, and its peer."""
        self._timer: asyncio.TimerHandle | None = None
        self._free, self._free_again_at = 0, 0.0
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._held)

    async def hold(self, call: Call) -> None:
        """Wait until the time is up, the place is needed for a newer call, or the peer has no connection any more."""
        peer = call.peer()
        if self._is_closed or not self._is_open(peer):
            return
        loop = asyncio.get_running_loop()
        place = loop.create_future()
        self._held[place] = loop.time() + self._hold_s, peer
        if len(self._held) > self._count_max:
            self._let_go(next(iter(self._held)))
        if self._timer is None:
            self._timer = loop.call_later(LOOK_S, self._look, loop)
        try:
            await place
        finally:
            self._held.pop(place, None)

    async def unless_cancelled(self, work: Awaitable[ResultT], call: Call) -> ResultT:
        """Return what the work returns; hold a call that the client cancels before it is done."""
        try:
            return await work
        except asyncio.CancelledError:
            await self.hold(call)
            raise

    async def slow_down(self, call: Call) -> None:
        """Return at once for `free` calls in `free_s` seconds, and hold the rest."""
        now = asyncio.get_running_loop().time()
        if now >= self._free_again_at:
            self._free, self._free_again_at = self._free_max, now + self._free_s
        self._free -= 1
        if self._free < 0:
            await self.hold(call)

    def close(self) -> None:
        """Let all go, and hold none from now on."""
        self._is_closed = True
        for place in tuple(self._held):
            self._let_go(place)

    def _let_go(self, place: asyncio.Future[None]) -> None:
        del self._held[place]
        if not place.done():
            place.set_result(None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now, going = loop.time(), 0
        for place, (until, peer) in tuple(self._held.items()):
            is_due = until <= now and going < GOING_MAX
            going += is_due
            if is_due or not self._is_open(peer):
                self._let_go(place)
        self._timer = loop.call_later(LOOK_S, self._look, loop) if self._held else None
