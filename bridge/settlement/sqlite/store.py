"""The SQLite store: each method is one piece of work for the database's thread."""

import asyncio
import json
import sqlite3
import stat
import time
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from pathlib import Path

from bridge.settlement.cursor import position_of
from bridge.settlement.entry import (
    Added,
    CallEnd,
    Change,
    Counts,
    Entry,
    KeyUse,
    Last,
    NewCall,
    Page,
    State,
    WriteOrder,
)
from bridge.settlement.sqlite import calls, changes, held, questions
from bridge.settlement.sqlite.database import Clock, Database, probe
from bridge.settlement.sqlite.errors import problem_of
from bridge.settlement.sqlite.rows import code_text
from bridge.settlement.sqlite.schema import LayoutProblem
from bridge.settlement.store import Checked, Problem, StoreError, Warn

NO_KEYS = KeyUse("", frozenset())


class SqliteStore:
    """Entries in one file, which the processes of one machine share (store.py has the rules)."""

    def __init__(self, path: Path, clock: Clock = time.time, *, creates: bool = True) -> None:
        """Take the file's path. `clock` gives seconds since 1970, the same for all processes that share the file.

        `creates`: make a file that is not there yet, and bring an older layout up to date; else both are StoreErrors.
        """
        self._path = path
        self._database = Database(path, clock, creates=creates)
        self._written: dict[str, int] = {}
        """By writer: the number of its last batch. In memory: all of them pass through this object."""

    @property
    def name(self) -> str:
        """The file's URL."""
        return self._database.name

    async def open(self) -> None:
        """Create the file where it is missing, mode 0600, and bring its layout up to date."""
        await self._database.run(lambda _, __: None, writes=False)

    async def close(self) -> None:
        """Finish what was asked for and close the file."""
        await self._database.close()

    async def write(self, writes: Sequence[NewCall | CallEnd], order: WriteOrder | None = None) -> list[Added | None]:
        """Write calls and their ends."""
        if order is not None:
            if order.number <= self._written.get(order.writer_id, 0):
                raise StoreError(self.name, Problem.OVERTAKEN)
            self._written[order.writer_id] = order.number
        return await self._database.run(partial(calls.write, writes=writes))

    async def take(
        self, limit: int, lease_s: float, operations: Collection[str], at_most: Mapping[int, int] | None = None
    ) -> list[Entry]:
        """Lease due entries."""
        work = partial(changes.take, limit=limit, lease_s=lease_s, operations=operations, at_most=at_most or {})
        return await self._database.run(work)

    async def renew(self, entry_id: str, fence: int, lease_s: float) -> bool:
        """Lease an owned entry again."""
        return await self._owned(changes.RENEW, entry_id, fence, lease_s)

    async def release(self, entry_id: str, fence: int) -> bool:
        """Give back an owned entry that was not sent."""
        return await self._owned(changes.RELEASE, entry_id, fence, 0.0)

    async def postpone(self, entry_id: str, fence: int, due_in_s: float, last: Last) -> bool:
        """Give back an owned entry after an attempt."""
        return await self._owned(changes.POSTPONE, entry_id, fence, due_in_s, last.reason, code_text(last))

    async def reject(self, entry_id: str, fence: int, last: Last, *, never_repeat: bool = False) -> bool:
        """Make an owned entry REJECTED."""
        return await self._end_unsettled(entry_id, fence, State.REJECTED, last, never_repeat=never_repeat)

    async def give_up(self, entry_id: str, fence: int, last: Last) -> bool:
        """Make an owned entry UNRESOLVED."""
        return await self._end_unsettled(entry_id, fence, State.UNRESOLVED, last, never_repeat=False)

    async def expire(self, older_than_s: float, operations: Collection[str], limit: int = 1000) -> list[str]:
        """Make entries UNRESOLVED that are PENDING for too long."""
        work = partial(changes.expire, older_than_s=older_than_s, operations=operations, limit=limit)
        return await self._database.run(work)

    async def settle(self, entry_ids: Sequence[str]) -> list[str]:
        """Make entries SETTLED."""
        return await self._database.run(partial(changes.settle, entry_ids=entry_ids))

    async def purge(self, keep_s: float, limit: int = 1000) -> int:
        """Delete entries that have been kept for long enough."""
        return await self._database.run(partial(changes.purge, keep_s=keep_s, limit=limit))

    async def retry(self, entry_id: str) -> Change:
        """Make an entry PENDING and due."""
        return await self._database.run(partial(changes.retry, entry_id=entry_id))

    async def close_entry(self, entry_id: str, reason: str) -> Change:
        """Make an entry CLOSED."""
        return await self._database.run(partial(changes.close_entry, entry_id=entry_id, reason=reason))

    async def reclassify(self, success_codes: AbstractSet[int]) -> list[str]:
        """Make REJECTED entries with one of these codes SETTLED."""
        return await self._database.run(partial(changes.reclassify, codes=success_codes))

    async def get(self, entry_id: str) -> Entry | None:
        """Return an entry."""
        await self._enter(held.OF_ENTRIES, json.dumps([entry_id]))
        return await self._database.run(partial(questions.get, entry_id=entry_id), writes=False)

    async def of_call(self, call_id: str, identities: Collection[str] | None = None) -> tuple[Entry | None, int]:
        """Return the newest entry of a call id, and how many there are."""
        await self._enter(held.OF_CALL_ID, call_id)
        work = partial(questions.of_call, call_id=call_id, identities=identities)
        return await self._database.run(work, writes=False)

    async def page(self, size: int, cursor: str = "", state: State | None = None) -> Page:
        """Return a page of entries, newest first."""
        await self._enter(held.ALL)
        work = partial(questions.page, size=size, below=position_of(cursor), state=state)
        return await self._database.run(work, writes=False)

    async def counts(self) -> Counts:
        """Return how many entries there are of each state."""
        return await self._database.run(questions.counts, writes=False)

    async def key_use(self) -> KeyUse:
        """Return which keys the file knows of."""
        return await self._database.run(questions.key_use, writes=False)

    async def set_key_check(self, key_id: str) -> None:
        """Write the key-check value."""
        await self._database.run(partial(questions.set_key_check, key_id=key_id))

    async def check(self) -> Checked:
        """Test that the file can be written, or created."""
        try:
            key_use = await asyncio.to_thread(probe, self._path, questions.key_use, NO_KEYS)
            is_open_to_all = self._path.exists() and self._path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH)
        except LayoutProblem as error:
            raise StoreError(self.name, error.problem) from None
        except (sqlite3.Error, OSError) as error:
            raise StoreError(self.name, problem_of(error)) from None
        return Checked((Warn.READABLE_BY_OTHERS,) if is_open_to_all else (), key_use)

    async def _enter(self, where: str, *values: str) -> None:
        """Make entries of calls under way that a question is about."""
        if await self._database.run(lambda connection, _: held.is_any(connection, where, *values), writes=False):
            await self._database.run(lambda connection, _: held.enter(connection, where, *values))

    async def _owned(self, statement: str, entry_id: str, fence: int, due_in_s: float, *values: str | None) -> bool:
        def change(connection: sqlite3.Connection, now: float) -> bool:
            return changes.owned(connection, entry_id, statement, (now + due_in_s, *values, entry_id, fence))

        return await self._database.run(change)

    async def _end_unsettled(self, entry_id: str, fence: int, state: State, last: Last, *, never_repeat: bool) -> bool:
        def change(connection: sqlite3.Connection, _: float) -> bool:
            return changes.end_unsettled(connection, entry_id, fence, state, last, never_repeat=never_repeat)

        return await self._database.run(change)
