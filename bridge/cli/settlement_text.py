"""Entries of settlement as text and as JSON. Neither shows the request, not even encrypted."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bridge.settlement.entry import Entry, State

HEAD = ("ENTRY", "STATE", "CREATED", "ATTEMPTS", "REASON", "CODE", "PROVIDER", "CALL")
WIDTHS = (36, 10, 20, 8, 24, 8, 10, 0)


def facts_of(entry: Entry) -> dict[str, Any]:
    """Return what may be shown of an entry, under the names that the documentation uses."""
    return {
        "entry_id": entry.entry_id,
        "state": entry.state.value,
        "operation": entry.operation,
        "provider_id": entry.provider_id,
        "fingerprint": entry.fingerprint,
        "created": _time(entry.created),
        "pending_since": _time(entry.pending_since),
        "due": _time(entry.due) if entry.state is State.PENDING else None,
        "is_leased": entry.is_leased,
        "attempts": entry.attempts,
        "reason": entry.last.reason,
        "code": entry.last.code,
        "never_repeat": entry.never_repeat,
        "ended": _time(entry.ended) if entry.ended else None,
        "closed_reason": entry.closed_reason,
        "key_id": entry.key_id,
        "calls": [{"call_id": call.call_id, "identities": list(call.identities)} for call in entry.calls],
    }


def json_line(entry: Entry) -> str:
    """Return an entry as one line of JSON, ASCII alone: nothing in it steers a terminal."""
    return json.dumps(facts_of(entry), separators=(",", ":"))


def head_line() -> str:
    """Return the line above a list's entries."""
    return _columns(HEAD)


def list_line(entry: Entry) -> str:
    """Return an entry as one line of a list."""
    call = entry.calls[-1].call_id if entry.calls else "-"
    others = f" +{len(entry.calls) - 1}" if len(entry.calls) > 1 else ""
    code = "-" if entry.last.code is None else str(entry.last.code)
    first = (entry.entry_id, entry.state.value, _time(entry.created), str(entry.attempts))
    return _columns((*first, entry.last.reason or "-", code, str(entry.provider_id), f"{call}{others}"))


def text_of(entry: Entry) -> str:
    """Return everything that is known of an entry, a line each."""
    facts = facts_of(entry)
    calls = facts.pop("calls")
    lines = [f"{name + ':':15}{_shown(value)}" for name, value in facts.items() if value not in ("", None, False)]
    lines += [f"{'call:':15}{call['call_id']} {' '.join(call['identities'])}".rstrip() for call in calls]
    return "\n".join(lines)


def _columns(cells: Sequence[str]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def _shown(value: object) -> str:
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
