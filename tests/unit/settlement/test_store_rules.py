"""The rules of bridge/settlement/store.py, on each store: SQLite and a real Redis."""

import asyncio

import msgspec
import pytest

from bridge.settlement.entry import CALLS_MAX, SCHEMA, CallEnd, Change, Entry, Last, NewCall, State, WriteOrder
from bridge.settlement.sealing import Keys
from bridge.settlement.store import CursorError, Problem, Store, StoreError
from tests.support.settlement_calls import FAR_S, KEYS, OPERATION, OPERATIONS, TIMEOUT, add, end, new_call

OLD, NEW = bytes(range(32)), bytes(range(100, 132))
NEW_OPERATION = "wallet.v1.WalletService/New"


async def entry_of(store: Store, entry_id: str) -> Entry:
    """Return an entry that is there."""
    found = await store.get(entry_id)
    assert found is not None
    return found


async def taken(store: Store, lease_s: float = FAR_S) -> Entry:
    """Take the only entry that is due."""
    (entry,) = await store.take(10, lease_s, OPERATIONS)
    return entry


async def state_of(store: Store, entry_id: str) -> State:
    """Return the state of an entry that is there."""
    return (await entry_of(store, entry_id)).state


def _owed(call: NewCall) -> NewCall:
    """Return a call that was under way as it is written when it has ended UNKNOWN."""
    return msgspec.structs.replace(call, is_owed=True, due_in_s=0.0, last=TIMEOUT)


def _end(call: NewCall) -> CallEnd:
    return CallEnd(call.ticket, is_success=False)


# --- calls ------------------------------------------------------------------------------------------------------


async def test_a_call_becomes_an_entry_that_holds_what_was_written(store: Store) -> None:
    """Every field comes back as it went in: 64-bit numbers, identities, the ciphertext's bytes."""
    call = new_call(provider_id=2**64 - 1, identities=("a.example", "spiffe://b/c"), last=Last("R", 2**64 - 1))
    added = await add(store, call)
    entry = await entry_of(store, added.entry_id)
    assert (added.is_new, added.state, added.entry_id) == (True, State.PENDING, call.sealed.entry_id)
    assert (entry.operation, entry.provider_id, entry.key_id) == (OPERATION, 2**64 - 1, KEYS.first_id)
    assert (entry.calls, entry.last, entry.fingerprint) == ((call.call,), call.last, call.fingerprint)
    assert (entry.ciphertext, entry.schema, entry.attempts) == (call.sealed.ciphertext, SCHEMA, 0)
    assert (entry.is_leased, entry.never_repeat, entry.ended, entry.closed_reason) == (False, False, 0.0, "")
    assert entry.created == entry.pending_since == entry.due <= entry.read_at
    assert KEYS.open(entry) == b"content of a"


async def test_further_calls_of_a_request_attach_to_its_open_entry(store: Store) -> None:
    """One open entry per request, which lists its calls, oldest first."""
    first = await add(store, new_call(call_id="1", last=Last("WALLET_UNKNOWN_ERROR", 2)))
    second = await add(store, new_call(call_id="2", last=Last("WALLET_CONNECTION_LOST")))
    other = await add(store, new_call("b", call_id="3"))
    entry = await entry_of(store, first.entry_id)
    assert (second.entry_id, second.is_new, other.is_new) == (first.entry_id, False, True)
    assert [call.call_id for call in entry.calls] == ["1", "2"]
    assert entry.last == Last("WALLET_CONNECTION_LOST")


@pytest.mark.parametrize(
    ("first", "second"), [((OLD, NEW), (NEW, OLD)), ((NEW, OLD), (OLD, NEW))], ids=["before", "after"]
)
async def test_an_open_entry_is_found_while_keys_are_rotated(
    store: Store, first: tuple[bytes, ...], second: tuple[bytes, ...]
) -> None:
    """Two replicas of which one has the new key first already write one entry for one request."""
    added = await add(store, new_call(keys=Keys(first)))
    assert (await add(store, new_call(keys=Keys(second)))).entry_id == added.entry_id


async def test_a_ticket_is_written_once(store: Store) -> None:
    """A write of unclear end can be retried: it makes no second call and no second entry."""
    call = new_call()
    first = await add(store, call)
    again = await add(store, call)
    assert (again.entry_id, again.is_new) == (first.entry_id, False)
    assert len((await entry_of(store, first.entry_id)).calls) == 1


