"""Ends that the settler knows and the store does not, in virtual time: nothing is sent after its end."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from bridge.errors import WalletEchoMismatch, WalletRejected, WalletTimeout
from bridge.events import SettlementChanged, SettlementStoreFailed
from bridge.outcome import WalletFacts
from bridge.settlement import ends as ends_module
from bridge.settlement.ends import Ends, Refusal
from bridge.settlement.entry import Change, Entry, Last, State
from bridge.settlement.pace import Pace
from bridge.settlement.sealing import Damaged
from bridge.settlement.settler import LEASE_S, POLL_S, STORE_DELAY_MAX_S, Settler
from bridge.settlement.store import Problem, StoreError
from bridge.settlement.suspects import OF_ONE
from tests.support.inline_store import InlineStore
from tests.support.settlement_calls import FAR_S, OPERATIONS, TIMEOUT, add, new_call
from tests.support.virtual_time import run_virtually, virtually
from tests.unit.settlement.test_settler import DAY_S, ONE, OPERATION, Scene, SlowStore, confirms, drained, fails, late

FACTS = WalletFacts(http_status=400, code=7)
OUTAGE_S = 4 * LEASE_S
"""Long enough that the lease of an entry's owner has ended."""


async def _work_through_outage(scene: Scene, *, is_carried_out: bool = False) -> Settler:
    """Let the store fail from the wallet's first answer on, for OUTAGE_S; then let everything go on."""
    store, behaviour = scene.store, scene.behaviour
    assert isinstance(store, FailingStore)

    async def then_down(entry: Entry) -> Any:
        try:
            return await behaviour(entry)
        finally:
            store.is_down, store.loses_answers = not is_carried_out, is_carried_out

    scene.behaviour = then_down
    async with scene.running() as settler:
        await asyncio.sleep(OUTAGE_S)
        scene.behaviour, store.is_down, store.loses_answers = behaviour, False, False
        await asyncio.sleep(2 * STORE_DELAY_MAX_S + LEASE_S)
    return settler


class FailingStore(SlowStore):
    """A store whose changes fail while it is down, or are carried out without an answer."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.loses_answers = False
        self.refuses: set[str] = set()
        """Entries whose end it does not take."""
        self.problem = Problem.FAILED
        """What it says of those."""
        self.requests = 0
        """Number of changes that it was asked for."""

    async def _do(self, change: Coroutine[Any, Any, Any], *entry_ids: str) -> Any:
        self.requests += 1
        if self.is_down or self.refuses.intersection(entry_ids):
            change.close()
            raise StoreError(self.name, Problem.UNREACHABLE if self.is_down else self.problem)
        result = await change
        if self.loses_answers:
            raise StoreError(self.name, Problem.TIMEOUT)
        return result

    async def reject(self, entry_id: str, *arguments: Any, **named: Any) -> bool:
        """Make an owned entry REJECTED."""
        return bool(await self._do(super().reject(entry_id, *arguments, **named), entry_id))

    async def give_up(self, entry_id: str, *arguments: Any) -> bool:
        """Make an owned entry UNRESOLVED."""
        return bool(await self._do(super().give_up(entry_id, *arguments), entry_id))

    async def settle(self, entry_ids: Sequence[str]) -> list[str]:
        """Make entries SETTLED."""
        settled: list[str] = await self._do(super().settle(entry_ids), *entry_ids)
        return settled


def _scene(behaviour: Callable[[Entry], Any], **rules: Any) -> Scene:
    scene = Scene(behaviour, **rules)
    scene.store = FailingStore(scene.clock)
    return scene


ENDS: dict[str, tuple[Callable[[], Exception] | None, State, str]] = {
    "confirmed": (None, State.SETTLED, ""),
    "rejected": (lambda: WalletRejected(wallet=FACTS), State.REJECTED, "WALLET_REJECTED"),
    "another's token": (lambda: WalletEchoMismatch(wallet=FACTS), State.REJECTED, "WALLET_ECHO_MISMATCH"),
    "damaged": (Damaged, State.UNRESOLVED, "ENTRY_DAMAGED"),
    "given up": (WalletTimeout, State.UNRESOLVED, "WALLET_TIMEOUT"),
}


@pytest.mark.parametrize("is_carried_out", [False, True], ids=["lost", "carried out without an answer"])
@pytest.mark.parametrize("end", ENDS)
def test_an_end_that_the_store_did_not_take_is_written_later(end: str, *, is_carried_out: bool) -> None:
    """The store fails when the attempt has ended: nothing is sent again, the end is written and reported once."""
    make, state, reason = ENDS[end]

    async def behaviour(_entry: Entry) -> None:
        if make is not None:
            raise make()

    async def work() -> None:
        scene = _scene(behaviour, give_up_after_s=0.0 if end == "given up" else DAY_S)
        (entry_id,) = await scene.add()
        settler = await _work_through_outage(scene, is_carried_out=is_carried_out)
        entry = await scene.entry()
        assert (entry.state, len(scene.sent)) == (state, 1)
        assert entry.last.reason == (reason or "WALLET_TIMEOUT")
        assert entry.never_repeat is (end == "another's token")
        assert [(e.state, e.reason) for e in scene.events if isinstance(e, SettlementChanged)] == [(state, reason)]
        assert (settler.ends.unwritten, scene.ended) == ({}, [entry_id] if state is State.SETTLED else [])

    run_virtually(work())


@virtually
async def test_a_refusal_is_not_written_over_another_owner() -> None:
    """The lease ended while the store failed, and another bridge has taken the entry: its attempt decides."""
    scene = _scene(fails(WalletEchoMismatch))
    (entry_id,) = await scene.add()
    async with scene.running() as settler:

        async def down(_entry: Entry) -> None:
            scene.store.is_down = True
            raise WalletEchoMismatch

        scene.behaviour = down
        await asyncio.sleep(LEASE_S + 1)
        (taken,) = await InlineStore.take(scene.store, 1, FAR_S, {OPERATION})
        scene.store.is_down = False
        await asyncio.sleep(2 * STORE_DELAY_MAX_S)
        entry = await scene.entry()
        assert (entry.state, entry.fence, taken.fence) == (State.PENDING, 2, 2)
        assert settler.ends.unwritten == {}
        assert not [e for e in scene.events if isinstance(e, SettlementChanged)]
        assert await scene.store.reject(entry_id, 2, TIMEOUT)


@pytest.mark.parametrize("take_s", [0.5, LEASE_S - 1], ids=["at once", "after renewing"])
@virtually
async def test_what_ends_while_it_is_taken_is_not_sent(take_s: float) -> None:
    """The store has leased the entry and its answer is on its way when a caller's own success is written down."""
    scene = _scene(late(0.1))
    scene.store.take_s = take_s
    (entry_id,) = await scene.add()
    async with scene.running() as settler:
        await asyncio.sleep(take_s / 2)
        settler.confirm(entry_id)
        await settler.ends.write()  # as any attempt that ends meanwhile does
        assert await scene.state(entry_id) is State.SETTLED
        await asyncio.sleep(3 * LEASE_S)
        assert scene.sent == []


