"""Statements that take entries and change their state."""

import json
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from bridge.settlement.entry import SCHEMA, Change, Entry, Last, State
from bridge.settlement.sqlite import held
from bridge.settlement.sqlite.rows import COLUMNS, code_text, entries, ids

# A loose index scan (https://www.sqlite.org/lang_with.html): one step of the index for each provider, however many
# entries it has.
PROVIDERS = """
    WITH RECURSIVE provider (id) AS (
        SELECT min(provider_id) FROM entries WHERE state = 'PENDING' AND schema = :schema AND operation = :operation
        UNION ALL
        SELECT (
            SELECT min(provider_id) FROM entries
            WHERE state = 'PENDING' AND schema = :schema AND operation = :operation AND provider_id > provider.id
        ) FROM provider WHERE provider.id IS NOT NULL
    )
    SELECT id FROM provider WHERE id IS NOT NULL
"""
DUE = """
    SELECT due, seq FROM entries
    WHERE state = 'PENDING' AND schema = ? AND operation = ? AND provider_id = ? AND due <= ? ORDER BY due LIMIT ?
"""
TAKE = f"""
    UPDATE entries SET is_leased = 1, due = ?, fence = fence + 1, attempts = attempts + 1
    WHERE seq = ? RETURNING {COLUMNS}
"""  # noqa: S608 - our own columns

OWNED = "WHERE entry_id = ? AND fence = ? AND state = 'PENDING'"
RENEW = f"UPDATE entries SET due = ?, is_leased = 1 {OWNED}"  # noqa: S608 - our own words, here and below
RELEASE = f"UPDATE entries SET due = ?, is_leased = 0, attempts = attempts - is_leased {OWNED}"  # noqa: S608
POSTPONE = f"UPDATE entries SET due = ?, is_leased = 0, reason = ?, code = ? {OWNED}"  # noqa: S608
END_UNSETTLED = (
    "UPDATE entries SET state = ?, is_leased = 0, is_owed = 1, reason = ?, code = ?, never_repeat = ?, "  # noqa: S608
    f"open_digest = CASE WHEN ? THEN open_digest END {OWNED}"
)
EXPIRE = """
    UPDATE entries SET state = 'UNRESOLVED', is_leased = 0, is_owed = 1, open_digest = NULL WHERE seq IN (
        SELECT seq FROM entries INDEXED BY entries_pending
        WHERE state = 'PENDING' AND pending_since <= ? AND schema <= ? AND (NOT is_leased OR due <= ?)
            AND operation IN (SELECT value FROM json_each(?))
        ORDER BY pending_since LIMIT ?
    ) RETURNING entry_id
"""
FINISH = """
    UPDATE entries SET state = ?, open_digest = NULL, ciphertext = NULL, is_leased = 0, ended = ?, closed_reason = ?
    WHERE entry_id = ?
"""
SETTLE = """
    UPDATE entries SET state = 'SETTLED', open_digest = NULL, ciphertext = NULL, is_leased = 0, ended = ?
    WHERE state <> 'SETTLED' AND entry_id IN (SELECT value FROM json_each(?)) RETURNING entry_id
"""
RECLASSIFY = """
    UPDATE entries SET state = 'SETTLED', open_digest = NULL, ciphertext = NULL, ended = ?
    WHERE state = 'REJECTED' AND NOT never_repeat AND code IN (SELECT value FROM json_each(?)) RETURNING entry_id
"""
PURGE = """
    DELETE FROM entries
    WHERE seq IN (SELECT seq FROM entries WHERE ended > 0 AND ended <= ? ORDER BY ended LIMIT ?)
"""
PURGE_CALLS = "DELETE FROM calls WHERE entry IS NULL AND added <= ?"
ENDED_EARLY_KEPT_S = 600.0

SELECT = "SELECT seq, state, never_repeat, is_leased, digest FROM entries WHERE entry_id = ?"
RETRY = """
    UPDATE entries SET state = 'PENDING', open_digest = digest, due = ?, is_owed = 1, pending_since = ? WHERE seq = ?
"""


