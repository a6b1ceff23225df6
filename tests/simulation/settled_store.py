"""One store that bridges share, and what each of them sees of it: delays, failures, and a bridge that is stopped.

What is written lasts, as SQLite's does. `lose` goes back to an earlier moment, as Redis with appendfsync everysec may.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Any

import pytest

from bridge.settlement.entry import Added, CallEnd, Counts, Entry, KeyUse, Last, NewCall, WriteOrder
from bridge.settlement.sqlite import calls
from bridge.settlement.store import Problem, StoreError
from tests.support.inline_store import InlineDatabase, InlineStore, at_once

CLOCK_AHEAD_S = 1_700_000_000.0
"""The store's clock before the bridges': code that mixes them up is far off."""
SOON_S, SLOW_S = (0.0, 0.004), (0.03, 2.0)
UNCLEAR = 0.5
"""The share of failures beyond a network whose request is carried out all the same, most of them late."""
LATE_S = 8.0
"""How late a request may arrive."""
ALL = 1_000_000
"""More entries than there are."""
OF_TICKET = "SELECT 1 FROM held WHERE ticket = ? UNION SELECT 1 FROM calls WHERE ticket = ? AND entry IS NOT NULL"


class SharedStore(InlineStore):
    """The entries, with what happens to the store as a whole."""

    def __init__(self, loop: asyncio.AbstractEventLoop, calls_max: int) -> None:
        super().__init__(self.now)
        self.calls_max = calls_max
        """Calls that one entry lists."""
        self.entries_of_call: defaultdict[str, set[str]] = defaultdict(set)
        """By call id: the entries that it was ever written to, also those that list it no more."""
        self.calls_of_entry: defaultdict[str, set[str]] = defaultdict(set)
        """By entry id: the ids of the calls that were ever written to it."""
        self.wrong: list[str] = []
        """What no store may do."""
        self._tickets: set[str] = set()
        """Of calls that were written."""
        self._ended: set[str] = set()
        """Tickets of calls that have ended after they were written."""
        self._loop = loop
        self.problem: Problem | None = None
        """Why every request fails now."""
        self.refuses_next = False
        """The next call that is written is one that this store never takes."""
        self.refused: set[str] = set()
        """Tickets of such calls."""
        self.refuses_next_end = False
        """The next entry that is to end is one whose end this store does not take, until everything is healed."""
        self.unending: set[str] = set()
        """Such entries."""
        self.is_slow = False
        self.lost: list[tuple[float, float]] = []
        """From when to when what was written is lost; by the loop's clock."""
        self.reopened: set[str] = set()
        """Entries that a call has opened again which ended UNKNOWN after they had been settled."""

    def now(self) -> float:
        """Return the store's time."""
        return self._loop.time() + CLOCK_AHEAD_S

    def entry_of(self, entry_id: str) -> Entry | None:
        """Return an entry as it stands."""
        return at_once(self.get(entry_id))

    def entries_of(self, call_id: str) -> list[Entry]:
        """Return the entries that a call refers to."""
        found = map(self.entry_of, self.entries_of_call[call_id])
        return [entry for entry in found if entry is not None]

    def entries(self) -> Sequence[Entry]:
        """Return all entries, oldest first."""
        return at_once(self.page(ALL)).entries[::-1]

    async def write(self, writes: Sequence[NewCall | CallEnd], order: WriteOrder | None = None) -> list[Added | None]:
        """Write calls and their ends; see that no call is there after its end."""
        if self.refuses_next and (new := [one.ticket for one in writes if isinstance(one, NewCall)]):
            self.refuses_next = False
            self.refused |= {new[-1]} - self._tickets
        if self.refused & {one.ticket for one in writes}:
            raise StoreError(self.name, Problem.FAILED)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(calls, "CALLS_MAX", self.calls_max)
            results = await super().write(writes, order)
        for one, added in zip(writes, results, strict=True):
            if isinstance(one, CallEnd):
                self._ended |= {one.ticket} & self._tickets
            elif added is not None and added.entry_id:
                self._tickets.add(one.ticket)
                self.entries_of_call[one.call.call_id].add(added.entry_id)
                self.calls_of_entry[added.entry_id].add(one.call.call_id)
        late = {one.ticket for one in writes} & self._ended
        self.wrong += [f"{ticket} was written after it had ended" for ticket in sorted(late) if self._is_there(ticket)]
        return results

    async def settle(self, entry_ids: Sequence[str]) -> list[str]:
        """Make entries SETTLED."""
        self._refuse_ends(entry_ids)
        return await super().settle(entry_ids)

    async def reject(self, entry_id: str, fence: int, last: Last, *, never_repeat: bool = False) -> bool:
        """Make an owned entry REJECTED."""
        self._refuse_ends([entry_id])
        return await super().reject(entry_id, fence, last, never_repeat=never_repeat)

    async def give_up(self, entry_id: str, fence: int, last: Last) -> bool:
        """Make an owned entry UNRESOLVED."""
        self._refuse_ends([entry_id])
        return await super().give_up(entry_id, fence, last)

    def _refuse_ends(self, entry_ids: Sequence[str]) -> None:
        if self.refuses_next_end:
            self.refuses_next_end = False
            self.unending.add(entry_ids[0])
        if self.unending.intersection(entry_ids):
            raise StoreError(self.name, Problem.FAILED)

    def _is_there(self, ticket: str) -> bool:
        return self.inline.connection.execute(OF_TICKET, (ticket, ticket)).fetchone() is not None

    def lose(self, last_s: float) -> None:
        """Prepare to lose what is written in the next seconds, which `last_s` is how many."""
        kept = InlineDatabase(self.inline.clock)
        self.inline.connection.backup(kept.connection)
        began_s, written = self._loop.time(), dict(self._written)
        tickets, ended = set(self._tickets), set(self._ended)

        def restore() -> None:
            kept.connection.backup(self.inline.connection)
            self._written, self._tickets, self._ended = written, tickets, ended
            self.lost.append((began_s, self._loop.time()))

        self._loop.call_later(last_s, restore)