async def test_an_entry_lists_the_newest_calls_only(store: Store) -> None:
    """A caller that retries for hours fills no entry."""
    calls = [new_call(call_id=str(number)) for number in range(CALLS_MAX + 3)]
    await store.write(calls)
    entry = await entry_of(store, calls[0].sealed.entry_id)
    assert [call.call_id for call in entry.calls] == [str(number) for number in range(3, CALLS_MAX + 3)]
    assert await store.of_call("0") == (None, 0)


async def test_an_entry_whose_oldest_call_was_dropped_is_kept(store: Store) -> None:
    """The dropped call may still be under way: ends of the others do not delete the entry."""
    calls = [new_call(is_owed=False, due_in_s=FAR_S) for _ in range(CALLS_MAX + 1)]
    await store.write(calls)
    for call in calls[1:]:
        await end(store, call)
    assert await state_of(store, calls[0].sealed.entry_id) is State.PENDING


@pytest.mark.parametrize("is_owed", [True, False], ids=["ended UNKNOWN", "written again"])
async def test_a_call_that_its_entry_lists_no_more_is_still_its_own(store: Store, *, is_owed: bool) -> None:
    """It makes no second entry of the same id, and its process learns how the first one has ended."""
    first = new_call(is_owed=False, due_in_s=FAR_S, call_id="first")
    await store.write([first, *(new_call(call_id=str(number)) for number in range(CALLS_MAX))])
    await store.settle([first.sealed.entry_id])
    again = await add(store, _owed(first) if is_owed else first)
    assert (again.entry_id, again.is_new, again.state) == (first.sealed.entry_id, False, State.SETTLED)
    assert [entry.entry_id for entry in (await store.page(10)).entries] == [first.sealed.entry_id]


async def test_calls_of_one_write_are_carried_out_in_their_order(store: Store) -> None:
    """A removal behind its insert in one write leaves nothing; the next insert of the request is a new entry."""
    first, second = new_call(is_owed=False), new_call(is_owed=False)
    added = await store.write([first, _end(first), second])
    assert [one and one.entry_id for one in added] == [first.sealed.entry_id, None, second.sealed.entry_id]
    assert [entry.entry_id for entry in (await store.page(10)).entries] == [second.sealed.entry_id]


# --- calls that are under way -----------------------------------------------------------------------------------


async def test_a_call_under_way_holds_its_entry_back(store: Store) -> None:
    """No settler takes the entry before the time that the call has left."""
    call = new_call(is_owed=False, due_in_s=FAR_S)
    await add(store, call)
    assert await store.take(10, FAR_S, OPERATIONS) == []


async def test_an_entry_whose_call_has_vanished_is_taken(store: Store) -> None:
    """After a crash no one ends the call: when its time is over, the entry is due."""
    call = new_call(is_owed=False, due_in_s=0.0)
    await add(store, call)
    assert (await taken(store)).entry_id == call.sealed.entry_id


async def test_a_certain_end_removes_the_entry(store: Store) -> None:
    """With its only call an entry goes that was never answered PENDING."""
    call = new_call(is_owed=False)
    await add(store, call)
    await end(store, call)
    assert await store.get(call.sealed.entry_id) is None
    assert await store.of_call("call") == (None, 0)
    assert (await store.key_use()).in_use == frozenset()


async def test_an_unknown_end_makes_the_entry_due_at_once(store: Store) -> None:
    """The same ticket, written as owed: the time that was held is over."""
    call = new_call(is_owed=False, due_in_s=FAR_S)
    await add(store, call)
    ended = await add(store, _owed(call))
    assert (ended.state, ended.is_new) == (State.PENDING, False)
    assert (await taken(store)).last == TIMEOUT
    assert len((await entry_of(store, call.sealed.entry_id)).calls) == 1


async def test_a_held_insert_behind_its_unknown_end_changes_nothing(store: Store) -> None:
    """A write that comes late, after the call has ended, holds the entry no more."""
    call = new_call(is_owed=False, due_in_s=FAR_S)
    await add(store, _owed(call))
    await add(store, call)
    assert (await taken(store)).entry_id == call.sealed.entry_id


@pytest.mark.parametrize("is_success", [True, False])
async def test_an_end_that_overtakes_its_insert_is_kept(store: Store, *, is_success: bool) -> None:
    """The late insert is not carried out, not even twice."""
    call = new_call(is_owed=False)
    await end(store, call, is_success=is_success)
    for _ in range(2):
        assert (await add(store, call)).entry_id == ""
        assert await store.purge(0.0) == 0
    assert (await store.page(10)).entries == ()


