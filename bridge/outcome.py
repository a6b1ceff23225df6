"""Types of a call's outcome: gRPC codes, certainty about the wallet, the wallet's answer, violations, and failure.

The failures themselves, reason by reason, are in errors.py.
"""

import enum
from dataclasses import dataclass
from typing import Any

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


class BridgeError(Exception):
    """A call that failed, with everything its caller may learn. Raise a leaf, never this class or a branch."""

    outcome: Outcome
    reason: str
    grpc_code: GrpcCode
    summary: str
    """The failure and the next step, one or two sentences, fixed text: nothing from a caller or a wallet."""

    def __init__(
        self,
        *,
        wallet: WalletFacts = NO_ANSWER,
        cause: str = "",
        detail: str = "",
        retry_after_s: float | None = None,
        violations: tuple[Violation, ...] = (),
    ) -> None:
        super().__init__(self.summary)
        self.wallet = wallet
        self.cause = cause
        """Word or short phrase that narrows the reason down; never foreign text; "" where there is none."""
        self.detail = detail
        """Fixed words that narrow the cause down, for the log alone; "" where there are none."""
        self.retry_after_s = retry_after_s
        self.violations = violations
        self.attempts = 0
        """Number of POSTs that were begun; set by `upstream/client.py`."""
        self.is_pending = False
        """The bridge goes on with the request by itself until the wallet has given a certain answer (settling.py)."""

    def facts(self, fault: str) -> dict[str, Any]:
        """Return what the call's report says of it, by the fields of CallEnded (events.py); `fault` is one of them."""
        return {
            "reason": self.reason,
            "outcome": self.outcome.name,
            "cause": self.cause,
            "detail": self.detail,
            "attempts": self.attempts,
            "http_status": self.wallet.http_status,
            "wallet_code": self.wallet.code,
            "request_id": self.wallet.request_id,
            "is_pending": self.is_pending,
            "fault": fault,
        }

    def __str__(self) -> str:
        return f"{self.reason}: {self.cause}" if self.cause else self.reason


class NotSent(BridgeError):
    """No byte of the request left the bridge."""

    outcome = Outcome.NOT_SENT


class NotProcessed(BridgeError):
    """HTTP/2 proves that the wallet did not process the request (RFC 9113, sections 6.8 and 8.7)."""

    outcome = Outcome.NOT_PROCESSED


class Rejected(BridgeError):
    """The wallet answered no."""

    outcome = Outcome.REJECTED


class Unknown(BridgeError):
    """The wallet may or may not have processed the request."""

    outcome = Outcome.UNKNOWN


class ByCode(BridgeError):
    """A mixin: an operator may give the wallet's code a gRPC code and a reason of its own; the outcome stays."""

    def __init__(
        self,
        *,
        wallet: WalletFacts = NO_ANSWER,
        grpc_code: GrpcCode | None = None,
        reason: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(wallet=wallet, retry_after_s=retry_after_s)
        self.grpc_code = self.grpc_code if grpc_code is None else grpc_code
        self.reason = reason or self.reason
