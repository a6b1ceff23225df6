"""Who may be served now: at most so many calls at once, a short line before them, and none once a drain refuses.

To refuse a call that finds the line full costs next to nothing: under a flood most of the bridge's work is that.
"""

import asyncio
from collections import OrderedDict

from bridge.deadline import MINIMUM_S, Deadline
from bridge.errors import BridgeDraining, BridgeOverloaded

RETRY_AFTER_S = 1.0
"""What a caller that finds the bridge full is asked to wait: a line is served many times over in that."""


class Admission:
    """Counts the calls that are served, lets others wait in order, and refuses the rest."""

    def __init__(self, max_in_flight: int = 1000, max_queued: int = 100) -> None:
        self._max_in_flight = max_in_flight
        self._max_queued = max_queued
        self._line: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._refuses = False
        self._held: asyncio.Future[None] | None = None
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self.count = 0
        """How many calls are admitted and have not left."""

    @property
    def queued(self) -> int:
        """How many calls wait."""
        return len(self._line)

    def enter(self) -> bool:
        """Admit a call at once, which must `leave` then; return False if it has to `wait` first.

        Raise BridgeDraining, or BridgeOverloaded when the line is full.
        """
        if self._held is not None:
            return False
        if self._refuses:
            raise BridgeDraining
        # Where calls wait there is no room: `leave` gives it to them first.
        if self.count < self._max_in_flight:
            self._admit()
            return True
        if len(self._line) >= self._max_queued:
            raise BridgeOverloaded(retry_after_s=RETRY_AFTER_S)
        return False

    async def wait(self, deadline: Deadline) -> None:
        """Admit a call when its turn comes; it must `leave` then. Call it at once after `enter` has returned False.

        Raise BridgeOverloaded when its turn has not come while there still was time to send it, and BridgeDraining at
        the `release` of those that are held back. A cancel frees its place.
        """
        if self._held is not None:
            await asyncio.shield(self._held)
            raise BridgeDraining
        turn = asyncio.get_running_loop().create_future()
        self._line[turn] = None
        try:
            async with asyncio.timeout(deadline.remaining_s() - MINIMUM_S):
                await turn
        except BaseException as error:
            self._line.pop(turn, None)
            if turn.done() and not turn.cancelled():
                # Its turn had come just before.
                self.leave()
            if isinstance(error, TimeoutError):
                raise BridgeOverloaded(cause="queue", retry_after_s=RETRY_AFTER_S) from None
            raise

    def leave(self) -> None:
        """End a call that was admitted, and let the next one in."""
        self.count -= 1
        while self._line and self.count < self._max_in_flight:
            turn, _ = self._line.popitem(last=False)
            # One that was cancelled has not been taken out of the line yet.
            if not turn.done():
                turn.set_result(None)
                self._admit()
        if not self.count:
            self._is_idle.set()

    def _admit(self) -> None:
        self.count += 1
        if self.count == 1:
            self._is_idle.clear()

    def refuse(self) -> None:
        """Take no further call; those in line are still served."""
        self._refuses = True

    def hold(self) -> None:
        """Take no further call, and refuse none either before `release`.

        gRPC tells a call that reaches it while it closes a port that it was cancelled, and nothing more. Callers who
        come again as soon as they are refused do so in just that moment, unless all hear of it at once, right before
        the port closes: the GOAWAY is then behind their refusals, in the same packet.
        """
        self._held = asyncio.get_running_loop().create_future()

    def release(self) -> None:
        """Refuse those that were held back."""
        if self._held is not None and not self._held.done():
            self._held.set_result(None)

    async def idle(self) -> None:
        """Wait until no call is under way, in line or admitted."""
        await self._is_idle.wait()
