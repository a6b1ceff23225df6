"""Hooks of settlement in the call path, and the null object of a bridge without settlement.

With settlement on, `bridge/settlement/intake.py` stands behind them (docs/design/settlement.md). The service knows this
module alone, so that nothing of settlement is imported where it is off.
"""

from typing import Protocol

import msgspec

from bridge.identity import AuthContext
from bridge.outcome import BridgeError, Outcome
from bridge.tracer import Metadata
from bridge.transcoding.operation import Operation


class Peer(Protocol):
    """A host's knowledge of the caller. Asked only where it matters; grpc.aio's context is one."""

    def auth_context(self) -> AuthContext:
        """Return what the connection proves about the caller."""


class Sending(msgspec.Struct):
    """One call that is about to be sent. Its repr holds neither the request nor the token."""

    operation: Operation
    provider_id: int
    call_id: str
    request: bytes
    """The serialized request message."""
    body: bytes
    """The JSON that is sent."""
    fingerprint: str
    """The token as the log shows it; "" for none."""
    metadata: Metadata
    """What came beside the request."""
    peer: Peer | None

    def __repr__(self) -> str:
        return f"Sending({self.operation.method})"


class Ticket(Protocol):
    """Settlement's view of one call. No method raises anything but CancelledError, and none waits longer than 50 ms."""

    async def before_send(self, remaining_s: float) -> None:
        """Write the call down before its first byte is sent (`Settling.writes_before`)."""

    async def failed(self, error: BridgeError) -> bool:
        """Take over a call that failed, if it is one to settle; return whether it may be reported as PENDING.

        A cancel while this waits stops the wait alone: the call stays taken over.
        """

    def cut_off(self, outcome: Outcome) -> None:
        """Take over a call whose task was cancelled, if its outcome is UNKNOWN."""

    def succeeded(self) -> None:
        """Take note that the wallet has confirmed the call: earlier calls of the same request are settled with it."""


class Settling(Protocol):
    """Handling of calls that end without certainty."""

    is_on: bool
    """False: no call has a ticket."""
    writes_before: bool
    """`settlement.durability` is "before": calls are written down before they are sent."""
    reserve_s: float
    """Time by which the calls of a settled operation give up earlier, so that the write fits in their deadline."""

    @property
    def needs_successes(self) -> bool:
        """Whether the success of a call concerns anything that was written; else it needs no ticket."""

    def ticket(self, sending: Sending) -> Ticket:
        """Return the ticket of a call that is about to be sent, or was: not later than its end."""


class _NoTicket:
    async def before_send(self, remaining_s: float) -> None:
        """Write nothing."""

    async def failed(self, error: BridgeError) -> bool:
        """Take over nothing."""
        del error
        return False

    def cut_off(self, outcome: Outcome) -> None:
        """Take over nothing."""

    def succeeded(self) -> None:
        """Take note of nothing."""


NO_TICKET = _NoTicket()
"""Of a call that is not settled, whatever its end."""


class NoSettling:
    """A bridge without settlement."""

    is_on = writes_before = needs_successes = False
    reserve_s = 0.0

    def ticket(self, sending: Sending) -> Ticket:
        """Return the ticket of a call that is not settled."""
        del sending
        return NO_TICKET


NO_SETTLING = NoSettling()
