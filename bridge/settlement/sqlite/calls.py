"""Statements that write calls and their ends (Store.write)."""

import json
import sqlite3
from collections.abc import Sequence

from bridge.settlement.entry import CALLS_MAX, SCHEMA, Added, CallEnd, NewCall, State
from bridge.settlement.sqlite.rows import code_text

INSERT_ENTRY = """
    INSERT INTO entries (
        entry_id, schema, state, operation, provider_id, open_digest, digest, key_id, ciphertext, fingerprint, created,
        pending_since, due, is_leased, is_owed, fence, attempts, reason, code, never_repeat, ended, closed_reason
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, 0, 0, ?, ?, ?, 0, '')
"""
INSERT_CALL = "INSERT INTO calls (ticket, entry, call_id, identities, added) VALUES (?, ?, ?, ?, ?)"

SETTLE = """
    UPDATE entries SET state = 'SETTLED', open_digest = NULL, ciphertext = NULL, is_leased = 0, ended = ?
    WHERE seq = ? AND state <> 'SETTLED'
"""


def write(connection: sqlite3.Connection, now: float, writes: Sequence[NewCall | CallEnd]) -> list[Added | None]:
    """Carry out writes in their order."""
    added: list[Added | None] = []
    for one in writes:
        if isinstance(one, NewCall):
            added.append(_add(connection, now, one))
        else:
            _end(connection, now, one)
            added.append(None)
    return added


def _add(connection: sqlite3.Connection, now: float, call: NewCall) -> Added:
    known = connection.execute("SELECT entry FROM calls WHERE ticket = ?", (call.ticket,)).fetchone()
    if known is not None and known[0] is None:
        return Added("", is_new=False, state=State.CLOSED)
    seq = known[0] if known is not None else _open_entry(connection, call)
    if seq is None:
        return _insert(connection, now, call)
    if known is None:
        _attach(connection, now, call, seq)
    _update(connection, now, call, seq)
    entry_id, state = connection.execute("SELECT entry_id, state FROM entries WHERE seq = ?", (seq,)).fetchone()
    return Added(entry_id, is_new=False, state=State(state))


def _open_entry(connection: sqlite3.Connection, call: NewCall) -> int | None:
    for digest in call.sealed.digests:
        found = connection.execute("SELECT seq FROM entries WHERE open_digest = ?", (digest,)).fetchone()
        if found is not None:
            return int(found[0])
    return None


def _insert(connection: sqlite3.Connection, now: float, call: NewCall) -> Added:
    sealed, digest = call.sealed, call.sealed.digests[0]
    state = State.REJECTED if call.never_repeat else State.PENDING
    inserted = connection.execute(
        INSERT_ENTRY,
        (
            *(sealed.entry_id, SCHEMA, state, sealed.operation, str(sealed.provider_id), digest, digest),
            *(sealed.key_id, sealed.ciphertext, call.fingerprint, now, now, now + call.due_in_s, call.is_owed),
            *(call.last.reason, code_text(call.last), call.never_repeat),
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
        # The dropped call may be under way: from now on nobody knows when the last call has ended.
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
