"""Layout of the SQLite file, and how a file of an older layout is brought up to date.

`PRAGMA application_id` marks the bridge's files, `PRAGMA user_version` is the layout's number.
"""

import sqlite3
from collections.abc import Sequence

from bridge.settlement.store import Problem

APPLICATION_ID = 0x57425354  # "WBST"

# Numbers of 64 bits without a sign are text: SQLite's integers have a sign. Times are seconds since 1970.
LAYOUTS: Sequence[str] = (
    """
    CREATE TABLE entries (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- newer entries have higher ones, also after the newest was deleted
        entry_id TEXT NOT NULL UNIQUE,
        schema INTEGER NOT NULL,
        state TEXT NOT NULL,
        operation TEXT NOT NULL,
        provider_id TEXT NOT NULL,
        open_digest BLOB UNIQUE,  -- NULL unless the entry is open (store.py)
        key_id TEXT NOT NULL,
        ciphertext BLOB,  -- NULL once SETTLED or CLOSED
        fingerprint TEXT NOT NULL,
        created REAL NOT NULL,
        pending_since REAL NOT NULL,
        due REAL NOT NULL,
        is_leased INTEGER NOT NULL,
        is_owed INTEGER NOT NULL,
        fence INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        reason TEXT NOT NULL,
        code TEXT,
        never_repeat INTEGER NOT NULL,
        ended REAL NOT NULL,
        closed_reason TEXT NOT NULL,
        digest BLOB NOT NULL
    ) STRICT;
    CREATE INDEX entries_by_state ON entries (state);
    CREATE INDEX entries_due ON entries (schema, operation, provider_id, due) WHERE state = 'PENDING';
    CREATE INDEX entries_pending ON entries (pending_since) WHERE state = 'PENDING';
    CREATE INDEX entries_ended ON entries (ended) WHERE ended > 0;
    CREATE TABLE calls (
        id INTEGER PRIMARY KEY,
        ticket TEXT NOT NULL UNIQUE,
        entry INTEGER REFERENCES entries (seq) ON DELETE CASCADE,  -- NULL: ended before it was written
        call_id TEXT NOT NULL,
        identities TEXT NOT NULL,  -- JSON array
        added REAL NOT NULL
    ) STRICT;
    CREATE INDEX calls_of_entry ON calls (entry, id);
    CREATE INDEX calls_by_call_id ON calls (call_id, entry) WHERE entry IS NOT NULL;
    CREATE INDEX calls_ended_early ON calls (added) WHERE entry IS NULL;
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE held (  -- calls under way, each instead of an entry (held.py)
        seq INTEGER PRIMARY KEY,  -- of the entry that it may become
        ticket TEXT NOT NULL UNIQUE,
        digest BLOB NOT NULL UNIQUE,
        entry_id TEXT NOT NULL,
        schema INTEGER NOT NULL,
        operation TEXT NOT NULL,
        provider_id TEXT NOT NULL,
        key_id TEXT NOT NULL,
        ciphertext BLOB NOT NULL,
        fingerprint TEXT NOT NULL,
        call_id TEXT NOT NULL,
        identities TEXT NOT NULL,
        added REAL NOT NULL,
        due REAL NOT NULL
    ) STRICT;
    """,
)
"""The statements that lead from each layout to the next; the first makes layout 1 of an empty file."""

MARKS = """
    SELECT user_version, application_id, EXISTS (SELECT 1 FROM sqlite_schema)
    FROM pragma_user_version, pragma_application_id
"""
"""One statement, and so of one moment: another process may be creating the file."""


class LayoutProblem(Exception):
    """A file that this bridge cannot use as it is."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.value)
        self.problem = problem


def is_up_to_date(connection: sqlite3.Connection) -> bool:
    """Say whether a file has this bridge's layout; raise LayoutProblem for a newer or foreign one."""
    version, application_id, has_tables = connection.execute(MARKS).fetchone()
    if application_id != APPLICATION_ID and (has_tables or version):
        raise LayoutProblem(Problem.DAMAGED)
    if version > len(LAYOUTS):
        raise LayoutProblem(Problem.NEWER_LAYOUT)
    return bool(version == len(LAYOUTS))


def bring_up_to_date(connection: sqlite3.Connection) -> None:
    """Give a new or older file this bridge's layout, in one transaction; raise LayoutProblem."""
    if is_up_to_date(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    # Again, now that no other process can do the same.
    if not is_up_to_date(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for layout in LAYOUTS[version:]:
            for statement in _statements(layout):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {len(LAYOUTS)}")
    connection.execute("COMMIT")


def _statements(layout: str) -> list[str]:
    # sqlite3's executescript would end the transaction.
    return [statement for statement in layout.split(";\n") if statement.strip()]
