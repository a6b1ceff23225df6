"""Rows of the SQLite file as values."""

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from bridge.settlement.entry import Call, Entry, Last, State

NAMES = (
    *("entry_id", "state", "operation", "provider_id", "fingerprint", "ciphertext", "key_id", "created"),
    *("pending_since", "due", "is_leased", "fence", "attempts", "reason", "code", "never_repeat", "ended"),
    *("closed_reason", "schema"),
)
COLUMNS = ", ".join(("seq", *NAMES))
"""Values for `entries`: the position, and the columns of an entry."""


def entries(connection: sqlite3.Connection, rows: Iterable[tuple[Any, ...]], now: float) -> list[Entry]:
    """Return the entries of rows of COLUMNS, in their order, with their calls."""
    found = list(rows)
    calls: dict[int, list[Call]] = {row[0]: [] for row in found}
    marks = ", ".join("?" * len(found))
    query = f"SELECT entry, call_id, identities FROM calls WHERE entry IN ({marks}) ORDER BY entry, id"  # noqa: S608 - marks
    for seq, call_id, identities in connection.execute(query, tuple(calls)):
        calls[seq].append(Call(call_id, tuple(json.loads(identities))))
    return [_entry(row, tuple(calls[row[0]]), now) for row in found]


def ids(rows: Iterable[tuple[str]]) -> list[str]:
    """Return the only column of rows."""
    return [entry_id for (entry_id,) in rows]


def code_text(last: Last) -> str | None:
    """Return a code as it is stored."""
    return None if last.code is None else str(last.code)


def _entry(row: tuple[Any, ...], calls: tuple[Call, ...], now: float) -> Entry:
    fields = dict(zip(NAMES, row[1:], strict=True))
    code = fields.pop("code")
    last = Last(fields.pop("reason"), None if code is None else int(code))
    fields["state"] = State(fields["state"])
    fields["provider_id"] = int(fields["provider_id"])
    fields["ciphertext"] = fields["ciphertext"] or b""
    for name in ("is_leased", "never_repeat"):
        fields[name] = bool(fields[name])
    return Entry(**fields, last=last, calls=calls, read_at=now)
