"""Ends of entries that this process knows of: what is in here is not sent, whatever the store answers.

    confirm, refuse   the wallet has answered for certain: to be written, and kept until the store has taken it
    block             a call has learnt that the request must not be retried; the call's own write informs the store

What is written is still kept until the next take begins: one that is under way may have been carried out before.
Source: docs/design/settlement.md, "The settler".
"""

import asyncio
import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass

from bridge.settlement.entry import Entry, Last, State
from bridge.settlement.store import Store


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


class Ends:
    """Ends of one process. `settled` is called with those that the store has as SETTLED, `refused` with the others."""

    def __init__(self, store: Store, settled: Callable[[str], None], refused: Callable[[Refusal], None]) -> None:
        self._store = store
        self._settled = settled
        self._refused = refused
        self._confirmations: dict[str, None] = {}
        self._refusals: dict[str, Refusal] = {}
        self._lost: dict[str, Refusal] = {}
        """Requests that must never be retried and whose entry another owns: refused when this process takes it."""
        self._blocked: set[str] = set()
        self._written: set[str] = set()
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
        """Write what is unwritten; raise StoreError, then it stays unwritten."""
        async with self._writing:
            confirmed = list(self._confirmations)
            if confirmed:
                await self._store.settle(confirmed)
            for entry_id in confirmed:
                self._confirmations.pop(entry_id, None)
                self._refusals.pop(entry_id, None)
                self._written.add(entry_id)
                self._settled(entry_id)
            for refusal in list(self._refusals.values()):
                await self._write_refusal(refusal)

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