@virtually
async def test_what_a_call_learns_while_it_is_taken_is_heeded() -> None:
    """A call of the same request was answered with another's token: its write is on its way, nothing is sent."""
    scene = _scene(confirms)
    scene.store.take_s = 2.0
    (entry_id,) = await scene.add()
    async with scene.running() as settler:
        await asyncio.sleep(1.0)
        settler.ends.block(entry_id)
        await asyncio.sleep(10.0)
        assert scene.sent == []
        (entry,) = await scene.store.take(1, FAR_S, {OPERATION}) or [await scene.entry()]
        assert await scene.store.reject(entry_id, entry.fence, Last("WALLET_ECHO_MISMATCH"), never_repeat=True)
        settler.ends.unblock(entry_id)
        await asyncio.sleep(100.0)
        assert scene.sent == []
        assert entry_id not in settler.ends


@virtually
async def test_an_entry_that_a_person_has_retried_is_sent_although_its_end_is_known() -> None:
    """The end was written and a person asks for another attempt: what this process remembers must not stop it."""
    scene = _scene(fails(lambda: WalletRejected(wallet=FACTS)))
    (entry_id,) = await scene.add()
    async with scene.running():
        await asyncio.sleep(1.5)
        for count in (1, 2, 3):
            assert len(scene.sent) == count
            assert await scene.state(entry_id) is State.REJECTED
            assert await scene.store.retry(entry_id) is Change.DONE
            await asyncio.sleep(1.5)


@virtually
async def test_nothing_is_taken_while_writes_of_calls_wait_behind_a_failure() -> None:
    """The store does not know yet which calls have ended: a take could return an entry whose end is in the queue."""
    scene = _scene(confirms)
    (entry_id,) = await scene.add()
    is_behind = True
    settler = Settler(
        *(scene.store, scene.send, frozenset({OPERATION}), scene.admission, Pace((ONE,), 10)),
        emit=scene.events.append,
        in_flight_max=10,
        give_up_after_s=DAY_S,
        ended=scene.ended.append,
        store_failed=lambda _: None,
        may_take=lambda: not is_behind,
    )
    task = asyncio.create_task(settler.run())
    await asyncio.sleep(10.0)
    assert (scene.sent, (await scene.entry()).attempts) == ([], 0)
    is_behind = False
    await asyncio.sleep(2.0)
    assert await scene.state(entry_id) is State.SETTLED
    await drained([settler], [task])


