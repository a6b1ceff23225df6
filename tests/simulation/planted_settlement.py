"""Bugs of settlement to plant, one at a time (planted.py)."""

from tests.simulation.planted import Bug

MODEL = "tests.support.settlement_model:ModelStore"

SETTLEMENT_BUGS = (
    Bug(
        "answered PENDING before it is written",
        "bridge.settlement.intake:_CallTicket.failed",
        "return added is not None and added.state is State.PENDING",
        "return True",
        "settled",
    ),
    Bug(
        "the queue drops what the store did not take",
        "bridge.settlement.writer:Writer._write_batch",
        "self.is_failing = True",
        "self._queue.clear()",
        "settled",
    ),
    Bug(
        "the lease is not looked at before an attempt",
        "bridge.settlement.settler:Settler._is_owned",
        "if owned.left_s(now) >= LEFT_MIN_S:",
        "if True:",
        "settled by many",
    ),
    Bug(
        "a lease that was not renewed is taken for owned",
        "bridge.settlement.settler:Settler._is_owned",
        "if not await self._store.renew(entry.entry_id, entry.fence, LEASE_S):",
        "if await self._store.renew(entry.entry_id, entry.fence, LEASE_S) is None:",
        "settled by many",
    ),
    Bug(
        "the store ignores the fence",
        f"{MODEL}._change_owned",
        "record.entry.fence != fence",
        "False",
        "settled by many",
    ),
    Bug(
        "what the wallet confirmed is not written down",
        "bridge.settlement.settler:Settler._attempt",
        "self.ends.confirm(entry.entry_id)",
        "pass",
        "settled",
    ),
    Bug(
        "SETTLED is taken again",
        f"{MODEL}.take",
        "entry.state is State.PENDING and",
        "entry.state in {State.PENDING, State.SETTLED} and",
        "settled",
    ),
    Bug(
        "a 503 rejects",
        "bridge.settlement.attempt:is_final",
        "isinstance(error, WalletEchoMismatch)",
        "error.wallet.http_status == 503 or isinstance(error, WalletEchoMismatch)",
        "settled",
    ),
    Bug(
        "a time-out is final",
        "bridge.settlement.attempt:is_final",
        "isinstance(error, WalletEchoMismatch)",
        "error.reason == 'WALLET_TIMEOUT' or isinstance(error, WalletEchoMismatch)",
        "settled",
    ),
    Bug(
        "no pause after what an operator must cure",
        "bridge.settlement.settler:Settler._failed",
        "isinstance(error, PAUSING)",
        "False",
        "settled before",
    ),
    Bug(
        "an end that overtakes its insert is forgotten",
        "bridge.settlement.writer:Writer._replace",
        "if item is None or item.is_tried:",
        "if item is None:",
        "settled before on Redis",
    ),
    Bug(
        "written before it is sent, but never due",
        "bridge.settlement.intake:_CallTicket.before_send",
        "due_in_s=remaining_s + HELD_BEYOND_S",
        "due_in_s=remaining_s + 1e9",
        "settled before",
    ),
    Bug(
        "a call that was killed is not written before it is sent",
        "bridge.settlement.intake:_CallTicket.before_send",
        "if not self._intake.writes_before:",
        "if True:",
        "settled before",
    ),
    Bug(
        "an echo mismatch is retried",
        "bridge.settlement.attempt:is_final",
        "isinstance(error, WalletEchoMismatch)",
        "False",
        "settled before",
    ),
    Bug(
        "an end leaves its entry",
        f"{MODEL}._end",
        "del self._records[record.entry.entry_id]",
        "pass",
        "settled before",
    ),
    Bug(
        "a cut-off call is not taken over",
        "bridge.settlement.intake:_CallTicket.cut_off",
        "if outcome is Outcome.UNKNOWN:",
        "if False:",
        "settled",
    ),
    Bug(
        "an owed entry goes with another's end",
        f"{MODEL}._end",
        "and not record.is_owed and",
        "and",
        "settled before",
    ),
    Bug(
        "what is given up is deleted",
        f"{MODEL}.give_up",
        "return self._end_unsettled(entry_id, fence, state=State.UNRESOLVED, last=last)",
        "return self._records.pop(entry_id, None) is not None",
        "settled failures",
    ),
    Bug(
        "a refusal that the store did not take is forgotten",
        "bridge.settlement.settler:Settler._refuse",
        "self.ends.refuse(refusal)",
        "await self._store.reject(refusal.entry.entry_id, refusal.entry.fence, refusal.last, never_repeat=True)",
        "settled",
    ),
    Bug(
        "a batch that was overtaken is carried out",
        f"{MODEL}.write",
        "if self._written.get(order.writer_id, 0) >= order.number:",
        "if False:",
        "settled before on Redis",
    ),
)
"""The store's own rules are planted in the model; tests/unit/settlement/ compares the real stores with it."""