@pytest.mark.parametrize("late", [1, 2], ids=["an earlier batch", "the same batch"])
async def test_a_batch_that_a_later_one_has_overtaken_changes_nothing(store: Store, late: int) -> None:
    """An insert whose request timed out arrives after the call was written again and has ended: it stays away."""
    call, other = new_call(is_owed=False), new_call("b")
    await store.write([call, _end(call)], WriteOrder("writer", 2))
    with pytest.raises(StoreError) as raised:
        await store.write([call, other], WriteOrder("writer", late))
    assert raised.value.problem is Problem.OVERTAKEN
    assert (await store.page(10)).entries == ()


async def test_a_batch_is_overtaken_by_its_own_writer_alone(store: Store) -> None:
    """Other processes count for themselves, and numbers may have gaps: a batch that failed leaves one."""
    for writer, number in (("one", 7), ("other", 1), ("one", 9), ("other", 2)):
        await store.write([new_call(f"{writer}/{number}")], WriteOrder(writer, number))
    assert len((await store.page(10)).entries) == 4


async def test_an_end_leaves_an_entry_that_others_need(store: Store) -> None:
    """The first call ends for certain while a second one of the same request is under way."""
    first, second = new_call(is_owed=False, call_id="1"), new_call(is_owed=False, call_id="2")
    await store.write([first, second])
    await end(store, first)
    entry = await entry_of(store, first.sealed.entry_id)
    assert (entry.state, [call.call_id for call in entry.calls]) == (State.PENDING, ["2"])
    await end(store, second)
    assert await store.get(entry.entry_id) is None


async def test_an_end_leaves_an_entry_that_is_owed(store: Store) -> None:
    """A caller was informed that the bridge goes on: another call's no takes nothing back."""
    first, second = new_call(), new_call(is_owed=False)
    await store.write([first, second])
    await end(store, second)
    assert await state_of(store, first.sealed.entry_id) is State.PENDING


@pytest.mark.parametrize("is_owed", [True, False])
async def test_a_success_settles_what_others_wait_for(store: Store, *, is_owed: bool) -> None:
    """The request is done, for every caller."""
    first, second = new_call(is_owed=is_owed), new_call(is_owed=False)
    await store.write([first, second])
    await end(store, second, is_success=True)
    entry = await entry_of(store, first.sealed.entry_id)
    assert (entry.state, entry.ciphertext) == (State.SETTLED, b"")
    assert (await add(store, _owed(first))).state is State.SETTLED


@pytest.mark.parametrize("path", ["rejected", "unresolved", "closed"])
async def test_a_success_settles_what_has_ended_otherwise(store: Store, path: str) -> None:
    """A call that was under way when its entry was refused, given up or closed."""
    call = new_call()
    await add(store, call)
    change = PATHS_TO_SETTLED[path]
    assert change is not None
    await change(store, await taken(store))
    await end(store, call, is_success=True)
    assert await state_of(store, call.sealed.entry_id) is State.SETTLED


async def test_a_retrying_caller_does_not_hold_the_settler_off(store: Store) -> None:
    """A call under way that attaches to an owed entry leaves its due time."""
    added = await add(store, new_call())
    await add(store, new_call(is_owed=False, due_in_s=FAR_S))
    assert (await taken(store)).entry_id == added.entry_id


async def test_a_later_call_under_way_holds_an_entry_longer(store: Store) -> None:
    """While only calls under way refer to an entry, it is due after the last of them."""
    first = await add(store, new_call(is_owed=False, due_in_s=0.0))
    await add(store, new_call(is_owed=False, due_in_s=FAR_S))
    await add(store, new_call(is_owed=False, due_in_s=0.0))
    entry = await entry_of(store, first.entry_id)
    assert entry.due > entry.read_at + FAR_S / 2


@pytest.mark.parametrize("is_owed", [True, False], ids=["from the beginning", "since the end of its call"])
async def test_an_owed_call_leaves_the_backoff_of_an_owed_entry(store: Store, *, is_owed: bool) -> None:
    """Callers that retry do not make the bridge retry faster."""
    call = new_call(is_owed=is_owed)
    await add(store, call)
    first = await add(store, _owed(call))
    entry = await taken(store)
    assert await store.postpone(entry.entry_id, entry.fence, FAR_S, TIMEOUT)
    await add(store, new_call(due_in_s=0.0))
    assert await store.take(10, FAR_S, OPERATIONS) == []
    assert (await entry_of(store, first.entry_id)).state is State.PENDING


@pytest.mark.parametrize("is_owed", [True, False])
async def test_a_call_leaves_the_lease_of_an_entry(store: Store, *, is_owed: bool) -> None:
    """A call that ends, or begins, while a settler owns the entry takes it from no one."""
    call = new_call(is_owed=False, due_in_s=0.0)
    await add(store, call)
    entry = await taken(store)
    await store.write([new_call(is_owed=is_owed, due_in_s=2 * FAR_S), new_call(is_owed=is_owed, due_in_s=0.0)])
    after = await entry_of(store, entry.entry_id)
    assert (after.due, after.is_leased, after.fence) == (entry.due, True, entry.fence)


