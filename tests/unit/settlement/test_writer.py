"""The memory queue in front of the store, in virtual time: order, batches, bounds, and a store that fails."""

import asyncio
from collections.abc import Sequence

import pytest

from bridge.settlement.entry import Added, CallEnd, NewCall, State, WriteOrder
from bridge.settlement.store import Problem, StoreError
from bridge.settlement.suspects import REFUSALS_MAX
from bridge.settlement.writer import BATCH_MAX, DELAY_MAX_S, ENDS_WAIT_S, FLUSH_S, GAP_S, Writer
from bridge.settlement.written import Write
from tests.support.inline_store import InlineStore
from tests.support.settlement_calls import new_call
from tests.support.virtual_time import virtually


class Store(InlineStore):
    """A store which remembers its batches and fails when it is asked to."""

    def __init__(self) -> None:
        super().__init__(asyncio.get_running_loop().time)
        self.batches: list[list[Write]] = []
        self.orders: list[WriteOrder] = []
        self.write_s = 0.0
        self.error: Exception | None = None
        self.refuses: set[str] = set()
        """Tickets: a batch with one of these fails."""
        self.refusal: Exception = RuntimeError()
        self.loses_answers = False
        """Carries writes out and says that it has not."""

    async def write(self, writes: Sequence[Write], order: WriteOrder | None = None) -> list[Added | None]:
        """Write a batch, if it works."""
        self.batches.append(list(writes))
        self.orders += [] if order is None else [order]
        await asyncio.sleep(self.write_s)
        if self.error is not None and not self.loses_answers:
            raise self.error
        if self.refuses & {write.ticket for write in writes}:
            raise self.refusal
        results = await super().write(writes, order)
        if self.error is not None:
            raise self.error
        return results


DOWN = StoreError("sqlite://", Problem.UNREACHABLE)