def test_an_end_that_stays_unwritten_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The bridge ends while the store fails: one line names the entry and says that it is sent again."""

    async def work() -> str:
        scene = _scene(fails(WalletEchoMismatch))
        (entry_id,) = await scene.add()

        async def down(_entry: Entry) -> None:
            scene.store.is_down = True
            raise WalletEchoMismatch

        scene.behaviour = down
        async with scene.running():
            await asyncio.sleep(5.0)
        return entry_id

    entry_id = run_virtually(work())
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == f"settlement entry {entry_id} is REJECTED, and the store did not take it: it is sent again"


REFUSED_FOR_S = 100.0
ALONE: dict[str, Callable[[], Exception] | None] = {
    "confirmed": None,
    "rejected": lambda: WalletRejected(wallet=FACTS),
    "damaged": Damaged,
}


@pytest.mark.parametrize("problem", sorted(OF_ONE, key=str), ids=str)
@pytest.mark.parametrize("end", ALONE)
def test_an_end_that_the_store_refuses_holds_no_other_up(
    end: str, problem: Problem, caplog: pytest.LogCaptureFixture
) -> None:
    """The others are written and new ones taken; this one is not sent again, logged once, and written at last."""
    make = ALONE[end]
    states = {"confirmed": State.SETTLED, "rejected": State.REJECTED, "damaged": State.UNRESOLVED}

    async def behaviour(_entry: Entry) -> None:
        if make is not None:
            raise make()

    async def work() -> str:
        scene = _scene(behaviour)
        assert isinstance(scene.store, FailingStore)
        first, *others = await scene.add(4)
        scene.store.refuses, scene.store.problem = {first}, problem
        async with scene.running() as settler:
            await asyncio.sleep(POLL_S)
            assert [await scene.state(each) for each in others] == [states[end]] * 3
            # Confirmations are written together first; each request that failed is counted.
            failed = [each for each in scene.events if isinstance(each, SettlementStoreFailed)]
            assert len(failed) == (2 if end == "confirmed" else 1)
            (late_one,) = await scene.add()
            asked = scene.store.requests
            await asyncio.sleep(REFUSED_FOR_S)
            assert await scene.state(late_one) is states[end]
            assert settler.ends.unwritten == {first: states[end]}
            assert await scene.state(first) is State.PENDING
            # It is tried again now and then only.
            tries = scene.store.requests - asked - 1
            assert 1 < tries <= REFUSED_FOR_S / ends_module.AGAIN_S
            scene.store.refuses = set()
            await asyncio.sleep(LEASE_S + ends_module.AGAIN_S + POLL_S)
            assert (await scene.state(first), settler.ends.unwritten) == (states[end], {})
        assert sorted(entry.entry_id for _, entry in scene.sent) == sorted([first, *others, late_one])
        return first

    first = run_virtually(work())
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"settlement entry {first} is {states[end]}; not written: settlement store")


@virtually
async def test_a_store_that_refuses_many_ends_counts_as_failing() -> None:
    """Nothing more is taken, and so sent, than this process can remember not to send again."""
    scene = _scene(confirms)
    assert isinstance(scene.store, FailingStore)
    ids = await scene.add(100)
    scene.store.refuses = set(ids)
    async with scene.running() as settler:
        await asyncio.sleep(OUTAGE_S)
        few = len(scene.sent)
        assert ends_module.UNWRITABLE_MAX < few < len(ids)
        assert len(settler.ends.unwritten) == few
        scene.store.refuses = set()
        await asyncio.sleep(2 * STORE_DELAY_MAX_S + LEASE_S)
        assert {await scene.state(each) for each in ids} == {State.SETTLED}
    assert len(scene.sent) == len(ids)


@virtually
async def test_refused_ends_that_were_written_at_last_count_no_more() -> None:
    """However many there were in the course of time, the store does not count as failing."""
    scene = _scene(confirms)
    assert isinstance(scene.store, FailingStore)
    async with scene.running() as settler:
        for _ in range(3):
            scene.store.refuses = set(await scene.add(ends_module.UNWRITABLE_MAX))
            await asyncio.sleep(10 * POLL_S)
            assert len(settler.ends.unwritten) == ends_module.UNWRITABLE_MAX
            scene.store.refuses = set()
            await asyncio.sleep(ends_module.AGAIN_S + POLL_S)
            assert (settler.ends.unwritten, scene.store_failures) == ({}, 0)


@virtually
async def test_a_store_that_fails_as_a_whole_is_asked_once() -> None:
    """What it says leaves no doubt that others would fail too: each would take as long as this one."""
    scene = _scene(confirms)
    assert isinstance(scene.store, FailingStore)
    settler = scene.settler()
    for entry_id in await scene.add(3):
        settler.confirm(entry_id)
    scene.store.is_down = True
    with pytest.raises(StoreError):
        await settler.ends.write()
    assert scene.store.requests == 1


class Owned:
    """One entry that a process owns, and the ends that this process knows of."""

    def __init__(self) -> None:
        self.store = InlineStore(asyncio.get_running_loop().time)
        self.refused: list[Refusal] = []
        self.ends = Ends(self.store, lambda _: None, self.refused.append, lambda: None)
        self.entry_id = ""

    async def begin(self) -> Entry:
        """Write the entry and take it."""
        self.entry_id = (await add(self.store, new_call())).entry_id
        return await self.taken()

    async def taken(self, lease_s: float = FAR_S) -> Entry:
        """Take the entry."""
        (entry,) = await self.store.take(1, lease_s, OPERATIONS)
        return entry

    async def state(self) -> State:
        """Return the entry's state."""
        found = await self.store.get(self.entry_id)
        assert found is not None
        return found.state