# --- never repeated ---------------------------------------------------------------------------------------------


async def test_an_entry_that_is_never_repeated_is_rejected_at_once(store: Store) -> None:
    """An answer about another player: a person must look, and nothing is sent."""
    added = await add(store, new_call(never_repeat=True, last=Last("WALLET_ECHO_MISMATCH", 1)))
    entry = await entry_of(store, added.entry_id)
    assert (added.state, entry.state, entry.never_repeat) == (State.REJECTED, State.REJECTED, True)
    assert entry.last == Last("WALLET_ECHO_MISMATCH", 1)
    assert await store.take(10, FAR_S, OPERATIONS) == []
    assert await store.retry(entry.entry_id) is Change.NEVER_REPEAT
    assert await store.reclassify({1}) == []


async def test_never_repeat_stops_the_entry_that_is_there(store: Store) -> None:
    """Also when a settler owns it: what that one writes afterwards is refused."""
    added = await add(store, new_call(last=Last("WALLET_UNKNOWN_ERROR", 2)))
    entry = await taken(store)
    last = Last("WALLET_ECHO_MISMATCH", 1)
    assert (await add(store, new_call(never_repeat=True, last=last))).state is State.REJECTED
    assert not await store.postpone(added.entry_id, entry.fence, 0.0, TIMEOUT)
    after = await entry_of(store, added.entry_id)
    assert (after.state, after.is_leased, after.last) == (State.REJECTED, False, last)


async def test_a_request_that_is_never_repeated_stays_so_until_a_person_closes_it(store: Store) -> None:
    """Further calls of it attach, and their callers are not answered PENDING."""
    first = await add(store, new_call(never_repeat=True))
    second = await add(store, new_call())
    assert (second.entry_id, second.state) == (first.entry_id, State.REJECTED)
    assert await store.close_entry(first.entry_id, "looked at") is Change.DONE
    third = await add(store, new_call())
    assert (third.is_new, third.state) == (True, State.PENDING)


async def test_a_settlers_echo_mismatch_is_never_repeated(store: Store) -> None:
    """The same for an answer to the settler's own POST."""
    await add(store, new_call())
    entry = await taken(store)
    assert await store.reject(entry.entry_id, entry.fence, Last("WALLET_ECHO_MISMATCH", 5), never_repeat=True)
    assert await store.reclassify({5}) == []
    assert (await add(store, new_call())).state is State.REJECTED


# --- the settler ------------------------------------------------------------------------------------------------


async def test_what_is_due_longest_is_taken_first_and_once(store: Store) -> None:
    """Two takes share no entry, and the limit holds."""
    ids = [(await add(store, new_call(str(number)))).entry_id for number in range(5)]
    first = [entry.entry_id for entry in await store.take(3, FAR_S, OPERATIONS)]
    second = [entry.entry_id for entry in await store.take(3, FAR_S, OPERATIONS)]
    assert (first, second) == (ids[:3], ids[3:])


async def test_what_was_given_back_comes_behind_what_has_been_due_longer(store: Store) -> None:
    """By due time, not by age: an entry is not sent over and over while others wait."""
    ids = [(await add(store, new_call(str(number)))).entry_id for number in range(2)]
    (first,) = await store.take(1, FAR_S, OPERATIONS)
    await store.release(first.entry_id, first.fence)
    assert [entry.entry_id for entry in await store.take(2, FAR_S, OPERATIONS)] == ids[::-1]


async def test_many_takers_own_every_entry_once(store: Store) -> None:
    """Takes at the same moment, too."""
    await store.write([new_call(str(number)) for number in range(60)])
    takes = await asyncio.gather(*(store.take(7, FAR_S, OPERATIONS) for _ in range(20)))
    owned = [entry.entry_id for entries in takes for entry in entries]
    assert len(owned) == len(set(owned)) == 60


async def test_take_raises_fence_and_attempts(store: Store) -> None:
    """Both come with the entry, and the lease ends at its due time."""
    await add(store, new_call())
    first = await taken(store, lease_s=0.0)
    second = await taken(store)
    assert [(one.fence, one.attempts, one.is_leased) for one in (first, second)] == [(1, 1, True), (2, 2, True)]
    assert second.due == pytest.approx(second.read_at + FAR_S)


