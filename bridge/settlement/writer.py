"""Memory queue in front of the store: what calls have to write, in order, many in one transaction.

    intake.py -> put -> queue -> one task -> Store.write(batch)

One task writes, so that the writes of one call keep their order: an end waits behind a late insert. Calls that end
together share a batch. While the store fails, the queue holds what fits and the batch is tried again; nothing here
waits for the store but that one task.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice

from bridge.settlement.entry import Added, CallEnd, NewCall, WriteOrder, new_ticket
from bridge.settlement.store import Problem, Store, StoreError

LOGGER = logging.getLogger(__name__)

BATCH_MAX = 256
ENTRIES_MAX, BYTES_MAX = 10_000, 16 * 1024 * 1024
"""What the queue holds at most, in writes and in bytes of encrypted requests."""
DELAY_FIRST_S, DELAY_MAX_S = 0.1, 5.0
"""How long to wait after a write that failed, doubling."""
FLUSH_S = 2.0
"""How long the last writes may take when the bridge ends."""

Write = NewCall | CallEnd
Written = asyncio.Future[Added | None]


@dataclass(slots=True, eq=False)
class _Item:
    write: Write
    written: Written
    is_tried: bool = False
    """It may stand in the store already: a write that failed may have been carried out."""


@dataclass(slots=True, eq=False)
class Writer:
    """Writes calls to one store. `run` must be running for anything to be written."""

    store: Store
    failed: Callable[[StoreError], None]
    works: Callable[[], None]
    """Told of each request to the store, how it ended."""
    entries_max: int = ENTRIES_MAX
    bytes_max: int = BYTES_MAX
    is_failing: bool = field(default=False, init=False)
    """The last write has failed: nobody need wait for the next."""
    _behind: int = field(default=0, init=False)
    """How many of the oldest writes were delayed by a failure."""
    _writer_id: str = field(default_factory=new_ticket, init=False)
    _batches: int = field(default=0, init=False)
    _queue: OrderedDict[_Item, None] = field(default_factory=OrderedDict, init=False)
    _by_ticket: dict[str, _Item] = field(default_factory=dict, init=False)
    """The newest insert of a call that waits."""
    _bytes: int = field(default=0, init=False)
    _is_filled: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def queued(self) -> int:
        """How many writes wait or are being written."""
        return len(self._queue)

    @property
    def is_behind(self) -> bool:
        """Whether writes still wait that a failure of the store has delayed: it does not know yet which calls ended."""
        return self.is_failing or self._behind > 0

    def put(self, write: Write) -> Written | None:
        """Queue a write; return the future of its result, or None where there is no room for it.

        What the queue still holds of the same call, and the store cannot have seen, is replaced.
        """
        is_needless = self._replace(write)
        written: Written = asyncio.get_running_loop().create_future()
        if is_needless:
            written.set_result(None)
            return written
        if len(self._queue) >= self.entries_max or self._bytes + _size(write) > self.bytes_max:
            return None
        item = _Item(write, written)
        self._queue[item] = None
        self._bytes += _size(write)
        if isinstance(write, NewCall):
            self._by_ticket[write.ticket] = item
        self._is_filled.set()
        return written

    async def run(self) -> None:
        """Write until cancelled."""
        failures = 0
        while True:
            await self._is_filled.wait()
            if await self._write_batch():
                failures = 0
            else:
                failures += 1
                await asyncio.sleep(min(DELAY_FIRST_S * 2 ** min(failures - 1, 10), DELAY_MAX_S))

    async def flush(self) -> list[NewCall]:
        """Write what waits, for at most FLUSH_S; return the calls that stay unwritten. Only after `run` has ended."""
        try:
            async with asyncio.timeout(FLUSH_S):
                while self._queue and await self._write_batch():
                    pass
        except TimeoutError:
            pass
        return self.unwritten()

    def unwritten(self) -> list[NewCall]:
        """Return the calls that wait."""
        return [item.write for item in self._queue if isinstance(item.write, NewCall)]

    # --- the queue ------------------------------------------------------------------------------------------------

    def _replace(self, write: Write) -> bool:
        """Drop the queued insert of this call, if the store cannot have seen it; return whether that is all to do."""
        item = self._by_ticket.get(write.ticket)
        if item is None or item.is_tried:
            return False
        del self._by_ticket[write.ticket]
        del self._queue[item]
        self._bytes -= _size(item.write)
        if not item.written.done():
            item.written.set_result(None)
        return isinstance(write, CallEnd)

    async def _write_batch(self) -> bool:
        """Write the oldest; return whether the store took them. They stay in the queue until it has."""
        batch = list(islice(self._queue, BATCH_MAX))
        for item in batch:
            item.is_tried = True
        try:
            results = await self._store_write([item.write for item in batch])
        except StoreError as error:
            self.is_failing = True
            self.failed(error)
            return False
        if self.is_failing:
            self._behind = len(self._queue)
        self.is_failing = False
        for item, added in zip(batch, results, strict=True):
            self._done(item, added)
        self._behind = min(max(0, self._behind - len(batch)), len(self._queue))
        if not self._queue:
            self._is_filled.clear()
        self.works()
        return True

    async def _store_write(self, writes: list[Write]) -> list[Added | None]:
        self._batches += 1
        try:
            return await self.store.write(writes, WriteOrder(self._writer_id, self._batches))
        except StoreError:
            raise
        except Exception:
            LOGGER.exception("a write to the settlement store failed")  # its places, no text (telemetry/logs.py)
            raise StoreError(self.store.name, Problem.FAILED) from None

    def _done(self, item: _Item, added: Added | None) -> None:
        del self._queue[item]
        self._bytes -= _size(item.write)
        if self._by_ticket.get(item.write.ticket) is item:
            del self._by_ticket[item.write.ticket]
        if not item.written.done():
            item.written.set_result(added)


def _size(write: Write) -> int:
    return len(write.sealed.ciphertext) if isinstance(write, NewCall) else 0
