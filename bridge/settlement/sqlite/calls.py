"""Statements that write calls and their ends (Store.write)."""

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

from bridge.settlement.entry import CALLS_MAX, SCHEMA, Added, CallEnd, NewCall, State
from bridge.settlement.sqlite import held
from bridge.settlement.sqlite.rows import code_text

INSERT_ENTRY = f"""
    INSERT INTO entries (
        seq, entry_id, schema, state, operation, provider_id, open_digest, digest, key_id, ciphertext, fingerprint,
        created, pending_since, due, is_leased, is_owed, fence, attempts, reason, code, never_repeat, ended,
        closed_reason
    ) SELECT top.seq + 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, 0, ?, ?, ?, 0, '' FROM ({held.TOP}) AS top
"""  # noqa: S608 - our own words
INSERT_CALL = "INSERT INTO calls (ticket, entry, call_id, identities, added) VALUES (?, ?, ?, ?, ?)"

SETTLE = """
    UPDATE entries SET state = 'SETTLED', open_digest = NULL, ciphertext = NULL, is_leased = 0, ended = ?
    WHERE seq = ? AND state <> 'SETTLED'
"""


def write(connection: sqlite3.Connection, now: float, writes: Sequence[NewCall | CallEnd]) -> list[Added | None]:
    """Carry out writes in their order."""
    added: list[Added | None] = []
    for is_light, group in groupby(writes, _is_light):
        part = list(group)
        added += (_write_light(connection, now, part) if is_light else None) or _in_order(connection, now, part)
    return added


def _is_light(one: NewCall | CallEnd) -> bool:
    return isinstance(one, CallEnd) or held.fits(one)


def _write_light(
    connection: sqlite3.Connection, now: float, writes: Sequence[NewCall | CallEnd]
) -> list[Added | None] | None:
    """Carry out calls to be held, then ends; change nothing, return None where that differs from their order.

    It does not differ from carrying them out in their order where no ticket occurs twice and every call is held: then
    no end concerns the request of any of them.
    """
    if len({one.ticket for one in writes}) < len(writes):
        return None
    calls: list[NewCall] = []
    ends: list[CallEnd] = []
    added: list[Added | None] = []
    for one in writes:
        if isinstance(one, NewCall):
            calls.append(one)
            added.append(_held(one))
        else:
            ends.append(one)
            added.append(None)
    if calls and not _of_all(connection, calls, lambda: held.insert(connection, now, calls)):
        return None
    if ends and not _of_all(connection, ends, lambda: held.delete(connection, ends)):
        for end in ends:
            _end(connection, now, end)
    return added


def _of_all(connection: sqlite3.Connection, writes: Sequence[object], change: Callable[[], int]) -> bool:
    """Carry out a change that returns of how many it was one; undo it and return False where it was not one of all."""
    connection.execute("SAVEPOINT light")
    is_of_all = change() == len(writes)
    if not is_of_all:
        connection.execute("ROLLBACK TO light")
    connection.execute("RELEASE light")
    return is_of_all


def _in_order(
    connection: sqlite3.Connection, now: float, writes: Sequence[NewCall | CallEnd]
) -> Iterator[Added | None]:
    for one in writes:
        if isinstance(one, NewCall):
            yield _add(connection, now, one)
        else:
            _end(connection, now, one)
            yield None


def _held(call: NewCall) -> Added:
    return Added(call.sealed.entry_id, True, State.PENDING)  # noqa: FBT003 - by position at half the cost


def _add(connection: sqlite3.Connection, now: float, call: NewCall) -> Added:
    held.enter_same(connection, call)
    known = connection.execute("SELECT entry FROM calls WHERE ticket = ?", (call.ticket,)).fetchone()
    if known is not None and known[0] is None:
        return Added("", is_new=False, state=State.CLOSED)
    seq = known[0] if known is not None else _own_entry(connection, call) or _open_entry(connection, call)
    if seq is None:
        is_held = held.fits(call) and held.insert(connection, now, [call])
        return _held(call) if is_held else _insert(connection, now, call)
    if known is None:
        _attach(connection, now, call, seq)
    _update(connection, now, call, seq)
    entry_id, state = connection.execute("SELECT entry_id, state FROM entries WHERE seq = ?", (seq,)).fetchone()
    return Added(entry_id, is_new=False, state=State(state))