async def test_providers_are_taken_by_their_share(store: Store) -> None:
    """0 for one that is paused, 1 for a probe of any operation; those that are not named get what the limit leaves."""
    await store.write([new_call(f"{p}/{n}", provider_id=p) for n in range(4) for p in (1, 2, 3)])
    await add(store, new_call("other", provider_id=2, operation=NEW_OPERATION))
    entries = await store.take(6, FAR_S, OPERATIONS | {NEW_OPERATION}, {1: 0, 2: 1})
    assert sorted(entry.provider_id for entry in entries) == [2, 3, 3, 3, 3]


async def test_an_operation_that_is_not_known_is_left_alone(store: Store) -> None:
    """An entry of a newer bridge's operation is neither taken nor given up."""
    added = await add(store, new_call(operation=NEW_OPERATION))
    assert await store.take(10, FAR_S, OPERATIONS) == []
    assert await store.expire(0.0, OPERATIONS) == []
    assert await state_of(store, added.entry_id) is State.PENDING


FENCED = {
    "renew": lambda store, entry_id, fence: store.renew(entry_id, fence, FAR_S),
    "release": lambda store, entry_id, fence: store.release(entry_id, fence),
    "postpone": lambda store, entry_id, fence: store.postpone(entry_id, fence, 0.0, TIMEOUT),
    "reject": lambda store, entry_id, fence: store.reject(entry_id, fence, TIMEOUT),
    "give_up": lambda store, entry_id, fence: store.give_up(entry_id, fence, TIMEOUT),
}


@pytest.mark.parametrize("method", FENCED)
async def test_a_former_owner_changes_nothing(store: Store, method: str) -> None:
    """Its fence is lower than the entry's."""
    await add(store, new_call())
    former = await taken(store, lease_s=0.0)
    current = await taken(store)
    assert not await FENCED[method](store, former.entry_id, former.fence)
    after = await entry_of(store, current.entry_id)
    assert (after.state, after.fence, after.due) == (State.PENDING, current.fence, current.due)
    assert await FENCED[method](store, current.entry_id, current.fence)


@pytest.mark.parametrize("method", FENCED)
@pytest.mark.parametrize("change", ["settled", "closed", "gone"])
async def test_an_owner_changes_no_entry_that_has_ended(store: Store, method: str, change: str) -> None:
    """Its fence is current, but the entry is not PENDING any more."""
    await add(store, new_call())
    entry = await taken(store)
    if change == "closed":
        await store.close_entry(entry.entry_id, "by hand")
    else:
        await store.settle([entry.entry_id])
    if change == "gone":
        assert await store.purge(0.0) == 1
    before = await store.get(entry.entry_id)
    assert not await FENCED[method](store, entry.entry_id, entry.fence)
    after = await store.get(entry.entry_id)
    assert (after and after.state) == (before and before.state)


async def test_an_entry_is_given_back_unsent(store: Store) -> None:
    """It is due at once, and the attempt does not count, however often it is given back."""
    await add(store, new_call())
    entry = await taken(store)
    assert await store.release(entry.entry_id, entry.fence)
    assert await store.release(entry.entry_id, entry.fence)
    again = await taken(store)
    assert (again.attempts, again.fence) == (1, 2)


async def test_a_postponed_entry_is_due_later(store: Store) -> None:
    """It keeps the attempt, its reason and its code."""
    await add(store, new_call())
    entry = await taken(store)
    for last in (Last("WALLET_REJECTED", 1), Last("WALLET_UNKNOWN_ERROR", 2)):
        assert await store.postpone(entry.entry_id, entry.fence, FAR_S, last)
    assert await store.take(10, FAR_S, OPERATIONS) == []
    after = await entry_of(store, entry.entry_id)
    assert (after.attempts, after.is_leased, after.last) == (1, False, Last("WALLET_UNKNOWN_ERROR", 2))
    assert after.due > after.read_at + FAR_S / 2


async def test_a_renewed_lease_goes_on(store: Store) -> None:
    """A lease that has ended is renewed, too, where no other process has taken the entry."""
    await add(store, new_call())
    entry = await taken(store, lease_s=0.0)
    assert await store.renew(entry.entry_id, entry.fence, FAR_S)
    assert await store.take(10, FAR_S, OPERATIONS) == []


@pytest.mark.parametrize(("method", "state"), [("reject", State.REJECTED), ("give_up", State.UNRESOLVED)])
async def test_an_unsettled_end_keeps_the_request(store: Store, method: str, state: State) -> None:
    """The entry is not sent again, but holds what a retry needs; the next call of the request is a new entry."""
    call = new_call()
    await add(store, call)
    entry = await taken(store)
    assert await FENCED[method](store, entry.entry_id, entry.fence)
    after = await entry_of(store, entry.entry_id)
    assert (after.state, after.ciphertext, after.ended) == (state, call.sealed.ciphertext, 0.0)
    assert await store.take(10, FAR_S, OPERATIONS) == []
    assert (await add(store, new_call())).is_new


