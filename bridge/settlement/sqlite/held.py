"""Calls under way in a slim table of their own: one row each, written before the call is sent and deleted at its end.

    insert -> held -> delete            almost every call: two indices
                   -> enter -> entries  when it becomes due, or something else concerns it

An entry and its call have ten indices, and nearly all that is written before it is sent ends for certain a moment
later. So a row of `held` stands for the entry that `enter` makes of it: PENDING, not owed, never taken, with one call.
A statement that reads entries calls `enter` first for those that are concerned, or counts them in.
"""

import json
import sqlite3
from collections.abc import Sequence

from bridge.settlement.entry import NO_FAILURE, SCHEMA, CallEnd, NewCall

TOP = """
    SELECT max(
        coalesce((SELECT max(seq) FROM held), 0),
        coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'entries'), 0)
    ) AS seq
"""
"""The highest position so far, of entries and of calls under way: both are numbered in one order."""

COLUMNS = (
    *("seq", "ticket", "digest", "entry_id", "schema", "operation", "provider_id", "key_id", "ciphertext"),
    *("fingerprint", "call_id", "identities", "added", "due"),
)
INSERT = f"""
    INSERT OR IGNORE INTO held ({", ".join(COLUMNS)})
    SELECT {", ".join(f"?{number}" for number in range(1, len(COLUMNS) + 1))}
    WHERE NOT EXISTS (SELECT 1 FROM calls WHERE calls.ticket = ?2)
        AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.open_digest = ?3)
        AND NOT EXISTS (SELECT 1 FROM entries WHERE entries.entry_id = ?4)
"""  # noqa: S608 - our own columns
DELETE = "DELETE FROM held WHERE ticket = ?"

ENTER = (
    """
    INSERT INTO entries (
        seq, entry_id, schema, state, operation, provider_id, open_digest, digest, key_id, ciphertext, fingerprint,
        created, pending_since, due, is_leased, is_owed, fence, attempts, reason, code, never_repeat, ended,
        closed_reason
    )
    SELECT seq, entry_id, schema, 'PENDING', operation, provider_id, digest, digest, key_id, ciphertext, fingerprint,
        added, added, due, 0, 0, 0, 0, '', NULL, 0, 0, ''
    FROM held WHERE %s
    """,
    """
    INSERT INTO calls (ticket, entry, call_id, identities, added)
    SELECT ticket, seq, call_id, identities, added FROM held WHERE %s
    """,
    "DELETE FROM held WHERE %s",
)

ALL = "TRUE"
"""Which calls under way `enter` makes entries of: these, and those for which `OF_...` is true of its parameter."""
OF_DUE = "due <= ?"
OF_AGE = "added <= ?"
OF_CALL_ID = "call_id = ?"
OF_ENTRIES = "entry_id IN (SELECT value FROM json_each(?))"

NO_IDENTITIES = "[]"


def fits(call: NewCall) -> bool:
    """Say whether a call can be held: under way, without a failure yet, and under a key file of one key."""
    return not (call.is_owed or call.never_repeat or len(call.sealed.digests) > 1 or call.last != NO_FAILURE)


def insert(connection: sqlite3.Connection, now: float, calls: Sequence[NewCall]) -> int:
    """Hold calls that fit; return how many were held. The others are known already, or their request is."""
    (seq,) = connection.execute(TOP).fetchone()
    rows = [_row(number, now, call) for number, call in enumerate(calls, seq + 1)]
    return connection.executemany(INSERT, rows).rowcount


def delete(connection: sqlite3.Connection, ends: Sequence[CallEnd]) -> int:
    """Take calls out that have ended for certain; return how many of them were held."""
    return connection.executemany(DELETE, [(end.ticket,) for end in ends]).rowcount


def enter(connection: sqlite3.Connection, where: str, *values: object) -> None:
    """Make entries of the calls under way for which a condition is true: ALL, OF_DUE, ..."""
    if is_any(connection, where, *values):
        for statement in ENTER:
            connection.execute(statement % where, values)


def enter_same(connection: sqlite3.Connection, call: NewCall) -> None:
    """Make an entry of the call of this ticket, or of the same request, that is under way."""
    digests = map(bytearray, call.sealed.digests)
    enter(connection, f"ticket = ? OR digest IN ({', '.join('?' * len(call.sealed.digests))})", call.ticket, *digests)


def is_any(connection: sqlite3.Connection, where: str, *values: object) -> bool:
    """Say whether there is a call under way for which a condition is true."""
    (found,) = connection.execute(f"SELECT EXISTS (SELECT 1 FROM held WHERE {where})", values).fetchone()  # noqa: S608 - one of ours
    return bool(found)


def _row(seq: int, now: float, call: NewCall) -> tuple[object, ...]:
    sealed, one = call.sealed, call.call
    identities = json.dumps(one.identities) if one.identities else NO_IDENTITIES
    # Bytes are bound as a bytearray: of anything but int, float, str and bytearray sqlite3 looks for an adapter first,
    # which costs as much as the rest of the row.
    return (
        seq,
        call.ticket,
        bytearray(sealed.digests[0]),
        sealed.entry_id,
        SCHEMA,
        sealed.operation,
        str(sealed.provider_id),
        sealed.key_id,
        bytearray(sealed.ciphertext),
        call.fingerprint,
        one.call_id,
        identities,
        now,
        now + call.due_in_s,
    )