def _own_entry(connection: sqlite3.Connection, call: NewCall) -> int | None:
    """Return the entry that the call became, although the entry lists it no more (CALLS_MAX)."""
    found = connection.execute("SELECT seq FROM entries WHERE entry_id = ?", (call.sealed.entry_id,)).fetchone()
    return None if found is None else int(found[0])


def _open_entry(connection: sqlite3.Connection, call: NewCall) -> int | None:
    for digest in map(bytearray, call.sealed.digests):
        found = connection.execute("SELECT seq FROM entries WHERE open_digest = ?", (digest,)).fetchone()
        if found is not None:
            return int(found[0])
    return None


def _insert(connection: sqlite3.Connection, now: float, call: NewCall) -> Added:
    sealed, digest = call.sealed, bytearray(call.sealed.digests[0])
    state = State.REJECTED if call.never_repeat else State.PENDING
    inserted = connection.execute(
        INSERT_ENTRY,
        (
            *(sealed.entry_id, SCHEMA, state.value, sealed.operation, str(sealed.provider_id), digest, digest),
            *(sealed.key_id, bytearray(sealed.ciphertext), call.fingerprint, now, now, now + call.due_in_s),
            *(int(call.is_owed), call.last.reason, code_text(call.last), int(call.never_repeat)),
        ),
    )
    _insert_call(connection, now, call, inserted.lastrowid)
    return Added(sealed.entry_id, is_new=True, state=state)


def _insert_call(connection: sqlite3.Connection, now: float, call: NewCall, seq: int | None) -> None:
    identities = json.dumps(call.call.identities)
    connection.execute(INSERT_CALL, (call.ticket, seq, call.call.call_id, identities, now))


def _attach(connection: sqlite3.Connection, now: float, call: NewCall, seq: int) -> None:
    _insert_call(connection, now, call, seq)
    (count,) = connection.execute("SELECT count(*) FROM calls WHERE entry = ?", (seq,)).fetchone()
    if count > CALLS_MAX:
        connection.execute("DELETE FROM calls WHERE id = (SELECT min(id) FROM calls WHERE entry = ?)", (seq,))
        # The dropped call may be under way: from now on it is unknown when the last call has ended.
        connection.execute("UPDATE entries SET is_owed = 1 WHERE seq = ?", (seq,))


def _update(connection: sqlite3.Connection, now: float, call: NewCall, seq: int) -> None:
    """Do to a PENDING entry what the call means for it (Store.write)."""
    due = now + call.due_in_s
    if call.never_repeat:
        connection.execute(
            "UPDATE entries SET state = 'REJECTED', never_repeat = 1, is_owed = 1, is_leased = 0, reason = ?, code = ? "
            "WHERE seq = ? AND state = 'PENDING'",
            (call.last.reason, code_text(call.last), seq),
        )
    elif call.is_owed:
        connection.execute(
            "UPDATE entries SET due = CASE WHEN is_owed OR is_leased THEN due ELSE ? END, is_owed = 1, reason = ?, "
            "code = ? WHERE seq = ? AND state = 'PENDING'",
            (due, call.last.reason, code_text(call.last), seq),
        )
    else:
        connection.execute(
            "UPDATE entries SET due = max(due, ?) "
            "WHERE seq = ? AND state = 'PENDING' AND NOT is_owed AND NOT is_leased",
            (due, seq),
        )


def _end(connection: sqlite3.Connection, now: float, end: CallEnd) -> None:
    if held.delete(connection, [end]):
        return
    found = connection.execute(
        "SELECT entry, state, is_owed FROM calls LEFT JOIN entries ON seq = entry WHERE ticket = ?", (end.ticket,)
    ).fetchone()
    if found is None:
        connection.execute(INSERT_CALL, (end.ticket, None, "", "[]", now))
        return
    seq, state, is_owed = found
    if seq is None:
        return
    connection.execute("DELETE FROM calls WHERE ticket = ?", (end.ticket,))
    is_needed = is_owed or connection.execute("SELECT 1 FROM calls WHERE entry = ?", (seq,)).fetchone()
    if state == State.PENDING and not is_needed:
        connection.execute("DELETE FROM entries WHERE seq = ?", (seq,))
    elif end.is_success:
        connection.execute(SETTLE, (now, seq))
