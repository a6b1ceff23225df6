"""The script that each method of the store runs on the server, and its arguments."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any

import msgspec

from bridge.settlement.entry import SCHEMA, Added, Call, CallEnd, Entry, Last, NewCall, State

LOGGER = logging.getLogger(__name__)

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


NEW_AND_PENDING = 1
"""Result of most calls, in place of the entry's id and state."""


class CallArguments(msgspec.Struct, frozen=True, gc=False):
    """A call as the script reads it: a dict for each would cost as much again as its text."""

    ticket: str
    call_id: str
    identities: list[str]
    entry_id: str
    operation: str
    provider_id: str
    key_id: str
    digests: list[str]
    schema: int
    fingerprint: str
    due_in_s: float
    is_owed: bool
    never_repeat: bool
    reason: str
    code: str
    first: int
    """Position of the ciphertext's first byte among all of the batch, counted from 1 as in Lua."""
    last: int


def encoded(arguments: Mapping[str, Any]) -> bytes:
    """Return a method's arguments as the script reads them."""
    return msgspec.json.encode(arguments)


def identities(given: Sequence[str]) -> list[str]:
    """Return identities as they are stored: never an empty list."""
    return list(given) or [NO_IDENTITY]


def failure(last: Last) -> dict[str, str]:
    """Return a failure's reason and code."""
    return {"reason": last.reason, "code": _code(last)}


def write_arguments(writes: Sequence[NewCall | CallEnd]) -> tuple[list[CallArguments | CallEnd], bytes]:
    """Return the writes, and beside them the ciphertexts, which JSON cannot hold."""
    arguments: list[CallArguments | CallEnd] = []
    ciphertexts: list[bytes] = []
    length = 0
    for one in writes:
        if isinstance(one, CallEnd):
            arguments.append(one)
        else:
            first, length = length + 1, length + len(one.sealed.ciphertext)
            ciphertexts.append(one.sealed.ciphertext)
            arguments.append(_call_arguments(one, first, length))
    return arguments, b"".join(ciphertexts)


def _call_arguments(call: NewCall, first: int, last: int) -> CallArguments:
    sealed = call.sealed
    return CallArguments(
        call.ticket,
        call.call.call_id,
        identities(call.call.identities),
        sealed.entry_id,
        sealed.operation,
        str(sealed.provider_id),
        sealed.key_id,
        [digest.hex() for digest in sealed.digests],
        SCHEMA,
        call.fingerprint,
        call.due_in_s,
        call.is_owed,
        call.never_repeat,
        call.last.reason,
        _code(call.last),
        first,
        last,
    )


def _code(last: Last) -> str:
    # As text, since Lua's numbers are exact to 2^53 only.
    return "" if last.code is None else str(last.code)


def results(writes: Sequence[NewCall | CallEnd], reply: bytes) -> list[Added | None]:
    """Return what the script made of writes."""
    return [
        None if isinstance(one, CallEnd) else _added(one, result)
        for one, result in zip(writes, msgspec.json.decode(reply), strict=True)
    ]


def _added(call: NewCall, result: Any) -> Added:
    if result == NEW_AND_PENDING:
        return Added(call.sealed.entry_id, True, State.PENDING)  # noqa: FBT003 - by position at half the cost
    entry_id, state, is_new = result
    return Added(entry_id, is_new=bool(is_new), state=State(state))


def entries(reply: Sequence[Any]) -> list[Entry]:
    """Return the entries of a reply: the server's time, then for each its fields as JSON, and its ciphertext."""
    now, found = float(reply[0]), []
    for text, ciphertext in _pairs(reply):
        fields = msgspec.json.decode(text)
        if len(fields) == 1:
            number = int(fields["position"])
            LOGGER.error("settlement entry number %d is gone from the store; its request is lost", number)
        else:
            found.append(_entry(fields, ciphertext, now))
    return found


def positions(reply: Sequence[Any]) -> list[int]:
    """Return the positions of a reply's entries."""
    return [int(msgspec.json.decode(fields)["position"]) for fields, _ in _pairs(reply)]


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
    calls = tuple(_call(*one) for one in msgspec.json.decode(fields.pop("calls") or "[]"))
    return Entry(**fields, ciphertext=ciphertext, last=last, calls=calls, read_at=now)


def _call(_: str, call_id: str, stored: Sequence[str]) -> Call:
    return Call(call_id, tuple(identity for identity in stored if identity != NO_IDENTITY))