def take(  # noqa: PLR0913 - as the interface has it
    connection: sqlite3.Connection,
    now: float,
    *,
    limit: int,
    lease_s: float,
    operations: Collection[str],
    at_most: Mapping[int, int],
) -> list[Entry]:
    """Lease the entries that have been due longest."""
    held.enter(connection, held.OF_DUE, now)
    found: list[tuple[float, int, int]] = []
    for schema in range(1, SCHEMA + 1):
        for operation in operations:
            lane = {"schema": schema, "operation": operation}
            for provider_id in map(int, ids(connection.execute(PROVIDERS, lane).fetchall())):
                share = min(limit, at_most.get(provider_id, limit))
                rows = connection.execute(DUE, (schema, operation, str(provider_id), now, share))
                found += ((due, seq, provider_id) for due, seq in rows)
    left = dict(at_most)
    taken: list[tuple[Any, ...]] = []
    for _, seq, provider_id in sorted(found):
        if len(taken) < limit and left.get(provider_id, 1) > 0:
            if provider_id in left:
                left[provider_id] -= 1
            taken += connection.execute(TAKE, (now + lease_s, seq)).fetchall()
    return entries(connection, taken, now)


def owned(connection: sqlite3.Connection, entry_id: str, statement: str, values: Sequence[object]) -> bool:
    """Change an entry by RENEW, RELEASE or POSTPONE; return whether it was owned."""
    enter(connection, [entry_id])
    return connection.execute(statement, values).rowcount == 1


def enter(connection: sqlite3.Connection, entry_ids: Sequence[str]) -> None:
    """Make entries of the calls under way that have these ids."""
    held.enter(connection, held.OF_ENTRIES, json.dumps(list(entry_ids)))


def end_unsettled(  # noqa: PLR0913 - what such an end consists of
    connection: sqlite3.Connection, entry_id: str, fence: int, state: State, last: Last, *, never_repeat: bool
) -> bool:
    """Make an owned entry REJECTED or UNRESOLVED."""
    enter(connection, [entry_id])
    is_open = int(never_repeat)
    values = (state.value, last.reason, code_text(last), is_open, is_open, entry_id, fence)
    return connection.execute(END_UNSETTLED, values).rowcount == 1


def expire(
    connection: sqlite3.Connection, now: float, older_than_s: float, operations: Collection[str], limit: int
) -> list[str]:
    """Make entries UNRESOLVED that are PENDING for too long."""
    held.enter(connection, held.OF_AGE, now - older_than_s)
    names = json.dumps(list(operations))
    return ids(connection.execute(EXPIRE, (now - older_than_s, SCHEMA, now, names, limit)).fetchall())


def settle(connection: sqlite3.Connection, now: float, entry_ids: Sequence[str]) -> list[str]:
    """Make entries SETTLED."""
    enter(connection, entry_ids)
    return ids(connection.execute(SETTLE, (now, json.dumps(list(entry_ids)))).fetchall())


def reclassify(connection: sqlite3.Connection, now: float, codes: Collection[int]) -> list[str]:
    """Make REJECTED entries with one of these codes SETTLED."""
    return ids(connection.execute(RECLASSIFY, (now, json.dumps([str(code) for code in codes]))).fetchall())


def purge(connection: sqlite3.Connection, now: float, keep_s: float, limit: int) -> int:
    """Delete entries that have been kept for long enough."""
    connection.execute(PURGE_CALLS, (now - ENDED_EARLY_KEPT_S,))
    return connection.execute(PURGE, (now - keep_s, limit)).rowcount


def retry(connection: sqlite3.Connection, now: float, entry_id: str) -> Change:
    """Make an entry PENDING and due."""
    # All: one of the same request, which is open then, is found by no other way.
    held.enter(connection, held.ALL)
    found = connection.execute(SELECT, (entry_id,)).fetchone()
    if found is None:
        return Change.NOT_FOUND
    seq, state, never_repeat, is_leased, digest = found
    if state in {State.SETTLED, State.CLOSED}:
        return Change.FINISHED
    if never_repeat:
        return Change.NEVER_REPEAT
    other = connection.execute("SELECT seq FROM entries WHERE open_digest = ?", (digest,)).fetchone()
    if other not in {None, (seq,)}:
        return Change.OTHER_IS_OPEN
    due = "due" if is_leased else "?"
    connection.execute(RETRY.replace("due = ?", f"due = {due}"), (*(() if is_leased else (now,)), now, seq))
    return Change.DONE


def close_entry(connection: sqlite3.Connection, now: float, entry_id: str, reason: str) -> Change:
    """Make an entry CLOSED."""
    enter(connection, [entry_id])
    found = connection.execute(SELECT, (entry_id,)).fetchone()
    if found is None:
        return Change.NOT_FOUND
    if found[1] in {State.SETTLED, State.CLOSED}:
        return Change.FINISHED
    connection.execute(FINISH, (State.CLOSED.value, now, reason, entry_id))
    return Change.DONE
