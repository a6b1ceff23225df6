"""Admission of calls: limits in all and for each provider, with a short fair queue, until a drain refuses.

A provider whose wallet hangs fills its own share and no more: neither the other places nor the rest of the queue. Turns
go round the providers that wait. The queue drops from its longest part, so that a provider with little traffic always
finds a place in it; RFC 7567, section 2, calls
what one full queue for all would do "lock-out".

To refuse a call costs next to nothing: under a flood most of the bridge's work is that.
"""

import asyncio
from collections import OrderedDict

from bridge.deadline import MINIMUM_S, Deadline
from bridge.errors import BridgeDraining, BridgeOverloaded
from bridge.places import without_context

RETRY_AFTER_S = 1.0
"""The delay that a refused caller is asked to wait, in seconds: the queue is served many times over in that."""

WAITED_TOO_LONG = "queue"
SHARE_IS_FULL = "provider"
"""Causes of BridgeOverloaded. Without one, the bridge as a whole was full."""

Turn = asyncio.Future[bool]
"""Of a call that waits: whether it is admitted, or has lost its place to another provider's."""


class _Lane:
    """The calls of one provider: how many are admitted, and the turns of those that wait, oldest first."""

    __slots__ = ("in_flight", "waiting")

    def __init__(self) -> None:
        self.in_flight = 0
        self.waiting: OrderedDict[Turn, None] = OrderedDict()