PATHS_TO_SETTLED = {
    "pending": None,
    "leased": None,
    "rejected": lambda store, entry: store.reject(entry.entry_id, entry.fence, TIMEOUT),
    "never_repeat": lambda store, entry: store.reject(entry.entry_id, entry.fence, TIMEOUT, never_repeat=True),
    "unresolved": lambda store, entry: store.give_up(entry.entry_id, entry.fence, TIMEOUT),
    "closed": lambda store, entry: store.close_entry(entry.entry_id, "by hand"),
}


@pytest.mark.parametrize("path", PATHS_TO_SETTLED)
async def test_settled_wins_over_every_state(store: Store, path: str) -> None:
    """With and without a lease: the wallet has confirmed the request, and its bytes are deleted."""
    added = await add(store, new_call())
    if path != "pending":
        entry = await taken(store)
    if change := PATHS_TO_SETTLED[path]:
        await change(store, entry)
    assert await store.settle([added.entry_id, added.entry_id, "nowhere"]) == [added.entry_id]
    assert await store.settle([added.entry_id]) == []
    after = await entry_of(store, added.entry_id)
    assert (after.state, after.ciphertext, after.is_leased) == (State.SETTLED, b"", False)
    assert after.created <= after.ended <= after.read_at
    assert (await add(store, new_call())).is_new


async def test_old_entries_are_given_up(store: Store) -> None:
    """Those that are PENDING and that are not leased; an ended lease does not count."""
    ids = [(await add(store, new_call(str(number)))).entry_id for number in range(3)]
    assert await store.expire(FAR_S, OPERATIONS) == []
    assert [entry.entry_id for entry in await store.take(1, FAR_S, OPERATIONS)] == ids[:1]
    assert [entry.entry_id for entry in await store.take(1, 0.0, OPERATIONS)] == ids[1:2]
    assert await store.expire(0.0, OPERATIONS, limit=1) == ids[1:2]
    assert await store.expire(0.0, OPERATIONS) == ids[2:]
    assert [await state_of(store, one) for one in ids] == [State.PENDING, State.UNRESOLVED, State.UNRESOLVED]
    assert (await add(store, new_call("2"))).is_new


async def test_only_ended_entries_are_purged(store: Store) -> None:
    """SETTLED and CLOSED ones after the time for which they are kept, oldest first; all others stay."""
    ids = [(await add(store, new_call(str(number), call_id=str(number)))).entry_id for number in range(5)]
    entries = await store.take(5, FAR_S, OPERATIONS)
    await store.reject(ids[2], entries[2].fence, TIMEOUT)
    await store.give_up(ids[3], entries[3].fence, TIMEOUT)
    await store.close_entry(ids[1], "by hand")
    await store.settle([ids[0]])
    assert await store.purge(FAR_S) == 0
    assert await store.purge(0.0, limit=1) == 1
    assert await store.get(ids[1]) is None
    assert [await store.purge(0.0, limit=1) for _ in range(2)] == [1, 0]
    assert [entry.entry_id for entry in (await store.page(10)).entries] == ids[:1:-1]
    assert await store.of_call("0") == await store.of_call("1") == (None, 0)


# --- people -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["reject", "give_up"])
async def test_a_retry_makes_an_entry_pending_again(store: Store, method: str) -> None:
    """It is due at once, and the time to give up begins again."""
    await add(store, new_call())
    entry = await taken(store)
    await FENCED[method](store, entry.entry_id, entry.fence)
    assert await store.retry(entry.entry_id) is Change.DONE
    again = await taken(store)
    assert (again.state, again.attempts, again.created) == (State.PENDING, 2, entry.created)
    assert again.pending_since > entry.pending_since
    assert (await add(store, new_call())).entry_id == entry.entry_id


async def test_a_retry_ends_a_backoff_but_no_lease(store: Store) -> None:
    """A PENDING entry that waits becomes due; one that is owned keeps its owner."""
    await add(store, new_call())
    entry = await taken(store)
    assert await store.retry(entry.entry_id) is Change.DONE
    assert (await entry_of(store, entry.entry_id)).is_leased
    assert await store.take(10, FAR_S, OPERATIONS) == []
    await store.postpone(entry.entry_id, entry.fence, FAR_S, TIMEOUT)
    assert await store.retry(entry.entry_id) is Change.DONE
    assert (await taken(store)).entry_id == entry.entry_id