class Scene:
    """A writer that runs, and its store."""

    def __init__(self, **limits: int) -> None:
        self.store = Store()
        self.failures = 0
        self.successes = 0
        self.given_up: list[NewCall] = []
        self.writer = Writer(self.store, self._failed, self._works, self.given_up.append, **limits)
        self.task = asyncio.create_task(self.writer.run())

    async def stop(self) -> list[NewCall]:
        """End the writer; return what stays unwritten."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        return await self.writer.flush()

    async def states(self) -> list[State]:
        """Return the states of all entries, newest first."""
        return [entry.state for entry in (await self.store.page(1000)).entries]

    def _failed(self, _error: StoreError) -> None:
        self.failures += 1

    def _works(self) -> None:
        self.successes += 1


@virtually
async def test_calls_that_end_together_share_a_write() -> None:
    """Those of one turn of the loop are one batch; those that come meanwhile are the next."""
    scene = Scene()
    scene.store.write_s = 0.01
    written = [scene.writer.put(new_call(str(number))) for number in range(50)]
    await asyncio.sleep(0.005)
    written += [scene.writer.put(new_call(str(number))) for number in range(50, 80)]
    results = await asyncio.gather(*(one for one in written if one is not None))
    assert [len(batch) for batch in scene.store.batches] == [50, 30]
    assert len({added.entry_id for added in results if added is not None}) == 80
    assert await scene.stop() == []


@virtually
async def test_an_end_waits_behind_a_late_insert() -> None:
    """The store takes two seconds for the insert: the end of the same call comes after it, and nothing stays."""
    scene = Scene()
    scene.store.write_s = 2.0
    call = new_call(is_owed=False)
    scene.writer.put(call)
    await asyncio.sleep(0.05)
    scene.writer.end(CallEnd(call.ticket, is_success=False))
    await asyncio.sleep(10.0)
    assert scene.store.batches == [[call], [CallEnd(call.ticket, is_success=False)]]
    assert await scene.states() == []
    assert await scene.stop() == []


@virtually
async def test_certain_ends_go_with_the_next_call() -> None:
    """No call waits for them: they share the transaction of a call that comes soon, and their order is kept."""
    scene = Scene()
    calls = [new_call(str(number), is_owed=False) for number in range(3)]
    ends = [CallEnd(call.ticket, is_success=True) for call in calls]
    for call in calls:
        scene.writer.put(call)
    await asyncio.sleep(ENDS_WAIT_S)
    for end in ends:
        scene.writer.end(end)
    await asyncio.sleep(ENDS_WAIT_S / 2)
    scene.writer.put(last := new_call("last"))
    await asyncio.sleep(ENDS_WAIT_S / 4)
    assert scene.store.batches == [calls, [*ends, last]]
    assert await scene.stop() == []


@virtually
async def test_calls_under_way_that_follow_each_other_closely_share_a_write() -> None:
    """The first is written at once, those that begin within the gap together at its end: a transaction costs much."""
    scene = Scene()
    calls = [new_call(str(number), is_owed=False) for number in range(10)]
    began = asyncio.get_running_loop().time()
    for call in calls:
        written = scene.writer.put(call)
        await asyncio.sleep(GAP_S / 20)
    assert [len(batch) for batch in scene.store.batches] == [1]
    assert written is not None
    await written
    assert scene.store.batches == [calls[:1], calls[1:]]
    assert asyncio.get_running_loop().time() - began == pytest.approx(GAP_S)
    assert await scene.stop() == []


@virtually
async def test_a_call_that_has_ended_does_not_wait_for_others() -> None:
    """Its caller waits for PENDING: it is written within the gap, too, and takes along what waits."""
    scene = Scene()
    scene.writer.put(first := new_call("first", is_owed=False))
    await asyncio.sleep(GAP_S / 10)
    scene.writer.put(second := new_call("second", is_owed=False))
    scene.writer.put(ended := new_call("ended"))
    await asyncio.sleep(GAP_S / 10)
    assert scene.store.batches == [[first], [second, ended]]
    assert await scene.stop() == []


@virtually
async def test_certain_ends_that_stay_alone_do_not_wait_for_long() -> None:
    """They are written together when the first of them has waited for its time."""
    scene = Scene()
    ends = [CallEnd(f"ticket {number}", is_success=True) for number in range(3)]
    for end in ends:
        scene.writer.end(end)
        await asyncio.sleep(ENDS_WAIT_S / 5)
    assert scene.store.batches == []
    await asyncio.sleep(ENDS_WAIT_S)
    assert scene.store.batches == [ends]
    assert scene.writer.queued == 0
    assert await scene.stop() == []


@virtually
async def test_a_batch_of_certain_ends_does_not_wait() -> None:
    """As many as share a transaction are written at once, so that the queue does not grow."""
    scene = Scene()
    for number in range(BATCH_MAX):
        scene.writer.end(CallEnd(f"ticket {number}", is_success=True))
    await asyncio.sleep(ENDS_WAIT_S / 10)
    assert [len(batch) for batch in scene.store.batches] == [BATCH_MAX]
    assert await scene.stop() == []


@virtually
async def test_a_failed_batch_is_tried_again_and_keeps_its_order() -> None:
    """Nothing is lost, nothing overtakes, and the store is left alone in between, at most for some seconds."""
    scene = Scene()
    scene.store.error = DOWN
    calls = [new_call(str(number)) for number in range(3)]
    written = [scene.writer.put(call) for call in calls]
    await asyncio.sleep(60.0)
    assert scene.writer.is_failing
    assert 10 <= scene.failures <= 25
    scene.store.error = None
    await asyncio.sleep(DELAY_MAX_S)
    assert scene.store.batches[-1] == calls
    assert all(one is not None and one.is_done for one in written)
    assert (scene.writer.is_failing, scene.writer.queued) == (False, 0)
    assert await scene.stop() == []


@virtually
async def test_a_write_of_unclear_end_is_done_once() -> None:
    """The store carried the batch out and its answer was lost: the repetition finds the same entry."""
    scene = Scene()
    scene.store.error, scene.store.loses_answers = DOWN, True
    call = new_call(is_owed=False)
    scene.writer.put(call)
    await asyncio.sleep(1.0)
    # It may stand in the store, so that its end must be written, too.
    scene.writer.end(CallEnd(call.ticket, is_success=False))
    await asyncio.sleep(1.0)
    scene.store.error = None
    await asyncio.sleep(10.0)
    assert await scene.states() == []
    assert await scene.stop() == []


@virtually
async def test_an_insert_that_arrives_after_the_calls_end_stays_away() -> None:
    """A request timed out and is retried, the call ends, and only then does the store carry the first one out."""
    scene = Scene()
    call = new_call(is_owed=False)
    scene.store.error = StoreError("sqlite://", Problem.TIMEOUT)
    scene.writer.put(call)
    await asyncio.sleep(0.05)
    (first,) = scene.store.orders
    scene.store.error = None
    scene.writer.end(CallEnd(call.ticket, is_success=False))
    await asyncio.sleep(10.0)
    with pytest.raises(StoreError):
        await scene.store.write([call], first)
    assert await scene.states() == []
    assert await scene.stop() == []


@virtually
async def test_every_batch_of_a_writer_has_a_number_of_its_own() -> None:
    """One that is retried, too; two writers, as of two processes, have different ids."""
    scene, other = Scene(), Scene()
    scene.store.error = DOWN
    for each in (scene, other):
        each.writer.put(new_call())
    await asyncio.sleep(1.0)
    scene.store.error = None
    await asyncio.sleep(5.0)
    numbers = [order.number for order in scene.store.orders]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 2
    assert len({order.writer_id for order in (*scene.store.orders, *other.store.orders)}) == 2
    assert await scene.stop() == await other.stop() == []


@virtually
async def test_a_writer_is_behind_until_what_a_failure_delayed_is_written() -> None:
    """Longer than the failure itself: until the last write that had to wait; what comes later does not count."""
    scene = Scene()
    calls = [new_call(str(number)) for number in range(BATCH_MAX + 10)]
    seen: list[tuple[bool, bool]] = []

    async def look(seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((scene.writer.is_failing, scene.writer.is_behind))

    scene.writer.put(calls[0])
    await look(0.01)
    scene.store.error = DOWN
    for call in calls[1:]:
        scene.writer.put(call)
    await look(1.0)
    scene.store.error, scene.store.write_s = None, 1.0
    while scene.writer.queued:
        await look(0.5)
        if len(seen) < 20:
            scene.writer.put(new_call("later"))
    assert list(dict.fromkeys(seen)) == [(False, False), (True, True), (False, True)]
    assert seen[-1] == (False, False)
    assert await scene.stop() == []


@virtually
async def test_a_writer_without_a_write_is_not_behind() -> None:
    """A bridge that starts before its store is reachable has nothing to write yet: its settler must not wait."""
    scene = Scene()
    scene.writer.is_failing = True
    assert not scene.writer.is_behind
    assert await scene.stop() == []


@virtually
async def test_calls_that_begin_and_end_while_the_store_is_down_leave_nothing() -> None:
    """With durability "before" and a store that is down for hours memory stays flat: an end undoes its insert."""
    scene = Scene(entries_max=10)
    scene.store.error = DOWN
    stuck = new_call("first")
    scene.writer.put(stuck)
    await asyncio.sleep(1.0)
    for number in range(1000):
        call = new_call(f"later {number}", is_owed=False)
        assert scene.writer.put(call) is not None
        assert scene.writer.end(CallEnd(call.ticket, is_success=False))
    assert scene.writer.queued == 1
    scene.store.error = None
    await asyncio.sleep(10.0)
    assert len(await scene.states()) == 1
    assert await scene.stop() == []


@virtually
async def test_an_unknown_end_takes_the_place_of_its_insert() -> None:
    """What waits of a call is written once, as it is in the end."""
    scene = Scene()
    scene.store.error = DOWN
    scene.writer.put(new_call("first"))
    await asyncio.sleep(1.0)
    held = new_call("second", is_owed=False)
    scene.writer.put(held)
    scene.writer.put(new_call("second", ticket=held.ticket))
    assert scene.writer.queued == 2
    scene.store.error = None
    await asyncio.sleep(10.0)
    assert await scene.states() == [State.PENDING, State.PENDING]
    assert await scene.stop() == []


LIMITS = {"in number": ({"entries_max": 5}, 5), "in bytes": ({"bytes_max": 200}, 3)}


@pytest.mark.parametrize(("limits", "fitting"), LIMITS.values(), ids=LIMITS)
@virtually
async def test_the_queue_is_bounded(limits: dict[str, int], fitting: int) -> None:
    """What does not fit is refused at once; room comes back with the store."""
    scene = Scene(**limits)
    scene.store.error = DOWN
    taken = [scene.writer.put(new_call(f"{number:04}")) is not None for number in range(10)]
    assert taken == [True] * fitting + [False] * (10 - fitting)
    scene.store.error = None
    await asyncio.sleep(10.0)
    assert scene.writer.put(new_call("again")) is not None
    assert await scene.stop() == []


@virtually
async def test_what_cannot_be_written_at_the_end_is_returned() -> None:
    """The last try is short, and every call that waits is named: the ends of calls need no word."""
    scene = Scene()
    scene.store.error = DOWN
    calls = [new_call(str(number)) for number in range(3)]
    for call in calls:
        scene.writer.put(call)
    await asyncio.sleep(1.0)
    scene.writer.end(CallEnd("unknown", is_success=True))
    began = asyncio.get_running_loop().time()
    assert await scene.stop() == calls
    assert asyncio.get_running_loop().time() - began <= FLUSH_S


@virtually
async def test_a_store_that_hangs_does_not_hold_the_end_up() -> None:
    """A last write that does not come back within two seconds is given up."""
    scene = Scene()
    scene.store.write_s = 3600.0
    call = new_call()
    scene.writer.put(call)
    await asyncio.sleep(1.0)
    began = asyncio.get_running_loop().time()
    assert await scene.stop() == [call]
    assert asyncio.get_running_loop().time() - began == pytest.approx(FLUSH_S, abs=0.01)


@virtually
async def test_an_unexpected_fault_of_a_store_ends_nothing() -> None:
    """It counts as a failure like any other, and the queue goes on when it is over."""
    scene = Scene()
    scene.store.error = RuntimeError("a secret")
    scene.writer.put(new_call())
    await asyncio.sleep(1.0)
    assert scene.failures >= 1
    scene.store.error = None
    await asyncio.sleep(10.0)
    assert await scene.states() == [State.PENDING]
    assert await scene.stop() == []


@virtually
async def test_an_empty_queue_is_not_behind() -> None:
    """A store that was down at the start, or until the calls that waited had ended, keeps no entry from being taken."""
    scene = Scene()
    scene.writer.is_failing = True
    seen = [scene.writer.is_behind]
    scene.store.error = DOWN
    stuck = new_call("tried")
    scene.writer.put(stuck)
    await asyncio.sleep(1.0)
    seen.append(scene.writer.is_behind)
    scene.store.error = None
    await asyncio.sleep(DELAY_MAX_S)
    scene.writer.is_failing = True
    scene.writer.put(late := new_call("later", is_owed=False))
    scene.writer.end(CallEnd(late.ticket, is_success=True))
    seen.append(scene.writer.is_behind)
    assert seen == [False, True, False]
    assert await scene.stop() == []


@pytest.mark.parametrize(
    "refusal", [RuntimeError(), StoreError("sqlite://", Problem.DAMAGED)], ids=["fault", "damaged"]
)
@virtually
async def test_a_write_that_the_store_refuses_holds_no_other_up(refusal: Exception) -> None:
    """Each of its batch is tried alone; those that the store takes are written at once, the one it refuses is given up.

    That is reported, once, and afterwards many share a batch again.
    """
    scene = Scene()
    calls = [new_call(str(number)) for number in range(20)]
    scene.store.refuses, scene.store.refusal = {calls[7].ticket}, refusal
    written = [scene.writer.put(call) for call in calls]
    await asyncio.sleep(2.0)
    assert (scene.given_up, scene.writer.queued, scene.writer.is_failing) == ([calls[7]], 0, False)
    assert [one.added is None for one in written if one is not None] == [call is calls[7] for call in calls]
    assert len(await scene.states()) == 19
    assert sum(calls[7] in batch for batch in scene.store.batches) == 1 + REFUSALS_MAX
    later = [new_call(f"later {number}") for number in range(20)]
    for call in later:
        scene.writer.put(call)
    await asyncio.sleep(1.0)
    assert scene.store.batches[-1] == later
    assert await scene.stop() == []


@virtually
async def test_a_refused_write_that_is_alone_is_kept() -> None:
    """Nothing shows that the store would take another: it is tried until others are taken, and then given up.

    Others that come are tried at once, and calls wait for them; the settler goes on.
    """
    scene = Scene()
    call = new_call("alone")
    scene.store.refuses = {call.ticket}
    scene.writer.put(call)
    await asyncio.sleep(60.0)
    assert (scene.given_up, scene.writer.is_failing, scene.writer.is_behind) == ([], False, False)
    assert 10 <= scene.failures <= 25
    for number in range(REFUSALS_MAX - 1):
        assert scene.given_up == []
        written = scene.writer.put(new_call(f"other {number}"))
        await asyncio.sleep(GAP_S)
        assert written is not None
        assert written.is_done
    assert (scene.given_up, scene.writer.queued, scene.writer.is_failing) == ([call], 0, False)
    assert len(await scene.states()) == REFUSALS_MAX - 1
    assert await scene.stop() == []


@virtually
async def test_a_refused_write_that_an_outage_has_left_alone_keeps_no_one_waiting() -> None:
    """The settler may go on although the store has taken nothing since the outage: that may be so for ever."""
    scene = Scene()
    scene.store.error = DOWN
    call = new_call("alone")
    scene.store.refuses = {call.ticket}
    scene.writer.put(call)
    await asyncio.sleep(1.0)
    assert scene.writer.is_behind
    scene.store.error = None
    await asyncio.sleep(DELAY_MAX_S)
    assert (scene.writer.is_behind, scene.writer.queued) == (False, 1)
    # Before the next one is written, no one knows whether it is refused, too.
    scene.store.error = DOWN
    scene.writer.put(new_call("other"))
    await asyncio.sleep(DELAY_MAX_S)
    assert scene.writer.is_behind
    scene.store.error = None
    await asyncio.sleep(2 * DELAY_MAX_S)
    assert (scene.writer.is_behind, scene.writer.queued) == (False, 1)
    assert await scene.stop() == [call]


@virtually
async def test_a_store_that_fails_for_an_unknown_cause_loses_nothing() -> None:
    """An hour in which it takes nothing: no write is given up, and all are written within seconds when it works."""
    scene = Scene()
    scene.store.error = StoreError("sqlite://", Problem.FAILED)
    calls = [new_call(str(number)) for number in range(2 * BATCH_MAX)]
    for call in calls:
        scene.writer.put(call)
    await asyncio.sleep(3600.0)
    assert (scene.given_up, scene.writer.queued, scene.writer.is_failing) == ([], len(calls), True)
    scene.store.error = None
    await asyncio.sleep(2 * DELAY_MAX_S)
    assert (scene.given_up, scene.writer.queued) == ([], 0)
    assert await scene.stop() == []


@virtually
async def test_a_refused_write_holds_no_other_up_after_an_outage() -> None:
    """While nothing was taken, each was refused alone: it is not the oldest alone that is tried again."""
    scene = Scene()
    scene.store.error = StoreError("sqlite://", Problem.FAILED)
    calls = [new_call(str(number)) for number in range(3)]
    scene.store.refuses = {calls[0].ticket}
    for call in calls:
        scene.writer.put(call)
    await asyncio.sleep(600.0)
    scene.store.error = None
    await asyncio.sleep(4 * DELAY_MAX_S)
    assert (scene.given_up, scene.writer.queued) == (calls[:1], 0)
    assert await scene.stop() == []


@virtually
async def test_what_comes_while_a_write_is_refused_is_written_at_once() -> None:
    """It waits for the store's answer, and not for the pause after that."""
    scene = Scene()
    scene.store.write_s = 0.01
    first, second = new_call("first"), new_call("second")
    scene.store.refuses = {first.ticket}
    scene.writer.put(first)
    await asyncio.sleep(0.005)
    written = scene.writer.put(second)
    await asyncio.sleep(0.02)
    assert written is not None
    assert written.is_done
    assert await scene.stop() == [first]


