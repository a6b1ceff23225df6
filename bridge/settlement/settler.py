"""The settler: takes due entries under a lease, sends each once, and writes down what came of it.

    take (leased for LEASE_S) -> a place beside the callers -> LEFT_MIN_S of the lease left -> one POST -> result

One POST an attempt: a further one could be under way when the lease has ended and another bridge owns the entry.
Everything is timed on the event loop's clock; due times and leases are on the store's. Rules:
docs/design/settlement.md, "The settler".
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from bridge.admission import Admission
from bridge.events import Emit
from bridge.outcome import BridgeError
from bridge.settlement.entry import Entry
from bridge.settlement.pace import Pace
from bridge.settlement.results import Results
from bridge.settlement.sealing import SealError
from bridge.settlement.store import Store, StoreError
from bridge.transcoding.verdict import Verdict

LOGGER = logging.getLogger(__name__)

LEASE_S = 30.0
LEFT_MIN_S = 15.0
"""Least rest of a lease when a POST begins: its 10 s, and time to write the result down."""
APART_S = 0.002
"""Least time between the beginnings of two attempts: calls come in between, however fast the wallet answers."""
POLL_S = 1.0
"""Interval of looks for entries that other bridges wrote, or that fall due."""
STORE_DELAY_S, STORE_DELAY_MAX_S = 1.0, 30.0
"""Pause after a failure of the store: first and longest, doubling."""

Send = Callable[[Entry], Awaitable[Verdict]]


@dataclass(slots=True, eq=False)
class _Owned:
    """An entry under a lease of ours, in times of the event loop's clock."""

    entry: Entry
    lease_end: float

    def left_s(self, now: float) -> float:
        return self.lease_end - now


