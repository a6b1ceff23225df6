"""Settlement of one process, put together: the call's side, the settler and what goes on beside them.

intake -> writer -> store <- settler -> wallet
^- keeper
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bridge.admission import Admission
from bridge.events import Emit, SettlementOff, SettlementStore, SettlementStoreFailed
from bridge.settlement.attempt import Attempt
from bridge.settlement.entry import NewCall
from bridge.settlement.intake import Intake
from bridge.settlement.keeper import Keeper, WrongKey
from bridge.settlement.known import Known
from bridge.settlement.pace import Pace
from bridge.settlement.sealing import Keys
from bridge.settlement.settler import Settler
from bridge.settlement.store import Store, StoreError
from bridge.settlement.writer import Writer

LOGGER = logging.getLogger(__name__)

REFUSED = "the store refuses it, and takes others"
AT_EXIT = "the bridge ended before the store took it"
WRONG_KEY = "settlement is off: its key does not fit the store"
"""Causes of calls that stay unwritten."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules of settlement, from the settings (docs/design/settlement.md)."""

    settles_failed: bool = False
    writes_before: bool = False
    give_up_after_s: float = 86400.0
    in_flight_max: int = 10
    keep_s: float = 604_800.0
    success_codes: frozenset[int] = frozenset()
    """Codes of the wallet that mean success."""
    providers: frozenset[int] = frozenset()
    """Those that are configured."""


class StoreHealth:
    """Whether the store works, reported once at each change; each failed request is counted."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._is_failing = False

    def failed(self, error: StoreError) -> None:
        """Take note of a request that failed."""
        self._emit(SettlementStoreFailed())
        if not self._is_failing:
            self._is_failing = True
            self._emit(SettlementStore(is_failing=True, problem=str(error)))

    def works(self) -> None:
        """Take note of a request that succeeded."""
        if self._is_failing:
            self._is_failing = False
            self._emit(SettlementStore(is_failing=False))


class Settlement:
    """Settlement of one process. Made by `settling`."""

    def __init__(self, store: Store, attempt: Attempt, admission: Admission, rules: Rules, emit: Emit) -> None:
        self.store = store
        self._attempt = attempt
        self._emit = emit
        health, known, keys = StoreHealth(emit), Known(), attempt.keys
        pace = Pace(rules.providers, rules.in_flight_max)
        self._writer = writer = Writer(store, health.failed, health.works, self._gave_up)
        self.settler = settler = Settler(
            *(store, attempt, attempt.operations, admission, pace),
            emit=emit,
            in_flight_max=rules.in_flight_max,
            give_up_after_s=rules.give_up_after_s,
            ended=known.forget,
            store_failed=health.failed,
            may_take=lambda: not writer.is_behind,
        )
        self.intake = Intake(
            *(writer, keys, known, emit, settler.wake, settler.confirm, settler.ends.block, settler.ends.unblock),
            settles_failed=rules.settles_failed,
            writes_before=rules.writes_before,
        )
        self.keeper = Keeper(
            *(store, keys, pace, writer, emit),
            operations=attempt.operations,
            success_codes=rules.success_codes,
            keep_s=rules.keep_s,
            give_up_after_s=rules.give_up_after_s,
            store_failed=health.failed,
            store_works=health.works,
        )

    def _gave_up(self, new: NewCall) -> None:
        self.intake.not_written(new, REFUSED)

    async def begin(self) -> bool:
        """Look at the store for the first time; return whether it could be reached. Raise WrongKey."""
        is_begun = await self.keeper.begin()
        self._writer.is_failing = not is_begun
        return is_begun

    def leave(self) -> None:
        """Begin no attempt any more: the first step of a drain."""
        self.settler.leave()

    def use_keys(self, keys: Keys) -> None:
        """Encrypt with another key file's first key, and decrypt with all of its keys, from now on."""
        self.intake.keys = self._attempt.keys = self.keeper.keys = keys

    async def run(self, *, is_begun: bool) -> None:
        """Go on until cancelled, once the store can be reached; a key that is proven wrong switches settlement off."""
        try:
            if not is_begun:
                await self.keeper.begin_at_last()
                self._writer.is_failing = False
            async with asyncio.TaskGroup() as tasks:
                for work in (self._writer.run(), self.settler.run(), self.keeper.run()):
                    tasks.create_task(work)
        except* WrongKey as wrong:
            self.intake.is_on = False
            self._emit(SettlementOff(str(wrong.exceptions[0])))

    async def end(self) -> None:
        """Let attempts end, write what waits, and report what stays unwritten."""
        self.settler.leave()
        await self.settler.finish()
        cause = AT_EXIT if self.intake.is_on else WRONG_KEY
        unwritten = await self._writer.flush() if self.intake.is_on else self._writer.unwritten()
        for new in unwritten:
            self.intake.not_written(new, cause)


@asynccontextmanager
async def settling(settlement: Settlement) -> AsyncIterator[Settlement]:
    """Run settlement for as long as the context lasts; raise WrongKey where the store can be reached and it is."""
    try:
        is_begun = await settlement.begin()
        try:
            async with _background(settlement.run(is_begun=is_begun)):
                yield settlement
        finally:
            await settlement.end()
    finally:
        await settlement.store.close()


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
