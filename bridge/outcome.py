"""Types of a call's outcome: gRPC codes, certainty about the wallet, the wallet's answer, violations."""

import enum
from dataclasses import dataclass

import msgspec


class Value(msgspec.Struct, frozen=True, gc=False):
    """An immutable value, compared and hashed by its fields, at a third of a frozen dataclass's cost.

    The garbage collector does not look at it: it must hold nothing that could lead back to it.
    """


class GrpcCode(enum.IntEnum):
    """The canonical status codes of gRPC (grpc/grpc, doc/statuscodes.md), known without any gRPC library."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


CODE_SUCCESS, CODE_UNKNOWN_ERROR = 1, 2
"""Codes of the wallet with a fixed meaning (docs/design/wallet.md, "Codes")."""


class Outcome(enum.IntEnum):
    """Certainty about the wallet's state; the numbers are those of wallet.v1.Outcome."""

    NOT_SENT = 1
    NOT_PROCESSED = 2
    REJECTED = 3
    UNKNOWN = 4


class WalletFacts(Value, frozen=True):
    """Envelope of the wallet's answer: as received, to be cleaned and cut before it is shown to anybody."""

    http_status: int = 0
    """100 to 599; 0 when there was no answer."""
    code: int | None = None
    """The wallet's result code, 0 to 2^64-1; None when it gave none."""
    message: str = ""
    request_id: str = ""


NO_ANSWER = WalletFacts()


@dataclass(frozen=True, slots=True)
class Violation:
    """One field of a request that cannot be sent: its path ("player.tags[0]") and what is wrong with it."""

    field: str
    description: str