@virtually
async def test_several_refused_writes_among_many() -> None:
    """All are found, wherever they stand, also where new writes come all the time; every other write is taken."""
    scene = Scene()
    calls = [new_call(str(number)) for number in range(3 * BATCH_MAX)]
    bad = [calls[0], calls[BATCH_MAX - 1], calls[BATCH_MAX], calls[2 * BATCH_MAX]]
    scene.store.refuses = {call.ticket for call in bad}
    for call in calls:
        scene.writer.put(call)
        await asyncio.sleep(0.002)
    await asyncio.sleep(30.0)
    assert sorted(scene.given_up, key=calls.index) == bad
    assert scene.writer.queued == 0
    assert (await scene.store.counts()).by_state[State.PENDING] == len(calls) - len(bad)
    assert await scene.stop() == []


@virtually
async def test_the_last_write_leaves_only_what_is_refused() -> None:
    """At the end of the bridge, too, one write that is refused keeps no other from the store."""
    scene = Scene()
    calls = [new_call(str(number)) for number in range(5)]
    scene.store.refuses = {calls[0].ticket}
    scene.task.cancel()
    for call in calls:
        scene.writer.put(call)
    assert await scene.stop() == []
    assert scene.given_up == calls[:1]
    assert len(await scene.states()) == 4


