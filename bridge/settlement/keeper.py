"""Keeper of the store: the key's fit at the start, then retention, entries that are given up, and what metrics show.

Nothing is written to the store, and nothing is taken from it, before its key-check value is known to fit the key file:
entries under a wrong key would be lost to the bridges that have the right one.
"""

import asyncio
import logging
from collections.abc import Callable
from collections.abc import Set as AbstractSet

from bridge.events import Emit, SettlementSampled
from bridge.settlement.pace import Pace
from bridge.settlement.sealing import KeyFinding, Keys
from bridge.settlement.store import Store, StoreError
from bridge.settlement.writer import Writer

LOGGER = logging.getLogger(__name__)

LOOK_S = 10.0
"""Interval of looks at the store for metrics and for what is to be deleted or given up."""
FIRST_DELAY_S, FIRST_DELAY_MAX_S = 0.5, 10.0
"""Delay before a store that could not be reached at the start is tried again, doubling."""
EXPIRE_AFTER_S = 600.0
"""Time after the start in which nothing is given up without an attempt: two pauses, so that each provider was asked."""
BATCH = 1000


class WrongKey(Exception):
    """The key file does not fit the store. The text is one line that says what to do."""


class Keeper:
    """Keeps one store. Times are those of the event loop's clock."""

    def __init__(  # noqa: PLR0913 - where its parts come together
        self,
        store: Store,
        keys: Keys,
        pace: Pace,
        writer: Writer,
        emit: Emit,
        *,
        operations: AbstractSet[str],
        success_codes: AbstractSet[int],
        keep_s: float,
        give_up_after_s: float,
        store_failed: Callable[[StoreError], None],
        store_works: Callable[[], None],
    ) -> None:
        self.keys = keys
        self._store = store
        self._pace = pace
        self._writer = writer
        self._emit = emit
        self._operations = operations
        self._success_codes = success_codes
        self._keep_s = keep_s
        self._give_up_after_s = give_up_after_s
        self._store_failed = store_failed
        self._store_works = store_works
        self._clock = asyncio.get_running_loop().time
        self._began = self._clock()
        self._checked: Keys | None = None
        """The keys that were last compared with the store."""

    async def begin(self) -> bool:
        """Check the key and reclassify; return whether the store could be reached. Raise WrongKey."""
        try:
            await self._store.open()
            await self.check_key()
            if self._success_codes:
                await self._store.reclassify(self._success_codes)
        except StoreError as error:
            self._store_failed(error)
            return False
        self._store_works()
        return True

    async def begin_at_last(self) -> None:
        """Do as `begin` until the store can be reached. Raise WrongKey."""
        delay_s = FIRST_DELAY_S
        while not await self.begin():
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, FIRST_DELAY_MAX_S)

    async def check_key(self) -> None:
        """Compare the key file with the store, and write the key-check value; raise WrongKey or StoreError."""
        keys = self.keys
        finding = keys.finding(await self._store.key_use())
        if finding is KeyFinding.WRONG:
            raise WrongKey(finding.value)
        if finding is KeyFinding.OLD_MISSING:
            LOGGER.error("%s", finding.value)
        if finding is KeyFinding.NEW:
            await self._store.set_key_check(keys.first_id)
        self._checked = keys

    async def run(self) -> None:
        """Look at the store again and again, until cancelled. `begin` comes before. Raise WrongKey."""
        while True:
            try:
                await self._look()
            except StoreError as error:
                self._store_failed(error)
            except WrongKey:
                raise
            except Exception:
                LOGGER.exception("the settlement store could not be looked at")  # its places, no text
            await asyncio.sleep(LOOK_S)

    async def _look(self) -> None:
        if self._checked is not self.keys:
            await self.check_key()
        while await self._store.purge(self._keep_s, BATCH) == BATCH:
            pass
        if self._pace.is_any_failing and self._clock() - self._began >= EXPIRE_AFTER_S:
            # Those that wait behind a provider that fails, and so would never have an attempt to be given up after.
            for entry_id in await self._store.expire(self._give_up_after_s, self._operations, BATCH):
                LOGGER.error("settlement entry %s is given up: UNRESOLVED", entry_id)
        counts = await self._store.counts()
        self._store_works()
        self._emit(
            SettlementSampled(
                entries={state.value: count for state, count in counts.by_state.items()},
                oldest_pending_s=counts.oldest_pending_s,
                paused=tuple(self._pace.paused),
                queued=self._writer.queued,
            )
        )
