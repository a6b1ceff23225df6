"""Intake: which calls are settled, and how they are written down while their callers wait at most WAIT_S.

    a call ends UNKNOWN, or with a reason of FAILED where settle = "failed"   -> written, then PENDING
    durability = "before"                                                     -> written before it is sent, too
    its own success                                                           -> settles earlier calls of that request

PENDING needs a write that the store has confirmed. Without it the call ends as it would without settlement, and
the write goes on behind it. Source: docs/design/settlement.md, "What is settled".
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from bridge.errors import WalletEchoMismatch, WalletNotProcessed, WalletThrottled, WalletUnavailable, WalletUnreachable
from bridge.events import Emit, SettlementChanged, SettlementNotWritten
from bridge.identity.certificate import ANONYMOUS, identities_of
from bridge.outcome import BridgeError, Outcome
from bridge.settlement.entry import NO_FAILURE, Call, CallEnd, Last, NewCall, State
from bridge.settlement.known import Known
from bridge.settlement.pace import DELAY_FIRST_S, jittered_s
from bridge.settlement.sealing import Keys
from bridge.settlement.writer import Writer
from bridge.settlement.written import Waiter, Waits, Written
from bridge.settling import Sending, Ticket

LOGGER = logging.getLogger(__name__)

WAIT_S = 0.05
"""Longest wait of a call for the store, before it is sent and at its end."""
HELD_BEYOND_S = 5.0
"""Time after its deadline for which a call that was written before it was sent counts as under way."""

REFUSED = ("wallet-settle", "never")
"""Metadata with which a caller switches settlement off for a call."""

NO_ROOM = "the memory queue is full"
"""Cause of a call that stays unwritten."""

FAILED = (WalletUnreachable, WalletNotProcessed, WalletThrottled, WalletUnavailable)
"""Settled with settle = "failed", too. Never what the bridge refused itself: it has no room for that work."""


@dataclass(slots=True, eq=False)
class Intake:
    """Hooks of the service (settling.py) with settlement on."""

    writer: Writer
    keys: Keys
    known: Known
    emit: Emit
    wake: Callable[[float], None]
    """Notifies the settler that an entry is due in so many seconds."""
    confirm: Callable[[str], None]
    """Makes an entry SETTLED."""
    block: Callable[[str], None]
    unblock: Callable[[str], None]
    """Keep the settler from sending an entry until a call's write has made it REJECTED."""
    settles_failed: bool
    """settle = "failed"."""
    writes_before: bool
    """durability = "before"."""
    is_on: bool = True
    reserve_s: float = WAIT_S
    waits: Waits = field(default_factory=Waits)

    @property
    def needs_successes(self) -> bool:
        """Whether the success of a call concerns anything that was written."""
        return self.writes_before or bool(self.known)

    def ticket(self, sending: Sending) -> Ticket:
        """Return the ticket of a call that is about to be sent."""
        return _CallTicket(self, sending)

    def added(self, new: NewCall, written: Written) -> None:
        """Take note of a call that the store has taken."""
        added = written.added
        if added is None or not added.entry_id:
            return
        if added.state is State.PENDING:
            self.known.add(new.sealed.digests[0], added.entry_id)
            self.wake(new.due_in_s)
        self.emit(
            SettlementChanged(
                entry_id=added.entry_id,
                call_id=new.call.call_id,
                operation=new.sealed.operation,
                provider_id=new.sealed.provider_id,
                state=added.state.value,
                reason=new.last.reason,
                wallet_code=new.last.code,
                token_fingerprint=new.fingerprint,
            )
        )

    def not_written(self, new: NewCall, cause: str) -> None:
        """Report a call that stays unwritten: it was not reported as PENDING, and nothing goes on with it."""
        self.emit(
            SettlementNotWritten(
                call_id=new.call.call_id,
                operation=new.sealed.operation,
                provider_id=new.sealed.provider_id,
                reason=new.last.reason,
                cause=cause,
                token_fingerprint=new.fingerprint,
            )
        )

    def takes_over(self, error: BridgeError) -> bool:
        """Say whether a call that failed so is settled."""
        return error.outcome is Outcome.UNKNOWN or (self.settles_failed and isinstance(error, FAILED))