@virtually
async def test_what_is_given_up_without_a_report() -> None:
    """The certain end of a call, whose entry falls due, and a call that is under way: it goes on."""
    scene = Scene()
    held, other = new_call("held", is_owed=False), new_call("other")
    end = CallEnd("a ticket that is refused", is_success=True)
    scene.store.refuses = {held.ticket, end.ticket}
    for call in (held, other):
        scene.writer.put(call)
    scene.writer.end(end)
    for number in range(REFUSALS_MAX):
        scene.writer.put(new_call(str(number)))
        await asyncio.sleep(DELAY_MAX_S)
    assert (scene.given_up, scene.writer.queued) == ([], 0)
    assert await scene.stop() == []


@virtually
async def test_the_writes_of_one_call_stay_together() -> None:
    """Its insert may have been carried out with its end: alone, it would bring the call back for a moment."""
    scene = Scene()
    scene.store.error = DOWN
    held, bad = new_call("held", is_owed=False), new_call("bad")
    scene.writer.put(held)
    scene.writer.put(bad)
    await asyncio.sleep(1.0)
    scene.writer.end(end := CallEnd(held.ticket, is_success=False))
    scene.store.refuses, scene.store.error = {bad.ticket}, None
    await asyncio.sleep(10.0)
    assert scene.store.batches.count([held, end]) == 1
    assert all(held in batch for batch in scene.store.batches if end in batch)
    assert await scene.states() == []
    assert await scene.stop() == [bad]
