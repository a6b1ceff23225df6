"""Ends of entries that this process knows of: what is in here is not sent, whatever the store answers.

    confirm, refuse   the wallet has answered for certain: to be written, and kept until the store has taken it
    block             a call has learnt that the request must not be retried; the call's own write informs the store

What is written is still kept until the next take begins: one that is under way may have been carried out before.
An end that the store refuses while it takes others holds none of them up: it is tried alone.
Source: docs/design/settlement.md, "The settler".
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass

from bridge.settlement.entry import Entry, Last, State
from bridge.settlement.store import Store, StoreError
from bridge.settlement.suspects import OF_ONE

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Refusal:
    """End of an entry that is not SETTLED: REJECTED or UNRESOLVED. The store takes it from the current owner only."""

    entry: Entry
    """As it was taken: its fence says who owns it."""
    state: State
    last: Last
    took_s: float
    """Duration of the attempt."""
    never_repeat: bool = False


LOST_MAX = 1000
"""Refusals that another owner's fence has refused: the oldest is forgotten first."""
AGAIN_S = 10.0
"""Time until an end that the store has refused alone is tried again."""
UNWRITABLE_MAX = 20
"""Such ends at once. Where there are more, it is the store that fails, and the settler must not go on."""


class Ends:
    """Ends of one process. `settled` is called with those that the store has as SETTLED, `refused` with the others.

    `failed` is called with each request that failed and that `write` does not raise.
    """

    def __init__(
        self,
        store: Store,
        settled: Callable[[str], None],
        refused: Callable[[Refusal], None],
        failed: Callable[[], None],
    ) -> None:
        self._store = store
        self._settled = settled
        self._refused = refused
        self._failed = failed
        self._clock = asyncio.get_running_loop().time
        self._confirmations: dict[str, None] = {}
        self._refusals: dict[str, Refusal] = {}
        self._lost: dict[str, Refusal] = {}
        """Requests that must never be retried and whose entry another owns: refused when this process takes it."""
        self._blocked: set[str] = set()
        self._written: set[str] = set()
        self._unwritable: dict[str, float] = {}
        """Entries whose end the store has refused alone -> when it is tried again, on the event loop's clock."""
        self._writing = asyncio.Lock()

    def __contains__(self, entry_id: str) -> bool:
        known = (self._confirmations, self._refusals, self._lost, self._blocked, self._written)
        return any(entry_id in each for each in known)

    @property
    def unwritten(self) -> dict[str, State]:
        """Entries whose end the store has not taken yet, with that end."""
        refusals = {entry_id: one.state for entry_id, one in self._refusals.items()}
        return refusals | dict.fromkeys(self._confirmations, State.SETTLED)

    def confirm(self, entry_id: str) -> None:
        """Know that the wallet has confirmed an entry's request. It wins over a refusal."""
        self._confirmations[entry_id] = None

    def refuse(self, refusal: Refusal) -> None:
        """Know that an entry is not to be sent again."""
        self._refusals[refusal.entry.entry_id] = refusal

    def block(self, entry_id: str) -> None:
        """Send an entry no more: the write of a call will make it REJECTED."""
        self._blocked.add(entry_id)

    def unblock(self, entry_id: str) -> None:
        """Take note that the call's write has been carried out."""
        self._blocked.discard(entry_id)
        self._written.add(entry_id)

    def forget_written(self, but: Collection[str]) -> None:
        """Forget what the store has, but for these entries. A take that begins now does not return the others."""
        self._written.intersection_update(but)

    async def write(self) -> None:
        """Write what is unwritten; raise StoreError, then it stays unwritten.

        It is not raised for ends that the store refuses and may refuse for what they are: the others are written.
        """
        async with self._writing:
            alone = await self._confirm_together()
            await self._write_each([*alone, *self._refusals])

    async def _confirm_together(self) -> list[str]:
        """Write the confirmations, all at once; return those that have to be tried alone."""
        together = [entry_id for entry_id in self._confirmations if entry_id not in self._unwritable]
        alone = [entry_id for entry_id in self._confirmations if entry_id in self._unwritable]
        try:
            await self._confirm(together)
        except StoreError as error:
            if error.problem not in OF_ONE:
                raise
            self._failed()
            return together + alone
        return alone

    async def _confirm(self, entry_ids: list[str]) -> None:
        if entry_ids:
            await self._store.settle(entry_ids)
        for entry_id in entry_ids:
            self._confirmations.pop(entry_id, None)
            self._refusals.pop(entry_id, None)
            self._written.add(entry_id)
            self._settled(entry_id)

    async def _write_each(self, entry_ids: list[str]) -> None:
        """Write ends one by one, but for those that were refused a moment ago."""
        for entry_id in entry_ids:
            if self._unwritable.get(entry_id, 0.0) <= self._clock():
                await self._write_one(entry_id)

    async def _write_one(self, entry_id: str) -> None:
        refusal = self._refusals.get(entry_id)
        try:
            if entry_id in self._confirmations:
                await self._confirm([entry_id])
            elif refusal is not None:
                await self._write_refusal(refusal)
        except StoreError as error:
            self._put_off(entry_id, error)
        else:
            self._unwritable.pop(entry_id, None)

    def _put_off(self, entry_id: str, error: StoreError) -> None:
        """Have an end tried again later; raise the error where it is the store's."""
        if error.problem not in OF_ONE or len(self._unwritable | {entry_id: 0}) > UNWRITABLE_MAX:
            raise error
        self._failed()
        if entry_id not in self._unwritable:
            LOGGER.error("settlement entry %s is %s; not written: %s", entry_id, self.unwritten[entry_id], error)
        self._unwritable[entry_id] = self._clock() + AGAIN_S

    async def taken_again(self, entry: Entry) -> None:
        """Write the known end of an entry that was taken all the same, with the fence that it has now.

        One that is blocked stays leased: the call's write ends it, with or without a lease.
        """
        refusal = self._refusals.get(entry.entry_id) or self._lost.pop(entry.entry_id, None)
        if refusal is not None:
            self._refusals[entry.entry_id] = dataclasses.replace(refusal, entry=entry)
        if refusal is not None or entry.entry_id in self._confirmations:
            await self.write()
        elif entry.entry_id not in self._blocked:
            # It has ended, and this does nothing; or a person has asked for a retry since, and it is due at once.
            await self._store.release(entry.entry_id, entry.fence)

    async def _write_refusal(self, refusal: Refusal) -> None:
        entry_id, fence, last = refusal.entry.entry_id, refusal.entry.fence, refusal.last
        if refusal.state is State.REJECTED:
            is_taken = await self._store.reject(entry_id, fence, last, never_repeat=refusal.never_repeat)
        else:
            is_taken = await self._store.give_up(entry_id, fence, last)
        found = None if is_taken else await self._store.get(entry_id)
        # A write that has failed before may have been carried out. Else another owns the entry by now.
        is_taken = is_taken or (found is not None and (found.state, found.fence) == (refusal.state, fence))
        if self._refusals.get(entry_id) is not refusal:
            return  # it was taken again meanwhile
        del self._refusals[entry_id]
        if refusal.never_repeat and found is not None and found.state is State.PENDING:
            self._lose(refusal)
        if is_taken:
            self._written.add(entry_id)
            self._refused(refusal)

    def _lose(self, refusal: Refusal) -> None:
        if len(self._lost) >= LOST_MAX:
            del self._lost[next(iter(self._lost))]
        self._lost[refusal.entry.entry_id] = refusal