class Admission:
    """Counter of the calls that are served, with a queue. Keeps a few bytes for each provider that ever called.

    `max_in_flight_per_provider` of None is no limit below `max_in_flight`. A provider may have the same share of the
    queue as of the places.
    """

    def __init__(
        self, max_in_flight: int = 1000, max_queued: int = 100, max_in_flight_per_provider: int | None = None
    ) -> None:
        self._max_in_flight = max_in_flight
        self._max_queued = max_queued
        self._max_in_flight_per_provider = max_in_flight_per_provider or max_in_flight
        # Rounded up, so that no provider is without a place where there is one.
        self._max_queued_per_provider = -(-max_queued * self._max_in_flight_per_provider // max_in_flight)
        self._lanes: dict[int, _Lane] = {}
        self._queue: set[_Lane] = set()
        """The lanes in which calls wait."""
        self._turns: OrderedDict[_Lane, None] = OrderedDict()
        """Those of them whose provider is below its limit, the next one first."""
        self._refuses = False
        self._held: asyncio.Future[None] | None = None
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self.count = 0
        """Number of calls that are admitted and have not ended."""
        self.queued = 0
        """Number of calls that wait."""

    @property
    def under_way(self) -> int:
        """Number of calls that are admitted or wait."""
        return self.count + self.queued

    @property
    def free(self) -> int:
        """Number of places that are neither held nor waited for."""
        return 0 if self.queued else max(0, self._max_in_flight - self.count)

    def enter(self, provider_id: int) -> bool:
        """Admit a call at once, which must `leave` then; return False if it has to `wait` first.

        Only for providers that are configured: each leaves a little state behind. Raise BridgeDraining, or
        BridgeOverloaded when there is no place in the queue.
        """
        if self._held is not None:
            return False
        if self._refuses:
            raise BridgeDraining
        lane = self._lanes.get(provider_id)
        if lane is None:
            lane = self._lanes[provider_id] = _Lane()
        # Where calls wait that could be served there is no room: `leave` gives it to them first.
        if self.count < self._max_in_flight and lane.in_flight < self._max_in_flight_per_provider:
            self._admit(lane)
            return True
        self._make_room(lane)
        return False

    def enter_beside(self, provider_id: int, *, is_guaranteed: bool) -> bool:
        """Admit a request of the bridge's own, which must `leave` then, where no caller has to wait for it.

        With `is_guaranteed` also where all places are taken: it is one more then, and counts like any other until it
        leaves. For providers that are configured, like `enter`.
        """
        lane = self._lanes.get(provider_id)
        if lane is None:
            lane = self._lanes[provider_id] = _Lane()
        has_room = self.count < self._max_in_flight and lane.in_flight < self._max_in_flight_per_provider
        if not is_guaranteed and (self.queued or not has_room):
            return False
        self._admit(lane)
        return True

    async def wait(self, provider_id: int, deadline: Deadline) -> None:
        """Admit a call when its turn comes; it must `leave` then. Call it at once after `enter` has returned False.

        Raise BridgeOverloaded when its turn has not come while there still was time to send it, or when its place went
        to another provider, and BridgeDraining at the `release` of those that are held back, or at the call's deadline
        if that is earlier. A cancel frees its place.
        """
        if self._held is not None:
            await asyncio.wait([self._held], timeout=max(0.0, deadline.remaining_s()))
            raise BridgeDraining
        lane, turn = self._lanes[provider_id], asyncio.get_running_loop().create_future()
        self._join(lane, turn)
        try:
            async with asyncio.timeout(deadline.remaining_s() - MINIMUM_S):
                is_admitted = await turn
        except BaseException as error:
            if not turn.done() or turn.cancelled():
                self._withdraw(lane, turn)
            elif turn.result():
                # Its turn had come just before.
                self.leave(provider_id)
            if isinstance(error, TimeoutError):
                raise without_context(_overloaded(WAITED_TOO_LONG)) from None
            raise
        if not is_admitted:
            raise _overloaded(SHARE_IS_FULL)

    def leave(self, provider_id: int) -> None:
        """End a call that was admitted, and let the next one in."""
        lane = self._lanes[provider_id]
        lane.in_flight -= 1
        self.count -= 1
        if lane.waiting:
            self._turns.setdefault(lane)
        while self._turns and self.count < self._max_in_flight:
            self._serve(next(iter(self._turns)))
        if not self.count:
            self._is_idle.set()

    def refuse(self) -> None:
        """Take no further call; those in the queue are still served."""
        self._refuses = True

    def hold(self) -> None:
        """Take no further call, and refuse none either before `release`.

        A call that reaches gRPC while it closes a port ends as CANCELLED, without details. Callers that retry as soon
        as they are refused do so in just that moment, unless all are refused at once, right before the port closes: the
        GOAWAY then follows their refusals, in the same packet.
        """
        self._held = asyncio.get_running_loop().create_future()

    def release(self) -> None:
        """Refuse those that were held back."""
        if self._held is not None and not self._held.done():
            self._held.set_result(None)

    async def idle(self) -> None:
        """Wait until no call is under way, queued or admitted."""
        await self._is_idle.wait()

    # --- the queue ------------------------------------------------------------------------------------------------

    def _admit(self, lane: _Lane) -> None:
        lane.in_flight += 1
        self.count += 1
        if self.count == 1:
            self._is_idle.clear()

    def _make_room(self, lane: _Lane) -> None:
        """Raise BridgeOverloaded unless one more call of this provider may wait."""
        own = len(lane.waiting)
        is_queue_full = self.queued >= self._max_queued
        providers = len(self._queue) + (not own)
        is_below_share = own < self._max_queued_per_provider
        is_below_fair_part = (own + 1) * providers <= self._max_queued
        if not is_below_share or (is_queue_full and not is_below_fair_part):
            is_full = is_queue_full and self.count >= self._max_in_flight
            raise _overloaded("" if is_full else SHARE_IS_FULL)
        if is_queue_full:
            self._displace()

    def _displace(self) -> None:
        """Refuse the newest call of the longest part: there is one above the fair part where another is below it."""
        longest = max(self._queue, key=lambda lane: len(lane.waiting))
        turn = next(reversed(longest.waiting))
        self._withdraw(longest, turn)
        if not turn.done():
            turn.set_result(False)

    def _join(self, lane: _Lane, turn: Turn) -> None:
        lane.waiting[turn] = None
        self.queued += 1
        self._queue.add(lane)
        if lane.in_flight < self._max_in_flight_per_provider:
            self._turns.setdefault(lane)

    def _withdraw(self, lane: _Lane, turn: Turn) -> None:
        if turn not in lane.waiting:
            return
        del lane.waiting[turn]
        self.queued -= 1
        if not lane.waiting:
            self._queue.remove(lane)
            self._turns.pop(lane, None)

    def _serve(self, lane: _Lane) -> None:
        """Admit the oldest call of a lane whose turn it is, which is the last one's then."""
        turn = next(iter(lane.waiting))
        self._withdraw(lane, turn)
        # One that was cancelled has not been withdrawn yet.
        if turn.done():
            return
        turn.set_result(True)
        self._admit(lane)
        self._turns.pop(lane, None)
        if lane.waiting and lane.in_flight < self._max_in_flight_per_provider:
            self._turns[lane] = None


def _overloaded(cause: str = "") -> BridgeOverloaded:
    return BridgeOverloaded(cause=cause, retry_after_s=RETRY_AFTER_S)