async def test_what_a_person_retries_is_owed(store: Store) -> None:
    """The end of the call that was under way does not take the entry from the person."""
    call = new_call(is_owed=False)
    await add(store, call)
    assert await store.retry(call.sealed.entry_id) is Change.DONE
    await end(store, call)
    assert await state_of(store, call.sealed.entry_id) is State.PENDING


async def test_what_cannot_be_retried_is_said(store: Store) -> None:
    """Nothing changes for an entry that is not there, has ended, or whose request has another open entry."""
    assert await store.retry("nowhere") is Change.NOT_FOUND
    first = await add(store, new_call())
    entry = await taken(store)
    await store.reject(first.entry_id, entry.fence, TIMEOUT)
    second = await add(store, new_call())
    assert await store.retry(first.entry_id) is Change.OTHER_IS_OPEN
    assert await state_of(store, first.entry_id) is State.REJECTED
    await store.settle([second.entry_id])
    assert await store.retry(second.entry_id) is Change.FINISHED
    assert await store.retry(first.entry_id) is Change.DONE


async def test_a_closed_entry_has_its_reason_and_no_request(store: Store) -> None:
    """A person has the last word, but over a confirmation of the wallet."""
    added = await add(store, new_call())
    await taken(store)
    assert await store.close_entry(added.entry_id, "ticket 4711: player asked twice, é") is Change.DONE
    entry = await entry_of(store, added.entry_id)
    assert (entry.state, entry.ciphertext, entry.is_leased) == (State.CLOSED, b"", False)
    assert entry.closed_reason == "ticket 4711: player asked twice, é"
    assert await store.close_entry(added.entry_id, "again") is Change.FINISHED
    assert await store.close_entry("nowhere", "x") is Change.NOT_FOUND
    await store.settle([added.entry_id])
    assert await store.close_entry(added.entry_id, "again") is Change.FINISHED
    assert (await entry_of(store, added.entry_id)).closed_reason == "ticket 4711: player asked twice, é"


async def test_codes_that_mean_success_now_settle_what_was_rejected(store: Store) -> None:
    """Only REJECTED entries with just these codes."""
    codes = [7, 8, 2**64 - 1, None]
    await store.write([new_call(str(code)) for code in codes])
    entries = await store.take(10, FAR_S, OPERATIONS)
    for entry, code in zip(entries, codes, strict=True):
        await store.reject(entry.entry_id, entry.fence, Last("WALLET_REJECTED", code))
    pending = await add(store, new_call("pending", last=Last("WALLET_UNKNOWN_ERROR", 7)))
    assert set(await store.reclassify({7, 2**64 - 1})) == {entries[0].entry_id, entries[2].entry_id}
    assert await store.reclassify(set()) == []
    states = [await state_of(store, entry.entry_id) for entry in entries]
    assert states == [State.SETTLED, State.REJECTED, State.SETTLED, State.REJECTED]
    assert await state_of(store, pending.entry_id) is State.PENDING


# --- questions --------------------------------------------------------------------------------------------------


async def test_the_newest_entry_of_a_call_id_is_found(store: Store) -> None:
    """Call ids are the callers' own: with how many entries there are of it. Two calls of one entry are one."""
    await add(store, new_call("a", call_id="x"))
    second = await add(store, new_call("b", call_id="x"))
    await add(store, new_call("b", call_id="x"))
    await add(store, new_call("c", call_id="y"))
    found, count = await store.of_call("x")
    assert (found and found.entry_id, count) == (second.entry_id, 2)
    assert await store.of_call("z") == (None, 0)


async def test_a_call_is_found_while_another_of_its_id_has_ended(store: Store) -> None:
    """Two calls of one caller and one id on one entry: the end of one does not hide the other."""
    first, second = (new_call(is_owed=False, call_id="x", identities=("one.example",)) for _ in range(2))
    await store.write([first, second])
    await end(store, first)
    for identities in (None, ["one.example"]):
        found, count = await store.of_call("x", identities)
        assert (found and found.entry_id, count) == (first.sealed.entry_id, 1)


IDENTITIES = {
    "anybody": (None, "c", 3),
    "the first": (["one.example"], "a", 1),
    "one of several": (["two.example"], "b", 2),
    "both": (["one.example", "two.example"], "b", 2),
    "not anyone's": ([], "c", 1),
    "another caller": (["three.example"], None, 0),
}


