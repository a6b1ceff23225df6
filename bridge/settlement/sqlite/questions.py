"""Statements that answer questions, and the key-check value."""

import json
import sqlite3
from collections.abc import Collection

from bridge.settlement.cursor import cursor_of
from bridge.settlement.entry import Counts, Entry, KeyUse, Page, State
from bridge.settlement.sqlite.rows import COLUMNS, entries, ids

GET = f"SELECT {COLUMNS} FROM entries WHERE entry_id = ?"  # noqa: S608 - our own columns, here and below
GET_SEQ = f"SELECT {COLUMNS} FROM entries WHERE seq = ?"  # noqa: S608
PAGE = f"SELECT {COLUMNS} FROM entries WHERE seq < ? ORDER BY seq DESC LIMIT ?"  # noqa: S608
PAGE_OF_STATE = f"SELECT {COLUMNS} FROM entries WHERE state = ? AND seq < ? ORDER BY seq DESC LIMIT ?"  # noqa: S608

OF_CALL = "SELECT max(entry), count(DISTINCT entry) FROM calls WHERE call_id = ? AND entry IS NOT NULL"
OF_ANONYMOUS_CALL = f"{OF_CALL} AND identities = '[]'"
OF_CALL_BY = f"""
    {OF_CALL} AND EXISTS (
        SELECT 1 FROM json_each(identities) AS own WHERE own.value IN (SELECT value FROM json_each(?))
    )
"""  # noqa: S608

COUNTS = "SELECT state, count(*) FROM entries GROUP BY state"
COUNT_HELD = "SELECT count(*), min(added) FROM held"
# Not min(), and by a named index: else SQLite goes through every PENDING entry.
OLDEST = """
    SELECT pending_since FROM entries INDEXED BY entries_pending
    WHERE state = 'PENDING' AND pending_since > 0 ORDER BY pending_since LIMIT 1
"""

KEY_CHECK = "key_check"
GET_FACT = "SELECT value FROM facts WHERE name = ?"
SET_FACT = "INSERT INTO facts VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"
KEYS_IN_USE = """
    SELECT key_id FROM entries WHERE ciphertext IS NOT NULL UNION SELECT key_id FROM held
"""


def get(connection: sqlite3.Connection, now: float, entry_id: str) -> Entry | None:
    """Return an entry by its id."""
    return next(iter(entries(connection, connection.execute(GET, (entry_id,)), now)), None)


def of_call(
    connection: sqlite3.Connection, now: float, call_id: str, identities: Collection[str] | None
) -> tuple[Entry | None, int]:
    """Return the newest entry that such a call refers to, and how many there are."""
    if identities is None:
        found = connection.execute(OF_CALL, (call_id,))
    elif identities:
        found = connection.execute(OF_CALL_BY, (call_id, json.dumps(list(identities))))
    else:
        found = connection.execute(OF_ANONYMOUS_CALL, (call_id,))
    newest, count = found.fetchone()
    return next(iter(entries(connection, connection.execute(GET_SEQ, (newest,)), now)), None), count


def page(connection: sqlite3.Connection, now: float, size: int, below: int, state: State | None) -> Page:
    """Return up to `size` entries, newest first."""
    # One more than is shown: whether there is a next page.
    if state is None:
        rows = connection.execute(PAGE, (below, size + 1)).fetchall()
    else:
        rows = connection.execute(PAGE_OF_STATE, (state.value, below, size + 1)).fetchall()
    shown = rows[:size]
    return Page(tuple(entries(connection, shown, now)), cursor_of(shown[-1][0]) if len(rows) > size else "")


def counts(connection: sqlite3.Connection, now: float) -> Counts:
    """Return how many entries there are of each state, and the oldest PENDING one's age."""
    found: dict[str, int] = dict(connection.execute(COUNTS).fetchall())
    held, held_since = connection.execute(COUNT_HELD).fetchone()
    (since,) = connection.execute(OLDEST).fetchone() or (None,)
    by_state = {state: found.get(state, 0) for state in State}
    by_state[State.PENDING] += held
    oldest = min((one for one in (since, held_since) if one is not None), default=now)
    return Counts(by_state, max(0.0, now - oldest))


def key_use(connection: sqlite3.Connection, _: float = 0.0) -> KeyUse:
    """Return the key-check value and the keys of the entries that hold a request."""
    check = connection.execute(GET_FACT, (KEY_CHECK,)).fetchone()
    return KeyUse("" if check is None else check[0], frozenset(ids(connection.execute(KEYS_IN_USE).fetchall())))


def set_key_check(connection: sqlite3.Connection, _: float, key_id: str) -> None:
    """Write the key-check value."""
    connection.execute(SET_FACT, (KEY_CHECK, key_id))
