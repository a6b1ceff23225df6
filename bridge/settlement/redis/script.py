"""The script that each method of the store runs on the server, and its arguments."""

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

from bridge.settlement.entry import SCHEMA, Call, CallEnd, Entry, Last, NewCall, State

TEXT = files(__package__).joinpath("store.lua").read_text(encoding="utf-8")

NO_IDENTITY = ""
"""Stands in the script for the identity of a caller without any: an empty list is no list in Lua."""

BOOLEANS = ("is_leased", "never_repeat")
NUMBERS: Mapping[str, type[int] | type[float]] = {
    **dict.fromkeys(("provider_id", "fence", "attempts", "schema"), int),
    **dict.fromkeys(("created", "pending_since", "due", "ended"), float),
}
# Of the store alone: an Entry does not have them.
OWN = ("digest", "is_owed", "position")


def encoded(arguments: Mapping[str, Any]) -> str:
    """Return a method's arguments as the script reads them."""
    return json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))


def identities(given: Sequence[str]) -> list[str]:
    """Return identities as they are stored: never an empty list."""
    return list(given) or [NO_IDENTITY]


def failure(last: Last) -> dict[str, str]:
    """Return a failure's reason and code; the code as text, since Lua's numbers are exact to 2^53 only."""
    return {"reason": last.reason, "code": "" if last.code is None else str(last.code)}


def write_arguments(writes: Sequence[NewCall | CallEnd]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return the writes, and beside them the ciphertexts, which JSON cannot hold."""
    arguments: list[dict[str, Any]] = []
    ciphertexts: list[bytes] = []
    for one in writes:
        if isinstance(one, NewCall):
            ciphertexts.append(one.sealed.ciphertext)
            arguments.append(_call_arguments(one) | {"ciphertext": len(ciphertexts)})
        else:
            arguments.append({"ticket": one.ticket, "is_success": one.is_success})
    return arguments, ciphertexts


def _call_arguments(call: NewCall) -> dict[str, Any]:
    sealed = call.sealed
    return {
        "ticket": call.ticket,
        "call_id": call.call.call_id,
        "identities": identities(call.call.identities),
        "entry_id": sealed.entry_id,
        "operation": sealed.operation,
        "provider_id": str(sealed.provider_id),
        "key_id": sealed.key_id,
        "digests": [digest.hex() for digest in sealed.digests],
        "schema": SCHEMA,
        "fingerprint": call.fingerprint,
        "due_in_s": call.due_in_s,
        "is_owed": call.is_owed,
        "never_repeat": call.never_repeat,
        **failure(call.last),
    }


def entries(reply: Sequence[Any]) -> list[Entry]:
    """Return the entries of a reply: the server's time, then for each its fields as JSON, and its ciphertext."""
    now = float(reply[0])
    return [_entry(json.loads(fields), ciphertext, now) for fields, ciphertext in _pairs(reply)]


def positions(reply: Sequence[Any]) -> list[int]:
    """Return the positions of a reply's entries."""
    return [int(json.loads(fields)["position"]) for fields, _ in _pairs(reply)]


def _pairs(reply: Sequence[Any]) -> Iterator[tuple[bytes, bytes]]:
    return zip(reply[1::2], reply[2::2], strict=True)


def _entry(fields: dict[str, Any], ciphertext: bytes, now: float) -> Entry:
    for name in OWN:
        del fields[name]
    for name in BOOLEANS:
        fields[name] = fields[name] == "1"
    for name, kind in NUMBERS.items():
        fields[name] = kind(fields[name])
    fields["state"] = State(fields["state"])
    code = fields.pop("code")
    last = Last(fields.pop("reason"), int(code) if code else None)
    calls = tuple(_call(*one) for one in json.loads(fields.pop("calls") or "[]"))
    return Entry(**fields, ciphertext=ciphertext, last=last, calls=calls, read_at=now)


def _call(_: str, call_id: str, stored: Sequence[str]) -> Call:
    return Call(call_id, tuple(identity for identity in stored if identity != NO_IDENTITY))