class Settler:
    """Works on the entries of one store for as long as `run` runs. `ended` is called with each that is SETTLED."""

    def __init__(  # noqa: PLR0913 - where its parts come together
        self,
        store: Store,
        send: Send,
        operations: frozenset[str],
        admission: Admission,
        pace: Pace,
        *,
        emit: Emit,
        in_flight_max: int,
        give_up_after_s: float,
        ended: Callable[[str], None],
        store_failed: Callable[[StoreError], None],
        may_take: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._send = send
        self._operations = operations
        self._admission = admission
        self._pace = pace
        self._in_flight_max = in_flight_max
        self._results = Results(store, pace, emit=emit, give_up_after_s=give_up_after_s, ended=ended)
        self.ends = self._results.ends
        self._may_take = may_take
        self._store_failed = store_failed
        self._attempts: set[asyncio.Task[None]] = set()
        self._taking: asyncio.Task[None] | None = None
        self._unsent: set[str] = set()
        """Entries that were taken and whose attempt has not begun."""
        self._places = 0
        """Places among the calls that attempts hold."""
        self._is_leaving = False
        self._wake = asyncio.Event()
        self._clock = asyncio.get_running_loop().time

    # --- what others ask of it --------------------------------------------------------------------------------------

    def wake(self, in_s: float = 0.0) -> None:
        """Look for due entries in so many seconds, if not sooner."""
        if in_s < POLL_S:
            asyncio.get_running_loop().call_later(in_s, self._wake.set)

    def confirm(self, entry_id: str) -> None:
        """Make an entry SETTLED: the wallet has confirmed its request to a caller."""
        self.ends.confirm(entry_id)
        self._wake.set()

    def leave(self) -> None:
        """Begin no attempt any more, from now on: the first step of a drain."""
        self._is_leaving = True

    async def finish(self) -> None:
        """Wait until every attempt has ended, and write each end down. `leave` comes before."""
        if self._taking is not None:
            await asyncio.wait((self._taking,))
        await self._round()
        while self._attempts:
            await asyncio.wait(set(self._attempts), return_when=asyncio.FIRST_COMPLETED)
            await self._round()
        for entry_id, state in self.ends.unwritten.items():
            LOGGER.error("settlement entry %s is %s, and the store did not take it: it is sent again", entry_id, state)

    # --- the loop ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until cancelled; attempts under way go on, see `finish`."""
        failures = 0
        while True:
            self._wake.clear()
            is_well = await self._round()
            if is_well:
                failures = 0
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._sleep_s()):
                        await self._wake.wait()
            else:
                failures += 1
                await asyncio.sleep(min(STORE_DELAY_S * 2 ** min(failures - 1, 10), STORE_DELAY_MAX_S))

    async def _round(self) -> bool:
        """Write the ends down that are known and take what is due; return whether the store works."""
        try:
            await self.ends.write()
            await self._take()
        except StoreError as error:
            self._store_failed(error)
        except Exception:
            LOGGER.exception("the settler failed")  # its places, no text (telemetry/records.py)
        else:
            return True
        return False

    def _sleep_s(self) -> float:
        """Return how long to wait: until the next delay of a provider ends, at most POLL_S."""
        now = self._clock()
        change = self._pace.next_change(now)
        return POLL_S if change is None else min(POLL_S, max(change - now, 0.001))

    async def _take(self) -> None:
        room = self._room()
        if room > 0 and self._may_take():
            # Not cut off when `run` is cancelled: what the store has just leased would stay leased with no owner.
            self._taking = asyncio.create_task(self._take_up_to(room))
            await asyncio.shield(self._taking)

    async def _take_up_to(self, room: int) -> None:
        began = self._clock()
        self.ends.forget_written(self._unsent)
        entries = await self._store.take(room, LEASE_S, self._operations, self._pace.at_most(began))
        for entry in entries:
            self._begin(_Owned(entry, began + LEASE_S))
            await self._let_others_go_on()

    async def _let_others_go_on(self) -> None:
        # Nor is anything written meanwhile: the ends of what is sent now share the next round's write.
        if not self._is_leaving:
            await asyncio.sleep(APART_S)

    def _room(self) -> int:
        """Return how many attempts may begin: one for sure, more where callers' calls leave places."""
        if self._is_leaving:
            return 0
        free = min(self._admission.free, self._in_flight_max - len(self._attempts))
        return max(free, 0 if self._attempts else 1)

    def _begin(self, owned: _Owned) -> None:
        self._pace.begin(owned.entry.provider_id)
        self._unsent.add(owned.entry.entry_id)
        task = asyncio.create_task(self._work(owned))
        self._attempts.add(task)
        task.add_done_callback(self._is_over)

    def _is_over(self, task: asyncio.Task[None]) -> None:
        self._attempts.discard(task)
        self._wake.set()

    # --- one attempt ------------------------------------------------------------------------------------------------

    async def _work(self, owned: _Owned) -> None:
        try:
            await self._admitted(owned)
        except StoreError as error:
            # The lease ends by itself.
            self._store_failed(error)
        except Exception:
            LOGGER.exception("an attempt to settle failed")  # its places, no text (telemetry/records.py)
            self._pace.failed(owned.entry.provider_id, self._clock(), None)
        finally:
            self._unsent.discard(owned.entry.entry_id)
            self._pace.end(owned.entry.provider_id)

    async def _admitted(self, owned: _Owned) -> None:
        entry = owned.entry
        if not self._admission.enter_beside(entry.provider_id, is_guaranteed=not self._places):
            # The callers have filled the bridge, or this provider's share of it.
            self._pace.crowded(entry.provider_id, self._clock())
            await self._store.release(entry.entry_id, entry.fence)
            return
        self._places += 1
        try:
            if await self._is_owned(owned):
                await self._attempt_unless_ended(entry)
        finally:
            self._places -= 1
            self._admission.leave(entry.provider_id)

    async def _is_owned(self, owned: _Owned) -> bool:
        """Say whether an attempt may begin: with enough of the lease left, which is read after every wait."""
        entry = owned.entry
        while not self._is_leaving:
            now = self._clock()
            if owned.left_s(now) >= LEFT_MIN_S:
                return True
            if not await self._store.renew(entry.entry_id, entry.fence, LEASE_S):
                return False
            owned.lease_end = now + LEASE_S
        await self._store.release(entry.entry_id, entry.fence)
        return False

    async def _attempt_unless_ended(self, entry: Entry) -> None:
        self._unsent.discard(entry.entry_id)
        if entry.entry_id in self.ends:
            await self.ends.taken_again(entry)
        else:
            await self._attempt(entry)

    async def _attempt(self, entry: Entry) -> None:
        began = self._clock()
        try:
            await self._send(entry)
        except BridgeError as error:
            await self._results.failed(entry, error, self._clock() - began)
        except SealError as error:
            await self._results.cannot_open(entry, error)
        else:
            self._results.confirmed(entry, self._clock() - began)