class Handle:
    """The store as one bridge reaches it."""

    name = "sqlite://:memory:"

    def __init__(self, shared: SharedStore, chance: random.Random, *, is_redis: bool) -> None:
        self._shared = shared
        self._chance = chance
        self._is_redis = is_redis
        self.is_dead = False
        """The bridge was killed: nothing of it reaches the store any more."""
        self.stopped_until: asyncio.Event | None = None
        """Set while the process is stopped: what it has sent or is being sent waits."""
        self.stop_at: tuple[str, float] | None = None
        """The process is to be stopped for so many seconds at its next request of this name, at the worst moment:
        when it has taken entries and not been informed, or before a change of what it owns arrives."""
        self.lease_ends: dict[str, float] = {}
        """By entry: until when it was leased to this bridge, by the store's clock."""
        self.stale: list[str] = []
        """Changes that were carried out although another had taken the entry."""
        self.at_refusal: Callable[[], None] | None = None
        """To be called before the first write of an entry that must never be sent again."""
        self.settled: set[str] = set()
        """Entries that this bridge has made SETTLED, and the store has said so."""
        self._late: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing: others use it."""

    async def _do(self, act: Callable[[], Any]) -> Any:
        await self._pass()
        shared = self._shared
        if shared.problem is not None:
            if self._is_redis:
                await self._unclear(act)
            raise StoreError(self.name, shared.problem)
        result = await act()
        await self._pass()
        return result

    async def _unclear(self, act: Callable[[], Any]) -> None:
        """Carry out a request that fails beyond a network: not at all, at once, or late and behind later ones."""
        chance = self._chance.random()
        if chance < UNCLEAR / 4:
            await act()
        elif chance < UNCLEAR:
            task = asyncio.create_task(self._carry_out_late(act))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _carry_out_late(self, act: Callable[[], Any]) -> None:
        await asyncio.sleep(round(self._chance.uniform(0, LATE_S), 3))
        with suppress(StoreError):
            await act()

    async def _pass(self) -> None:
        low, high = SLOW_S if self._shared.is_slow else SOON_S
        await asyncio.sleep(round(self._chance.uniform(low, high), 3))
        if self.stopped_until is not None:
            await self.stopped_until.wait()
        if self.is_dead:
            raise StoreError(self.name, Problem.UNREACHABLE)

    def _stop_at(self, what: str) -> None:
        if self.stop_at is not None and self.stop_at[0] == what:
            self.stop_for(self.stop_at[1])
            self.stop_at = None

    def stop_for(self, seconds: float) -> None:
        """Stop the process for so long."""
        self.stopped_until = going_on = asyncio.Event()

        def go_on() -> None:
            self.stopped_until = None
            going_on.set()

        asyncio.get_running_loop().call_later(seconds, go_on)

    async def _change(self, entry_id: str, fence: int, act: Callable[[], Any]) -> bool:
        """Change an entry that this bridge owns, or believes that it owns."""
        self._stop_at("change")

        async def changed() -> bool:
            entry = self._shared.entry_of(entry_id)
            is_stale = entry is not None and entry.fence != fence
            is_done = bool(await act())
            if is_done and is_stale:
                self.stale.append(entry_id)
            return is_done

        return bool(await self._do(changed))

    async def write(self, writes: Sequence[NewCall | CallEnd], order: WriteOrder | None = None) -> list[Added | None]:
        """Write calls and their ends."""

        async def written() -> list[Added | None]:
            results = await self._shared.write(writes, order)
            for each, added in zip(writes, results, strict=True):
                if added is not None and added.is_new and isinstance(each, NewCall) and each.is_owed:
                    self._shared.reopened.add(added.entry_id)
            return results

        return await self._do(written)  # type: ignore[no-any-return]  # what `act` returns

    async def take(
        self, limit: int, lease_s: float, operations: Collection[str], at_most: Mapping[int, int] | None = None
    ) -> list[Entry]:
        """Lease due entries."""

        async def taken() -> list[Entry]:
            entries = await self._shared.take(limit, lease_s, operations, at_most)
            if entries:
                self.lease_ends |= {entry.entry_id: self._shared.now() + lease_s for entry in entries}
                self._stop_at("take")
            return entries

        return await self._do(taken)  # type: ignore[no-any-return]

    async def renew(self, entry_id: str, fence: int, lease_s: float) -> bool:
        """Lease an owned entry again."""

        async def renewed() -> bool:
            is_owned = await self._shared.renew(entry_id, fence, lease_s)
            if is_owned:
                self.lease_ends[entry_id] = self._shared.now() + lease_s
            return is_owned

        return await self._change(entry_id, fence, renewed)

    async def release(self, entry_id: str, fence: int) -> bool:
        """Give back an owned entry that was not sent."""
        return await self._change(entry_id, fence, lambda: self._shared.release(entry_id, fence))

    async def postpone(self, entry_id: str, fence: int, due_in_s: float, last: Last) -> bool:
        """Give back an owned entry after an attempt."""
        return await self._change(entry_id, fence, lambda: self._shared.postpone(entry_id, fence, due_in_s, last))

    async def reject(self, entry_id: str, fence: int, last: Last, *, never_repeat: bool = False) -> bool:
        """Make an owned entry REJECTED."""
        if never_repeat and self.at_refusal is not None:
            self.at_refusal()
            self.at_refusal = None
        return await self._change(
            entry_id, fence, lambda: self._shared.reject(entry_id, fence, last, never_repeat=never_repeat)
        )

    async def give_up(self, entry_id: str, fence: int, last: Last) -> bool:
        """Make an owned entry UNRESOLVED."""
        return await self._change(entry_id, fence, lambda: self._shared.give_up(entry_id, fence, last))

    async def expire(self, older_than_s: float, operations: Collection[str], limit: int = 1000) -> list[str]:
        """Make entries UNRESOLVED that are PENDING for too long."""
        return await self._do(lambda: self._shared.expire(older_than_s, operations, limit))  # type: ignore[no-any-return]

    async def settle(self, entry_ids: Sequence[str]) -> list[str]:
        """Make entries SETTLED."""
        settled = await self._do(lambda: self._shared.settle(entry_ids))
        self.settled.update(entry_ids)
        self._shared.reopened.difference_update(settled)
        return settled  # type: ignore[no-any-return]

    async def purge(self, keep_s: float, limit: int = 1000) -> int:
        """Delete entries that have been kept for long enough."""
        return int(await self._do(lambda: self._shared.purge(keep_s, limit)))

    async def reclassify(self, success_codes: AbstractSet[int]) -> list[str]:
        """Make REJECTED entries with one of these codes SETTLED."""
        return await self._do(lambda: self._shared.reclassify(success_codes))  # type: ignore[no-any-return]

    async def get(self, entry_id: str) -> Entry | None:
        """Return an entry."""
        return await self._do(lambda: self._shared.get(entry_id))  # type: ignore[no-any-return]

    async def counts(self) -> Counts:
        """Return how many entries there are of each state."""
        return await self._do(self._shared.counts)  # type: ignore[no-any-return]

    async def key_use(self) -> KeyUse:
        """Return which keys the store knows of."""
        return await self._do(self._shared.key_use)  # type: ignore[no-any-return]

    async def set_key_check(self, key_id: str) -> None:
        """Write the key-check value."""
        await self._do(lambda: self._shared.set_key_check(key_id))
