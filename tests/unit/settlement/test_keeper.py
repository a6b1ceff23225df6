"""The keeper of a store in virtual time: the key at the start, retention, what is given up, what is shown."""

import asyncio

import pytest

from bridge.events import Event, SettlementSampled
from bridge.settlement.entry import Counts, KeyUse, State
from bridge.settlement.keeper import EXPIRE_AFTER_S, LOOK_S, Keeper, WrongKey
from bridge.settlement.pace import Pace
from bridge.settlement.sealing import Keys
from bridge.settlement.store import Problem, StoreError
from bridge.settlement.writer import Writer
from tests.support.inline_store import InlineStore
from tests.support.settlement_calls import KEYS, OPERATIONS, add, new_call
from tests.support.virtual_time import virtually

OTHER_KEYS = Keys([bytes(range(100, 132))])
PROVIDER = 7
HOUR_S = 3600.0


class Store(InlineStore):
    """A store which cannot be reached when it is set so."""

    is_down = False

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        # Not from 0 s on: that is a time which is not set.
        super().__init__(lambda: loop.time() + HOUR_S)

    async def key_use(self) -> KeyUse:
        """Return the keys in use."""
        self._reach()
        return await super().key_use()

    async def counts(self) -> Counts:
        """Return what there is."""
        self._reach()
        return await super().counts()

    def _reach(self) -> None:
        if self.is_down:
            raise StoreError("sqlite://", Problem.UNREACHABLE)


class Scene:
    """A keeper and what it reports."""

    def __init__(self, keys: Keys = KEYS, *, codes: frozenset[int] = frozenset(), store: Store | None = None) -> None:
        self.store = store or Store()
        self.events: list[Event] = []
        self.failures = 0
        self.pace = Pace([PROVIDER], 10)
        self.keeper = Keeper(
            *(
                self.store,
                keys,
                self.pace,
                Writer(self.store, self._failed, lambda: None, lambda _: None),
                self.events.append,
            ),
            operations=OPERATIONS,
            success_codes=codes,
            keep_s=HOUR_S,
            give_up_after_s=HOUR_S,
            store_failed=self._failed,
            store_works=lambda: None,
        )

    async def run_for(self, seconds: float) -> None:
        """Run the keeper for so long."""
        task = asyncio.create_task(self.keeper.run())
        await asyncio.sleep(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def _failed(self, _error: StoreError) -> None:
        self.failures += 1


@virtually
async def test_the_first_bridge_writes_the_key_check_value() -> None:
    """A new store takes the key that it is first opened with; another one is then refused."""
    scene = Scene()
    assert await scene.keeper.begin()
    assert (await scene.store.key_use()).check == KEYS.first_id
    assert await Scene(store=scene.store).keeper.begin()
    with pytest.raises(WrongKey, match=r"settlement\.key_file"):
        await Scene(OTHER_KEYS, store=scene.store).keeper.begin()
    assert (await scene.store.key_use()).check == KEYS.first_id


@virtually
async def test_a_store_that_comes_late_is_begun_then() -> None:
    """A bridge starts without it, and a wrong key is found as soon as it can be reached."""
    scene = Scene()
    scene.store.is_down = True
    assert not await scene.keeper.begin()
    waiting = asyncio.create_task(scene.keeper.begin_at_last())
    await asyncio.sleep(60.0)
    assert not waiting.done()
    assert scene.failures >= 5
    await scene.store.set_key_check(OTHER_KEYS.first_id)
    scene.store.is_down = False
    with pytest.raises(WrongKey):
        await waiting


@virtually
async def test_a_changed_key_file_is_compared_again() -> None:
    """Keys that came into use while the bridge runs must fit, too."""
    scene = Scene()
    await scene.keeper.begin()
    task = asyncio.create_task(scene.keeper.run())
    await asyncio.sleep(LOOK_S / 2)
    scene.keeper.keys = OTHER_KEYS
    with pytest.raises(WrongKey):
        await task


@virtually
async def test_rejected_entries_whose_code_means_success_now_are_settled_at_the_start() -> None:
    """An operator has found out that code 7 is "already terminated"."""
    scene = Scene()
    added = await add(scene.store, new_call())
    (taken,) = await scene.store.take(1, 30.0, OPERATIONS)
    await scene.store.reject(added.entry_id, taken.fence, taken.last.__class__("WALLET_REJECTED", 7))
    await Scene(codes=frozenset({8}), store=scene.store).keeper.begin()
    assert (await scene.store.counts()).by_state[State.REJECTED] == 1
    await Scene(codes=frozenset({7}), store=scene.store).keeper.begin()
    assert (await scene.store.counts()).by_state[State.SETTLED] == 1


@virtually
async def test_what_is_settled_goes_after_its_time() -> None:
    """keep_s counts from the end; what is still open stays."""
    scene = Scene()
    await scene.keeper.begin()
    settled, _ = await add(scene.store, new_call("a")), await add(scene.store, new_call("b"))
    await scene.store.settle([settled.entry_id])
    await scene.run_for(HOUR_S - LOOK_S)
    assert (await scene.store.counts()).by_state[State.SETTLED] == 1
    await scene.run_for(2 * LOOK_S)
    counts = (await scene.store.counts()).by_state
    assert (counts[State.SETTLED], counts[State.PENDING]) == (0, 1)


@pytest.mark.parametrize(
    ("fails", "age_s", "state"),
    [(True, 2 * HOUR_S, State.UNRESOLVED), (True, HOUR_S / 2, State.PENDING), (False, 2 * HOUR_S, State.PENDING)],
    ids=["old behind a provider that fails", "young", "old, and its turn comes"],
)
@virtually
async def test_entries_that_never_have_a_turn_are_given_up(state: State, age_s: float, *, fails: bool) -> None:
    """By their age, while a provider fails, but not right after the start: each provider is asked before."""
    store = Store()
    await add(store, new_call())
    await asyncio.sleep(age_s - EXPIRE_AFTER_S)
    scene = Scene(store=store)
    await scene.keeper.begin()
    if fails:
        scene.pace.failed(PROVIDER, 0.0, None)
    await scene.run_for(EXPIRE_AFTER_S - LOOK_S)
    assert (await store.counts()).by_state[State.PENDING] == 1
    await scene.run_for(2 * LOOK_S)
    assert (await store.counts()).by_state[state] == 1


@virtually
async def test_what_is_shown() -> None:
    """Counts, the oldest open entry and the providers that wait for an operator, every ten seconds; failures too."""
    scene = Scene()
    await scene.keeper.begin()
    await add(scene.store, new_call())
    scene.pace.pause(PROVIDER, 0.0, "WALLET_UNREACHABLE")
    await scene.run_for(LOOK_S + 1)
    first, second = (event for event in scene.events if isinstance(event, SettlementSampled))
    assert (first.entries["PENDING"], first.oldest_pending_s, first.paused) == (1, 0.0, (PROVIDER,))
    assert second.oldest_pending_s == pytest.approx(LOOK_S)
    scene.store.is_down = True
    await scene.run_for(3 * LOOK_S)
    assert scene.failures == 3
