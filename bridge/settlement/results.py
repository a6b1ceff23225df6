"""Results of attempts: what each end makes of its entry in the store, and what the pace of its provider learns from it.

The table of ends: docs/design/settlement.md, "The settler".
"""

import asyncio
from collections.abc import Callable

from bridge.errors import WalletEchoMismatch
from bridge.events import Emit, SettlementChanged, SettlementPaused, SettlementStoreFailed
from bridge.outcome import BridgeError
from bridge.settlement.attempt import PAUSING, is_final
from bridge.settlement.ends import Ends, Refusal
from bridge.settlement.entry import Entry, Last, State
from bridge.settlement.pace import Pace, jittered_s, longest_delay_s
from bridge.settlement.sealing import Damaged, SealError
from bridge.settlement.store import Store

CANNOT_OPEN = "ENTRY_KEY_MISSING"
DAMAGED = "ENTRY_DAMAGED"
"""Reasons of entries that cannot be decrypted. No call has them."""


class Results:
    """What came of attempts: ends are kept (ends.py) until the settler's next round writes them, many at once.

    What is to be tried again is written at once: `failed` and `cannot_open` may raise StoreError.
    """

    def __init__(
        self, store: Store, pace: Pace, *, emit: Emit, give_up_after_s: float, ended: Callable[[str], None]
    ) -> None:
        self._store = store
        self._pace = pace
        self._emit = emit
        self._give_up_after_s = give_up_after_s
        self.ends = Ends(store, ended, self._refused, failed=lambda: emit(SettlementStoreFailed()))
        self._clock = asyncio.get_running_loop().time

    def confirmed(self, entry: Entry, took_s: float) -> None:
        """Make an entry SETTLED: the wallet has confirmed its request."""
        self._pace.certain(entry.provider_id, self._clock())
        self.ends.confirm(entry.entry_id)
        self._report(entry, State.SETTLED, Last(), took_s)

    async def failed(self, entry: Entry, error: BridgeError, took_s: float) -> None:
        """Make an entry REJECTED or UNRESOLVED, or have it tried again later, as this failure means."""
        now, last = self._clock(), Last(error.reason, error.wallet.code)
        if is_final(error):
            self._pace.certain(entry.provider_id, now)
            is_mismatch = isinstance(error, WalletEchoMismatch)
            self.ends.refuse(Refusal(entry, State.REJECTED, last, took_s, never_repeat=is_mismatch))
            return
        if isinstance(error, PAUSING):
            if self._pace.pause(entry.provider_id, now, error.reason):
                self._emit(SettlementPaused(provider_id=entry.provider_id, reason=error.reason, cause=error.cause))
        else:
            self._pace.failed(entry.provider_id, now, error.retry_after_s)
        await self._postpone(entry, last, took_s, error.retry_after_s or 0.0)

    async def cannot_open(self, entry: Entry, error: SealError) -> None:
        """Give up an entry that is damaged; keep one whose key is missing."""
        if isinstance(error, Damaged):
            self.ends.refuse(Refusal(entry, State.UNRESOLVED, Last(DAMAGED), 0.0))
            return
        # Another bridge may have the key, or this one get it back.
        await self._postpone(entry, Last(CANNOT_OPEN), 0.0, longest_delay_s(16))

    async def _postpone(self, entry: Entry, last: Last, took_s: float, at_least_s: float) -> None:
        if entry.read_at - entry.pending_since + took_s >= self._give_up_after_s:
            self.ends.refuse(Refusal(entry, State.UNRESOLVED, last, took_s))
            return
        delay_s = max(jittered_s(longest_delay_s(entry.attempts)), at_least_s)
        await self._store.postpone(entry.entry_id, entry.fence, delay_s, last)

    def _refused(self, refusal: Refusal) -> None:
        self._report(refusal.entry, refusal.state, refusal.last, refusal.took_s)

    def _report(self, entry: Entry, state: State, last: Last, took_s: float) -> None:
        self._emit(
            SettlementChanged(
                entry_id=entry.entry_id,
                call_id=entry.calls[-1].call_id if entry.calls else "",
                operation=entry.operation,
                provider_id=entry.provider_id,
                state=state.value,
                reason=last.reason,
                wallet_code=last.code,
                attempts=entry.attempts,
                duration_s=round(entry.read_at - entry.created + took_s, 6),
                token_fingerprint=entry.fingerprint,
            )
        )