@pytest.mark.parametrize("case", IDENTITIES)
async def test_a_caller_finds_only_its_own_calls(store: Store, case: str) -> None:
    """Another caller who uses the same call id neither sees an entry nor hides one."""
    await add(store, new_call("a", call_id="x", identities=("one.example", "two.example")))
    await add(store, new_call("b", call_id="x", identities=("two.example",)))
    await add(store, new_call("c", call_id="x", identities=()))
    identities, request, count = IDENTITIES[case]
    found, found_count = await store.of_call("x", identities)
    assert found_count == count
    assert (found and KEYS.open(found)) == (request and f"content of {request}".encode())


async def test_pages_show_every_entry_once_newest_first(store: Store) -> None:
    """With or without a state; entries that come meanwhile are not on later pages."""
    ids = [(await add(store, new_call(str(number)))).entry_id for number in range(7)]
    await store.settle(ids[::2])
    for state, expected in ((None, ids[::-1]), (State.SETTLED, ids[::-2]), (State.PENDING, ids[-2::-2])):
        shown: list[str] = []
        page = await store.page(2, state=state)
        await add(store, new_call(f"new {state}"))
        while True:
            shown += [entry.entry_id for entry in page.entries]
            if not page.next_cursor:
                break
            page = await store.page(2, page.next_cursor, state)
        newer = [entry for entry in shown if entry not in ids]
        assert [entry for entry in shown if entry in ids] == expected
        assert len(newer) <= 2


async def test_the_last_page_has_no_cursor(store: Store) -> None:
    """Also when it is full, and when there is nothing."""
    assert (await store.page(2)).next_cursor == ""
    await store.write([new_call("a"), new_call("b")])
    assert (await store.page(2)).next_cursor == ""


@pytest.mark.parametrize("cursor", ["x", "-1", "0", "1 ", "9" * 30, "\u0661"])
async def test_a_cursor_that_no_store_made_is_refused(store: Store, cursor: str) -> None:
    """It comes from a caller."""
    with pytest.raises(CursorError):
        await store.page(2, cursor)


async def test_entries_are_counted_by_state(store: Store) -> None:
    """All five states are there, and the oldest PENDING one's age."""
    empty = await store.counts()
    assert (set(empty.by_state), sum(empty.by_state.values())) == (set(State), 0)
    assert empty.oldest_pending_s == 0.0
    ids = [(await add(store, new_call(str(number)))).entry_id for number in range(4)]
    entries = await store.take(2, FAR_S, OPERATIONS)
    await store.reject(ids[0], entries[0].fence, TIMEOUT)
    await store.settle([ids[1]])
    counts = await store.counts()
    expected = {State.PENDING: 2, State.REJECTED: 1, State.SETTLED: 1, State.UNRESOLVED: 0, State.CLOSED: 0}
    assert counts.by_state == expected
    third = await entry_of(store, ids[2])
    assert 0.0 <= counts.oldest_pending_s <= third.read_at - third.pending_since


async def test_keys_are_in_use_while_an_entry_holds_a_request(store: Store) -> None:
    """A key that no entry needs any more can be taken out of the key file."""
    old, new = Keys([OLD]), Keys([NEW])
    await store.write([new_call("a", keys=old), new_call("b", keys=new)])
    second = await add(store, new_call("c", keys=new))
    assert (await store.key_use()).in_use == {old.first_id, new.first_id}
    entries = {entry.key_id: entry.entry_id for entry in (await store.page(10)).entries}
    await store.settle([entries[old.first_id]])
    await store.close_entry(second.entry_id, "by hand")
    assert (await store.key_use()).in_use == {new.first_id}


async def test_the_key_check_value_is_kept(store: Store) -> None:
    """None in a new store; a newer one replaces it."""
    assert (await store.key_use()).check == ""
    for key_id in ("0123", "4567"):
        await store.set_key_check(key_id)
        assert (await store.key_use()).check == key_id


async def test_a_check_leaves_nothing_behind(store: Store) -> None:
    """No entry, and no key-check value."""
    await store.check()
    assert (await store.page(10)).entries == ()
    assert (await store.key_use()).check == ""


async def test_each_call_of_a_batch_keeps_its_own_request(store: Store) -> None:
    """Whatever stands before it in the batch: its ciphertext comes back as it was, and is opened."""
    calls = [new_call("a" * length) for length in (1, 50, 3)]
    await store.write([CallEnd("unknown", is_success=True), *calls])
    found = [await entry_of(store, call.sealed.entry_id) for call in calls]
    assert [entry.ciphertext for entry in found] == [call.sealed.ciphertext for call in calls]
    assert [KEYS.open(entry) for entry in found] == [b"content of " + b"a" * length for length in (1, 50, 3)]
