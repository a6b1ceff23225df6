"""Memory queue in front of the store: what calls have to write, in order, many in one transaction.

    intake.py -> put -> queue -> one task -> Store.write(batch)

One task writes, so that the writes of one call keep their order: an end waits behind a late insert. Calls that end
together share a batch; calls under way and ends that are certain wait for others to share one (GAP_S). While the store
fails, the queue holds what fits and the batch is tried again; nothing here waits for the store but that one task. A
call that the store refuses while it takes others is given up (suspects.py): it would hold up all that come after it.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from bridge.settlement.entry import Added, CallEnd, NewCall, WriteOrder, new_ticket
from bridge.settlement.store import Problem, Store, StoreError
from bridge.settlement.suspects import Suspects
from bridge.settlement.written import Write, Written

LOGGER = logging.getLogger(__name__)

BATCH_MAX = 256
ENTRIES_MAX, BYTES_MAX = 10_000, 16 * 1024 * 1024
"""Limit of the queue, in writes and in bytes of encrypted requests."""
GAP_S = 0.015
"""From the start of a batch to that of the next, at least, unless a call waits that has ended UNKNOWN: a transaction
costs as much as the writes of several calls. So a call waits that much longer before it is sent, where calls follow
each other closely; it must fit in intake.WAIT_S with room for the store."""
ENDS_WAIT_S = 0.01
"""Longest wait of certain ends for a call to share a transaction with. A crash meanwhile leaves calls that fall
due after their deadline (intake.HELD_BEYOND_S) and are sent once more, as one just before the write would."""
DELAY_FIRST_S, DELAY_MAX_S = 0.1, 5.0
"""Delay after a write that failed, doubling."""
FLUSH_S = 2.0
"""Longest time for the last writes when the bridge ends."""


@dataclass(slots=True, eq=False)
class Writer:
    """Writes calls to one store. `run` must be running for anything to be written."""

    store: Store
    failed: Callable[[StoreError], None]
    works: Callable[[], None]
    """Called with the end of each request to the store."""
    gave_up: Callable[[NewCall], None]
    """Called with a call that was to be settled, and that the store refuses while it takes others."""
    entries_max: int = ENTRIES_MAX
    bytes_max: int = BYTES_MAX
    is_failing: bool = field(default=False, init=False)
    """The last write has failed, and not for itself alone: no call need wait for the next."""
    _behind: int = field(default=0, init=False)
    """Number of the oldest writes that were delayed by a failure."""
    _suspects: Suspects = field(default_factory=Suspects, init=False)
    _writer_id: str = field(default_factory=new_ticket, init=False)
    _batches: int = field(default=0, init=False)
    _queue: dict[Written, None] = field(default_factory=dict, init=False)
    """In order. Emptied from its front, a dict is slow only until it is filled again, and much cheaper than an
    OrderedDict."""
    _by_ticket: dict[str, Written] = field(default_factory=dict, init=False)
    """The newest insert of a call that waits."""
    _bytes: int = field(default=0, init=False)
    _calls: int = field(default=0, init=False)
    """Number of writes that are calls."""
    _owed: int = field(default=0, init=False)
    """Number of writes that are calls that have ended UNKNOWN."""
    _not_before: float = field(default=0.0, init=False)
    """When the gap after the last batch ends, on the loop's clock."""
    _is_due: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    """There is something to write now."""
    _due_at: float = field(default=math.inf, init=False)
    """When the queue becomes due, on the loop's clock; 0 where it is."""
    _timer: asyncio.TimerHandle | None = field(default=None, init=False)
    """Makes the queue due."""

    @property
    def queued(self) -> int:
        """Number of writes that wait or are being written."""
        return len(self._queue)

    @property
    def is_behind(self) -> bool:
        """Whether writes still wait that a failure of the store has delayed: it does not know yet which calls ended.

        Those that it refuses for what they are do not count: they may wait for ever.
        """
        return (self.is_failing or self._behind > 0) and not self._suspects.are_all_of(self._queue)

    def put(self, call: NewCall) -> Written | None:
        """Queue a call; return what becomes of it, or None where there is no room for it.

        What the queue still holds of the same call, and the store cannot have seen, is replaced.
        """
        self._replace(call.ticket)
        written = Written(call, len(call.sealed.ciphertext))
        if self._bytes + written.size > self.bytes_max or not self._append(written):
            return None
        self._bytes += written.size
        self._by_ticket[call.ticket] = written
        self._calls += 1
        self._owed += call.is_owed
        self._look_for_work()
        return written

    def end(self, end: CallEnd) -> bool:
        """Queue the certain end of a call; return False where there is no room for it: the call falls due.

        Where the store cannot have seen the call, both are dropped.
        """
        if self._replace(end.ticket):
            return True
        if not self._append(Written(end, 0)):
            return False
        self._look_for_work()
        return True

    async def run(self) -> None:
        """Write until cancelled."""
        failures = 0
        while True:
            await self._is_due.wait()
            if await self._write_batch():
                failures = 0
            else:
                failures += 1
                await self._pause(min(DELAY_FIRST_S * 2 ** min(failures - 1, 10), DELAY_MAX_S))

    async def flush(self) -> list[NewCall]:
        """Write what waits, for at most FLUSH_S; return the calls that stay unwritten. Only after `run` has ended."""
        self._stop_timer()
        try:
            async with asyncio.timeout(FLUSH_S):
                while self._queue and (await self._write_batch() or self._suspects.may_go_on(self._queue)):
                    pass
        except TimeoutError:
            pass
        return self.unwritten()

    def unwritten(self) -> list[NewCall]:
        """Return the calls that wait."""
        return [item.write for item in self._queue if isinstance(item.write, NewCall)]

    # --- the queue ------------------------------------------------------------------------------------------------

    def _append(self, item: Written) -> bool:
        if len(self._queue) >= self.entries_max:
            return False
        self._queue[item] = None
        return True

    def _replace(self, ticket: str) -> bool:
        """Drop the queued insert of this call, if the store cannot have seen it; return whether there was one."""
        item = self._by_ticket.get(ticket)
        if item is None or item.is_tried:
            return False
        self._done(item, None)
        return True

    def _look_for_work(self) -> None:
        """Have the queue written: now, after the gap, or when ends that wait alone have waited for long enough."""
        must_hurry = self._owed or len(self._queue) >= BATCH_MAX
        if self._due_at <= self._not_before and not must_hurry:
            return  # no write can be due earlier: most of them end here
        loop = asyncio.get_running_loop()
        now = loop.time()
        at = max(self._not_before, now if self._calls else now + ENDS_WAIT_S)
        if must_hurry or at <= now:
            self._be_due()
        elif at < self._due_at:
            self._stop_timer()
            self._due_at, self._timer = at, loop.call_at(at, self._be_due)

    def _be_due(self) -> None:
        self._stop_timer()
        if self._queue:
            self._due_at = 0.0
            self._is_due.set()

    def _stop_timer(self) -> None:
        self._due_at = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _pause(self, longest_s: float) -> None:
        """Leave the store alone; where it has refused only calls that were tried alone, until there is another one."""
        if self.is_failing:
            await asyncio.sleep(longest_s)
        elif not self._suspects.may_go_on(self._queue):
            self._is_due.clear()
            self._due_at = math.inf
            with suppress(TimeoutError):
                async with asyncio.timeout(longest_s):
                    await self._is_due.wait()
            self._be_due()

    async def _write_batch(self) -> bool:
        """Write the oldest; return whether the store took them. They stay in the queue until it has."""
        self._not_before = asyncio.get_running_loop().time() + GAP_S
        batch = self._suspects.next_batch(self._queue, BATCH_MAX)
        writes: list[Write] = []
        for item in batch:
            item.is_tried = True
            writes.append(item.write)
        try:
            results = await self._store_write(writes)
            self._suspects.taken(batch)
        except StoreError as error:
            if not self._suspects.gives_up(batch, error.problem):
                self.is_failing |= not self._suspects.blames_one
                self.failed(error)
                return False
            self._report(writes)
            results = [None] * len(batch)
        if self.is_failing:
            self._behind = len(self._queue)
        self.is_failing = False
        for item, added in zip(batch, results, strict=True):
            self._done(item, added)
        self._behind = min(max(0, self._behind - len(batch)), len(self._queue))
        self._is_due.clear()
        self._due_at = math.inf
        if self._queue:
            self._look_for_work()
        self.works()
        return True

    async def _store_write(self, writes: list[Write]) -> list[Added | None]:
        self._batches += 1
        try:
            return await self.store.write(writes, WriteOrder(self._writer_id, self._batches))
        except StoreError:
            raise
        except Exception:
            LOGGER.exception("a write to the settlement store failed")  # its places, no text (telemetry/records.py)
            raise StoreError(self.store.name, Problem.FAILED) from None

    def _report(self, dropped: list[Write]) -> None:
        """Report what is given up. A call whose certain end is, is sent once more, as after a crash."""
        for write in dropped:
            if isinstance(write, NewCall) and write.is_owed:
                self.gave_up(write)

    def _done(self, item: Written, added: Added | None) -> None:
        write = item.write
        del self._queue[item]
        if isinstance(write, NewCall):
            self._bytes -= item.size
            self._calls -= 1
            self._owed -= write.is_owed
            if self._by_ticket.get(write.ticket) is item:
                del self._by_ticket[write.ticket]
            item.finish(added)