class _CallTicket:
    """One call that may be settled. What is written, and the encryption, are made when the first write needs them."""

    __slots__ = ("_held", "_intake", "_new", "_sending")

    def __init__(self, intake: Intake, sending: Sending) -> None:
        self._intake = intake
        self._sending = sending
        self._new: NewCall | None = None
        self._held: Written | None = None
        """The write of the call as under way, if it was queued: then its end must be written, too."""

    async def before_send(self, remaining_s: float) -> None:
        """Write the call down before its first byte is sent; see settling.py."""
        self._held = held = self._put(is_owed=False, due_in_s=remaining_s + HELD_BEYOND_S)
        waiter = self._waiter_for(held)
        if waiter is not None:
            await waiter

    async def failed(self, error: BridgeError) -> bool:
        """Take over the call if it is one to settle; see settling.py."""
        if not self._intake.takes_over(error):
            self._ended(is_success=False)
            return False
        is_mismatch = isinstance(error, WalletEchoMismatch)
        last = Last(error.reason, error.wallet.code)
        is_held = _is_pending(self._held)
        written = self._put(
            is_owed=True, due_in_s=_first_delay_s(error), last=last, never_repeat=is_mismatch, cause=NO_ROOM
        )
        if is_mismatch:
            self._block(written)
        elif is_held:
            # It stands in the store already, and falls due there even if this write never came.
            return True
        waiter = self._waiter_for(written)
        if waiter is not None:
            await waiter
        return _is_pending(written)

    def cut_off(self, outcome: Outcome) -> None:
        """Take over a call whose task was cancelled, if its outcome is UNKNOWN."""
        if outcome is Outcome.UNKNOWN:
            self._put(is_owed=True, due_in_s=jittered_s(DELAY_FIRST_S), last=Last("CANCELLED"), cause=NO_ROOM)
        else:
            self._ended(is_success=False)

    def succeeded(self) -> None:
        """Take note that the wallet has confirmed the call."""
        self._ended(is_success=True)
        known, sending = self._intake.known, self._sending
        if known:
            entry_id = known.pop(self._intake.keys.digests(sending.operation.full_name, sending.body)[0])
            if entry_id is not None:
                self._intake.confirm(entry_id)

    def _block(self, written: Written | None) -> None:
        """Keep the settler of this process from sending the entry of this request before the store knows better."""
        if written is None or self._new is None:
            return
        held = self._held.added if self._held is not None else None
        entry_id = self._intake.known.get(self._new.sealed.digests[0]) or (held.entry_id if held is not None else "")
        if entry_id:
            self._intake.block(entry_id)
            written.then(partial(self._intake.unblock, entry_id))

    # --- writes ---------------------------------------------------------------------------------------------------

    def _put(
        self,
        *,
        is_owed: bool,
        due_in_s: float,
        last: Last = NO_FAILURE,
        never_repeat: bool = False,
        cause: str = "",
    ) -> Written | None:
        if REFUSED in self._sending.metadata:
            return None
        try:
            self._new = new = self._written_as(is_owed=is_owed, due_in_s=due_in_s, last=last, never_repeat=never_repeat)
            written = self._intake.writer.put(new)
            if written is not None and is_owed:
                written.then(partial(self._intake.added, new, written))
            elif written is None and cause:
                self._intake.not_written(new, cause)
        except Exception:  # nothing of settlement may stop a call
            LOGGER.exception("a call could not be written down for settlement")
            return None
        return written

    def _written_as(self, *, is_owed: bool, due_in_s: float, last: Last, never_repeat: bool) -> NewCall:
        sending, before = self._sending, self._new
        if before is None:
            found = ANONYMOUS if sending.peer is None else identities_of(sending.peer.auth_context())
            call = Call(sending.call_id, tuple(sorted(found)) if found else ())
            sealed = self._intake.keys.seal(
                sending.operation.full_name, sending.provider_id, sending.request, sending.body
            )
        else:
            call, sealed = before.call, before.sealed
        # The entry's id is random, and each call has one of its own, whether it becomes an entry or not.
        return NewCall(sealed.entry_id, call, sealed, due_in_s, is_owed, sending.fingerprint, last, never_repeat)

    def _waiter_for(self, written: Written | None) -> Waiter | None:
        """Return what is done when the store has taken a write, at the latest after WAIT_S; None: do not wait."""
        if written is None or written.is_done or self._intake.writer.is_failing:
            return None
        return written.wake(self._intake.waits.begin(WAIT_S))

    def _ended(self, *, is_success: bool) -> None:
        if self._held is not None and self._new is not None:
            self._intake.writer.end(CallEnd(self._new.ticket, is_success))


def _first_delay_s(error: BridgeError) -> float:
    return max(jittered_s(DELAY_FIRST_S), error.retry_after_s or 0.0)


def _is_pending(written: Written | None) -> bool:
    """Say whether the store has taken a write, and the bridge goes on with its entry."""
    added = written.added if written is not None else None
    return added is not None and added.state is State.PENDING
