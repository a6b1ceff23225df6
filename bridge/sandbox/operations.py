"""Operations of the sandbox: REST path -> operation. A new operation is one new row here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.sandbox.answers import Members, json_text
from bridge.sandbox.providers import UINT64_MAX


@dataclass(frozen=True, slots=True)
class FieldRule:
    """Type and rule of a member of a request's body."""

    requirement: str
    """In words, for the one who reads the failure's message."""
    accepts: Callable[[Any], bool]
    """Gets the value as the stdlib's json reads it; integers are exact."""


TEXT = FieldRule("a string", lambda value: isinstance(value, str))
# bool is an int in Python: only the exact type is a bare JSON integer.
UINT64 = FieldRule(
    f"an integer from 0 to {UINT64_MAX} without quotes", lambda value: type(value) is int and 0 <= value <= UINT64_MAX
)


@dataclass(frozen=True, slots=True)
class Operation:
    """One POST of the wallet. Every operation has a `provider_id`; one without a `token` has no test tokens."""

    fields: Mapping[str, FieldRule]
    """All that the body may hold."""
    success: Callable[[Mapping[str, Any]], Members]
    """From the body's fields to what a success carries after the four members of every answer."""
    optional_fields: frozenset[str] = frozenset()
    """Those of `fields` that may be left out."""


def _terminated(fields: Mapping[str, Any]) -> Members:
    return {
        "token": json_text(fields["token"]),
        "player_id": json_text(fields["player_id"]),
        "game_id": json_text(fields["game_id"]),
        # The page declares an integer and shows a string; the sandbox does as the page shows.
        "site_id": json_text(str(fields["site_id"])),
        "provider_id": json_text(fields["provider_id"]),
        "balance": "22085.75",
    }


TERMINATE = Operation(
    fields={
        "token": TEXT,
        "player_id": UINT64,
        "site_id": UINT64,
        "provider_id": UINT64,
        "game_id": TEXT,
        "currency": TEXT,
    },
    success=_terminated,
)

TERMINATE_REQUEST: dict[str, Any] = {
    "token": "3dc8fe01-2018-486e-9632-35aef21028a5",
    "player_id": 1,
    "site_id": 1,
    "provider_id": 1,
    "game_id": "example",
    "currency": "EUR",
}
"""The example of the wallet's page for Terminate."""

OPERATIONS: Mapping[str, Operation] = {"/api/wallet/terminate": TERMINATE}
"""Operations that `serve` offers unless it is given another table."""