def refusal_of(entry: Entry, reason: str, *, never_repeat: bool = False) -> Refusal:
    """Return the wallet's no about an entry."""
    return Refusal(entry, State.REJECTED, Last(reason), 0.0, never_repeat)


async def test_a_confirmation_wins_over_a_refusal() -> None:
    """One attempt was refused, and a caller of the same request has its success: the entry is SETTLED."""
    owned = Owned()
    owned.ends.refuse(refusal_of(await owned.begin(), "WALLET_REJECTED"))
    owned.ends.confirm(owned.entry_id)
    assert owned.ends.unwritten == {owned.entry_id: State.SETTLED}
    await owned.ends.write()
    assert (await owned.state(), owned.refused, owned.ends.unwritten) == (State.SETTLED, [], {})


@pytest.mark.parametrize("never_repeat", [True, False], ids=["another's token", "a no"])
async def test_what_must_never_be_retried_is_refused_when_it_is_owned_again(*, never_repeat: bool) -> None:
    """Another owner had it when the refusal was to be written. A plain no is forgotten: that owner decides."""
    owned = Owned()
    entry = await owned.begin()
    await owned.store.release(entry.entry_id, entry.fence)
    other = await owned.taken()
    owned.ends.refuse(refusal_of(entry, "WALLET_ECHO_MISMATCH", never_repeat=never_repeat))
    await owned.ends.write()
    assert (await owned.state(), owned.refused) == (State.PENDING, [])
    assert (owned.entry_id in owned.ends) is never_repeat
    await owned.store.release(other.entry_id, other.fence)
    if never_repeat:
        await owned.ends.taken_again(await owned.taken())
        assert (await owned.state(), [one.entry.fence for one in owned.refused]) == (State.REJECTED, [3])


async def test_what_has_ended_and_was_retried_since_is_due_at_once() -> None:
    """A take that was under way at its end returns it: it goes back unsent, and the next take has it."""
    owned = Owned()
    owned.ends.refuse(refusal_of(await owned.begin(), "WALLET_REJECTED"))
    await owned.ends.write()
    assert await owned.store.retry(owned.entry_id) is Change.DONE
    entry = await owned.taken()
    assert owned.entry_id in owned.ends
    await owned.ends.taken_again(entry)
    owned.ends.forget_written(())
    assert owned.entry_id not in owned.ends
    assert (await owned.taken()).attempts == entry.attempts


async def test_a_blocked_entry_stays_leased() -> None:
    """Given back, it would be taken over and over until the call's write has come."""
    owned = Owned()
    entry = await owned.begin()
    owned.ends.block(owned.entry_id)
    await owned.ends.taken_again(entry)
    assert await owned.store.take(1, FAR_S, OPERATIONS) == []


async def test_an_end_is_known_for_as_long_as_its_entry_may_be_sent() -> None:
    """An attempt that waits was taken before: the next take must not make the end forgotten."""
    owned = Owned()
    await owned.begin()
    owned.ends.confirm(owned.entry_id)
    await owned.ends.write()
    owned.ends.forget_written({owned.entry_id})
    assert owned.entry_id in owned.ends
    owned.ends.forget_written(set())
    assert owned.entry_id not in owned.ends


async def test_few_lost_refusals_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten first: memory stays bounded, whatever the wallet answers."""
    monkeypatch.setattr(ends_module, "LOST_MAX", 2)
    store = InlineStore(asyncio.get_running_loop().time)
    ends = Ends(store, lambda _: None, lambda _: None, lambda: None)
    for name in "abc":
        await add(store, new_call(name))
        (entry,) = await store.take(1, 0.0, OPERATIONS)
        await store.take(1, FAR_S, OPERATIONS)
        ends.refuse(refusal_of(entry, "WALLET_ECHO_MISMATCH", never_repeat=True))
        await ends.write()
    kept = [entry.entry_id in ends for entry in (await store.page(10)).entries]
    assert kept == [True, True, False]
