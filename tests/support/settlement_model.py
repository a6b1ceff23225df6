"""The rules of a settlement store (bridge/settlement/store.py) in plain Python: what real stores are compared with.

It is also the store of simulations: its clock is given, and nothing in it waits.
"""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from bridge.settlement.cursor import cursor_of, position_of
from bridge.settlement.entry import (
    CALLS_MAX,
    FINISHED,
    SCHEMA,
    Added,
    Call,
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
from bridge.settlement.store import Checked, Problem, StoreError

ENDED_EARLY_KEPT_S = 600.0


@dataclass
class Record:
    """An entry as the model holds it."""

    entry: Entry
    position: int
    digest: bytes
    is_owed: bool
    calls: dict[str, Call] = field(default_factory=dict)
    """By ticket, oldest first."""

    @property
    def is_open(self) -> bool:
        """Whether further calls of the request attach to it."""
        entry = self.entry
        return entry.state is State.PENDING or (entry.state is State.REJECTED and entry.never_repeat)

    def change(self, **fields: object) -> None:
        """Replace fields of the entry."""
        self.entry = dataclasses.replace(self.entry, **fields)  # type: ignore[arg-type]  # names and types are the caller's

    def finish(self, state: State, now: float, reason: str = "") -> None:
        """Make it SETTLED or CLOSED."""
        kept = {"closed_reason": reason} if state is State.CLOSED else {}
        self.change(state=state, ciphertext=b"", is_leased=False, ended=now, **kept)


class ModelStore:
    """A settlement store in memory."""

    name = "model://"

    def __init__(self, clock: Callable[[], float]) -> None:
        self.calls_max = CALLS_MAX
        """Calls that one entry lists."""
        self._clock = clock
        self._records: dict[str, Record] = {}
        self._ended_early: dict[str, float] = {}
        self._written: dict[str, int] = {}
        """By writer: the number of its last batch."""
        self._key_check = ""
        self._positions = 0

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    async def write(self, writes: Sequence[NewCall | CallEnd], order: WriteOrder | None = None) -> list[Added | None]:
        """Write calls and their ends."""
        if order is not None:
            if self._written.get(order.writer_id, 0) >= order.number:
                raise StoreError(self.name, Problem.OVERTAKEN)
            self._written[order.writer_id] = order.number
        added: list[Added | None] = []
        for one in writes:
            if isinstance(one, NewCall):
                added.append(self._add(one))
            else:
                self._end(one)
                added.append(None)
        return added

    def _add(self, call: NewCall) -> Added:
        if call.ticket in self._ended_early:
            return Added("", is_new=False, state=State.CLOSED)
        record = self._of_ticket(call.ticket)
        if record is None:
            record = self._records.get(call.sealed.entry_id) or self._open_record(call.sealed.digests)
            if record is None:
                return self._insert(call)
            record.calls[call.ticket] = call.call
            if len(record.calls) > self.calls_max:
                del record.calls[next(iter(record.calls))]
                record.is_owed = True
        if record.entry.state is State.PENDING:
            self._update(record, call)
        return Added(record.entry.entry_id, is_new=False, state=record.entry.state)

    def _update(self, record: Record, call: NewCall) -> None:
        entry, due = record.entry, self._clock() + call.due_in_s
        if call.never_repeat:
            record.change(state=State.REJECTED, never_repeat=True, is_leased=False, last=call.last)
            record.is_owed = True
        elif call.is_owed:
            record.change(due=entry.due if record.is_owed or entry.is_leased else due, last=call.last)
            record.is_owed = True
        elif not record.is_owed and not entry.is_leased:
            record.change(due=max(entry.due, due))

    def _insert(self, call: NewCall) -> Added:
        now, sealed = self._clock(), call.sealed
        state = State.REJECTED if call.never_repeat else State.PENDING
        entry = Entry(
            entry_id=sealed.entry_id,
            state=state,
            operation=sealed.operation,
            provider_id=sealed.provider_id,
            calls=(),
            fingerprint=call.fingerprint,
            ciphertext=sealed.ciphertext,
            key_id=sealed.key_id,
            created=now,
            pending_since=now,
            due=now + call.due_in_s,
            is_leased=False,
            fence=0,
            attempts=0,
            last=call.last,
            never_repeat=call.never_repeat,
            ended=0.0,
            closed_reason="",
            schema=SCHEMA,
            read_at=now,
        )
        self._positions += 1
        record = Record(entry, self._positions, sealed.digests[0], call.is_owed, {call.ticket: call.call})
        self._records[sealed.entry_id] = record
        return Added(sealed.entry_id, is_new=True, state=state)

    def _end(self, end: CallEnd) -> None:
        record = self._of_ticket(end.ticket)
        if record is None:
            self._ended_early.setdefault(end.ticket, self._clock())
            return
        del record.calls[end.ticket]
        if record.entry.state is State.PENDING and not record.is_owed and not record.calls:
            del self._records[record.entry.entry_id]
        elif end.is_success and record.entry.state is not State.SETTLED:
            record.finish(State.SETTLED, self._clock())

    async def take(
        self, limit: int, lease_s: float, operations: Collection[str], at_most: Mapping[int, int] | None = None
    ) -> list[Entry]:
        """Lease due entries."""
        now, left, taken = self._clock(), dict(at_most or {}), list[Entry]()
        for record in sorted(self._records.values(), key=lambda one: (one.entry.due, one.position)):
            entry = record.entry
            is_due = entry.state is State.PENDING and entry.due <= now
            is_ours = entry.schema <= SCHEMA and entry.operation in operations
            if is_due and is_ours and len(taken) < limit and left.get(entry.provider_id, 1) > 0:
                if entry.provider_id in left:
                    left[entry.provider_id] -= 1
                record.change(is_leased=True, due=now + lease_s, fence=entry.fence + 1, attempts=entry.attempts + 1)
                taken.append(self._shown(record))
        return taken

    async def renew(self, entry_id: str, fence: int, lease_s: float) -> bool:
        """Lease an owned entry again."""
        return self._change_owned(entry_id, fence, is_leased=True, due=self._clock() + lease_s)

    async def release(self, entry_id: str, fence: int) -> bool:
        """Give back an owned entry that was not sent."""
        record = self._records.get(entry_id)
        attempts = 0 if record is None else record.entry.attempts - record.entry.is_leased
        return self._change_owned(entry_id, fence, is_leased=False, due=self._clock(), attempts=attempts)

    async def postpone(self, entry_id: str, fence: int, due_in_s: float, last: Last) -> bool:
        """Give back an owned entry after an attempt."""
        return self._change_owned(entry_id, fence, is_leased=False, due=self._clock() + due_in_s, last=last)

    async def reject(self, entry_id: str, fence: int, last: Last, *, never_repeat: bool = False) -> bool:
        """Make an owned entry REJECTED."""
        return self._end_unsettled(entry_id, fence, state=State.REJECTED, last=last, never_repeat=never_repeat)

    async def give_up(self, entry_id: str, fence: int, last: Last) -> bool:
        """Make an owned entry UNRESOLVED."""
        return self._end_unsettled(entry_id, fence, state=State.UNRESOLVED, last=last)

    async def expire(self, older_than_s: float, operations: Collection[str], limit: int = 1000) -> list[str]:
        """Make entries UNRESOLVED that are PENDING for too long."""
        now, expired = self._clock(), list[str]()
        for record in sorted(self._records.values(), key=lambda one: (one.entry.pending_since, one.position)):
            entry = record.entry
            is_old = entry.state is State.PENDING and entry.pending_since <= now - older_than_s
            is_free = not entry.is_leased or entry.due <= now
            is_ours = entry.schema <= SCHEMA and entry.operation in operations
            if is_old and is_free and is_ours and len(expired) < limit:
                record.change(state=State.UNRESOLVED, is_leased=False)
                record.is_owed = True
                expired.append(entry.entry_id)
        return expired

    async def settle(self, entry_ids: Sequence[str]) -> list[str]:
        """Make entries SETTLED."""
        found = [self._records[one] for one in dict.fromkeys(entry_ids) if one in self._records]
        return self._settle(record for record in found if record.entry.state is not State.SETTLED)

    async def purge(self, keep_s: float, limit: int = 1000) -> int:
        """Delete entries that have been kept for long enough."""
        now = self._clock()
        kept = {ticket: at for ticket, at in self._ended_early.items() if at > now - ENDED_EARLY_KEPT_S}
        self._ended_early = kept
        ended = sorted((one.entry.ended, key) for key, one in self._records.items() if one.entry.state in FINISHED)
        gone = [key for at, key in ended if at <= now - keep_s][:limit]
        for key in gone:
            del self._records[key]
        return len(gone)

    async def retry(self, entry_id: str) -> Change:
        """Make an entry PENDING and due."""
        record = self._records.get(entry_id)
        if record is None:
            return Change.NOT_FOUND
        if record.entry.state in FINISHED:
            return Change.FINISHED
        if record.entry.never_repeat:
            return Change.NEVER_REPEAT
        other = self._open_record([record.digest])
        if other is not None and other is not record:
            return Change.OTHER_IS_OPEN
        now = self._clock()
        record.change(state=State.PENDING, pending_since=now, due=record.entry.due if record.entry.is_leased else now)
        record.is_owed = True
        return Change.DONE

    async def close_entry(self, entry_id: str, reason: str) -> Change:
        """Make an entry CLOSED."""
        record = self._records.get(entry_id)
        if record is None:
            return Change.NOT_FOUND
        if record.entry.state in FINISHED:
            return Change.FINISHED
        record.finish(State.CLOSED, self._clock(), reason)
        return Change.DONE

    async def reclassify(self, success_codes: AbstractSet[int]) -> list[str]:
        """Make REJECTED entries with one of these codes SETTLED."""
        rejected = [one for one in self._records.values() if one.entry.state is State.REJECTED]
        return self._settle(
            one for one in rejected if not one.entry.never_repeat and one.entry.last.code in success_codes
        )

    async def get(self, entry_id: str) -> Entry | None:
        """Return an entry."""
        record = self._records.get(entry_id)
        return None if record is None else self._shown(record)

    async def of_call(self, call_id: str, identities: Collection[str] | None = None) -> tuple[Entry | None, int]:
        """Return the newest entry of a call id, and how many there are."""

        def is_asked(call: Call) -> bool:
            is_theirs = identities is None or not {*identities}.isdisjoint(call.identities)
            return call.call_id == call_id and (is_theirs or (not identities and not call.identities))

        found = [one for one in self._newest_first() if any(map(is_asked, one.calls.values()))]
        return (self._shown(found[0]) if found else None), len(found)

    async def page(self, size: int, cursor: str = "", state: State | None = None) -> Page:
        """Return a page of entries, newest first."""
        below = position_of(cursor)
        found = [one for one in self._newest_first() if one.position < below and state in {None, one.entry.state}]
        next_cursor = cursor_of(found[size - 1].position) if len(found) > size else ""
        return Page(tuple(map(self._shown, found[:size])), next_cursor)

    async def counts(self) -> Counts:
        """Return how many entries there are of each state."""
        entries = [record.entry for record in self._records.values()]
        by_state = {state: sum(entry.state is state for entry in entries) for state in State}
        since = [entry.pending_since for entry in entries if entry.state is State.PENDING]
        return Counts(by_state, self._clock() - min(since) if since else 0.0)

    async def key_use(self) -> KeyUse:
        """Return which keys the store knows of."""
        entries = [record.entry for record in self._records.values()]
        return KeyUse(self._key_check, frozenset(entry.key_id for entry in entries if entry.ciphertext))

    async def set_key_check(self, key_id: str) -> None:
        """Write the key-check value."""
        self._key_check = key_id

    async def check(self) -> Checked:
        """Return that nothing is risky."""
        return Checked((), await self.key_use())

    def _newest_first(self) -> Iterator[Record]:
        return iter(sorted(self._records.values(), key=lambda one: -one.position))

    def _of_ticket(self, ticket: str) -> Record | None:
        return next((one for one in self._records.values() if ticket in one.calls), None)

    def _open_record(self, digests: Collection[bytes]) -> Record | None:
        return next((one for one in self._records.values() if one.is_open and one.digest in digests), None)

    def _shown(self, record: Record) -> Entry:
        return dataclasses.replace(record.entry, calls=tuple(record.calls.values()), read_at=self._clock())

    def _change_owned(self, entry_id: str, fence: int, **fields: object) -> bool:
        record = self._records.get(entry_id)
        if record is None or record.entry.state is not State.PENDING or record.entry.fence != fence:
            return False
        record.change(**fields)
        return True

    def _end_unsettled(self, entry_id: str, fence: int, **fields: object) -> bool:
        is_owned = self._change_owned(entry_id, fence, is_leased=False, **fields)
        if is_owned:
            self._records[entry_id].is_owed = True
        return is_owned

    def _settle(self, records: Iterator[Record]) -> list[str]:
        settled = list(records)
        for record in settled:
            record.finish(State.SETTLED, self._clock())
        return [record.entry.entry_id for record in settled]
