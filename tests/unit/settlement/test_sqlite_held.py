"""Calls under way in the SQLite file: rows of a slim table, which look like entries from outside."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import rule

from bridge.settlement.entry import NO_FAILURE, Added, CallEnd, NewCall, State, WriteOrder
from bridge.settlement.sealing import Keys
from bridge.settlement.sqlite import SqliteStore, held, schema
from bridge.settlement.store import Store
from tests.support.inline_store import InlineStore
from tests.support.redis_server import needs_redis
from tests.support.settlement_calls import FAR_S, OPERATION, OPERATIONS, add, end, new_call
from tests.unit.settlement.test_store_any_order import (
    DELAYS,
    ENDS,
    IDENTITIES,
    PROVIDERS,
    TICKETS,
    AnyOrder,
    emptied_redis,
    run,
)

ITS_OWN: Sequence[Mapping[str, Any]] = (
    {},
    {"identities": ("spiffe://a/b", "it's")},
    {"operation": "wallet.v1.WalletService/Other"},
    {"keys": Keys([bytes(range(1, 33))])},
    {"operation": "it's %s, ?1"},
    {"ticket": "another than the entry's id"},
)

EXAMPLES = 60
ONE_KEY = Keys([bytes(range(32))])
CALLS = st.builds(
    lambda request, **fields: new_call(request, provider_id=PROVIDERS[request], **fields),
    st.sampled_from(sorted(PROVIDERS)),
    is_owed=st.sampled_from([False] * 5 + [True]),
    due_in_s=DELAYS,
    ticket=TICKETS,
    call_id=st.sampled_from(["x", "y"]),
    identities=IDENTITIES,
    operation=st.just(OPERATION),
    last=st.just(NO_FAILURE),
    never_repeat=st.sampled_from([False] * 9 + [True]),
    keys=st.just(ONE_KEY),
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Give an open store in a file of its own."""
    made = SqliteStore(tmp_path / "settlement.db")
    await made.open()
    yield made
    await made.close()


async def rows(store: SqliteStore, table: str) -> int:
    """Return how many rows a table has."""
    question = f"SELECT count(*) FROM {table}"  # noqa: S608 - our own tables
    count: int = await store._database.run(lambda connection, _: connection.execute(question).fetchone()[0])
    return count


def under_way(*requests: str, due_in_s: float = FAR_S) -> list[NewCall]:
    """Return calls as they are written before they are sent."""
    return [new_call(request, is_owed=False, due_in_s=due_in_s) for request in requests]


class NeverHeld(InlineStore):
    """A store in which every call is an entry from the beginning."""

    async def write(self, writes: Sequence[NewCall | CallEnd], order: WriteOrder | None = None) -> list[Added | None]:
        """Write calls and their ends."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(held, "fits", lambda _: False)
            return await super().write(writes, order)


class Held(AnyOrder):
    """Entries are looked at now and then only, because a look makes entries of calls."""

    @rule()
    def same(self) -> None:
        """Compare the entries, in their order, their counts and their keys."""
        super().same()

    @rule(writes=st.lists(st.one_of(CALLS, CALLS, ENDS), min_size=1, max_size=6))
    def write_light(self, writes: Sequence[NewCall | CallEnd]) -> None:
        """Begin calls and end them, mostly for certain."""
        self.all_of_them(lambda store: store.write(writes))

    @rule()
    def counted(self) -> None:
        """Count entries and keys, which leaves calls under way as they are."""

        async def counts(store: Store) -> object:
            return (await store.counts()).by_state, await store.key_use()

        self.all_of_them(counts)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("other", ["never held", pytest.param("redis", marks=needs_redis)])
def test_what_is_held_looks_like_entries(request: pytest.FixtureRequest, other: str) -> None:
    """Whatever is asked while calls are under way, in whatever order."""
    url = request.getfixturevalue("redis_url") if other == "redis" else ""
    run(Held, lambda machine: [emptied_redis(url) if url else NeverHeld(lambda: machine.now)], EXAMPLES)


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 200])
async def test_calls_under_way_are_no_entries_until_they_must_be(store: SqliteStore, count: int) -> None:
    """A batch of any size is held, counts as PENDING, and leaves nothing at all when it has ended."""
    calls = under_way(*map(str, range(count)))
    added = await store.write(calls)
    assert [(one.is_new, one.state) for one in added if one is not None] == [(True, State.PENDING)] * count
    assert (await rows(store, "held"), await rows(store, "entries")) == (count, 0)
    assert (await store.counts()).by_state[State.PENDING] == count
    assert await store.take(count, FAR_S, OPERATIONS) == []
    assert await rows(store, "held") == count
    await store.write([CallEnd(call.ticket, is_success=bool(number % 2)) for number, call in enumerate(calls)])
    assert [await rows(store, table) for table in ("held", "entries", "calls")] == [0, 0, 0]


async def test_each_call_of_a_batch_keeps_its_own(store: SqliteStore) -> None:
    """Operation, key, identities and ticket, although they are written together."""
    calls = [
        new_call(f"{number}", is_owed=False, due_in_s=FAR_S, call_id=f"call {number}", **its_own)
        for number, its_own in enumerate(ITS_OWN)
    ]
    await store.write(calls)
    assert await rows(store, "held") == len(calls)
    entries = (await store.page(len(calls))).entries[::-1]
    assert [entry.operation for entry in entries] == [call.sealed.operation for call in calls]
    assert [entry.key_id for entry in entries] == [call.sealed.key_id for call in calls]
    assert [entry.entry_id for entry in entries] == [call.sealed.entry_id for call in calls]
    assert [entry.calls for entry in entries] == [(call.call,) for call in calls]
    await store.write([CallEnd(call.ticket, is_success=False) for call in calls])
    assert [await rows(store, table) for table in ("held", "entries", "calls")] == [0, 0, 0]


async def test_a_call_that_was_cut_off_is_taken_when_it_is_due(store: SqliteStore) -> None:
    """Its process was killed: the settler of another finds it, and the calls that are not due stay where they are."""
    (cut_off,) = under_way("cut off", due_in_s=0.0)
    await store.write([cut_off, *under_way("a", "b")])
    (taken,) = await store.take(10, FAR_S, OPERATIONS)
    assert (taken.entry_id, taken.fence, taken.calls) == (cut_off.sealed.entry_id, 1, (cut_off.call,))
    assert (await rows(store, "held"), await rows(store, "entries")) == (2, 1)


async def test_an_unknown_end_makes_an_entry_of_its_own_call(store: SqliteStore) -> None:
    """The same entry, which is owed from then on; the others are left alone."""
    first, other = under_way("a", "b")
    await store.write([first, other])
    owed = await add(store, new_call("a", ticket=first.ticket))
    assert (owed.entry_id, owed.is_new) == (first.sealed.entry_id, False)
    assert (await rows(store, "held"), await rows(store, "entries")) == (1, 1)


async def test_a_call_of_the_same_request_attaches(store: SqliteStore) -> None:
    """Also in one batch: a request has one open entry, and it stays until both calls have ended."""
    first, second = under_way("a", "a")
    (one, other) = await store.write([first, second])
    assert one is not None
    assert other is not None
    assert (one.entry_id, one.is_new, other.is_new) == (other.entry_id, True, False)
    await end(store, first)
    assert await rows(store, "entries") == 1
    await end(store, second)
    assert [await rows(store, table) for table in ("held", "entries", "calls")] == [0, 0, 0]


async def test_an_end_that_came_first_keeps_its_call_out(store: SqliteStore) -> None:
    """A late insert is not held, neither alone nor in a batch with others."""
    late, other = under_way("late", "other")
    await end(store, late)
    added = await store.write([late, other])
    assert [one.entry_id for one in added if one is not None] == ["", other.sealed.entry_id]
    assert await rows(store, "held") == 1


async def test_positions_follow_the_order_of_creation(store: SqliteStore) -> None:
    """A call that was written before an entry is shown as older, although it becomes an entry later."""
    (held,) = under_way("held")
    await store.write([held])
    owed = await add(store, new_call("owed"))
    entries = (await store.page(10)).entries
    assert [entry.entry_id for entry in entries] == [owed.entry_id, held.sealed.entry_id]


async def test_the_oldest_of_both_is_the_oldest_pending(store: SqliteStore) -> None:
    """Its age counts from when the call was written, whether or not it is an entry yet."""
    now = 1000.0
    aged = SqliteStore(store._path, clock=lambda: now)
    await aged.write(under_way("a"))
    now = 1010.0
    await aged.write([new_call("b")])
    now = 1030.0
    assert (await aged.counts()).oldest_pending_s == 30.0
    await aged.close()


@pytest.mark.parametrize(("after_s", "entries"), [(599.0, 0), (600.0, 1)])
async def test_an_end_that_came_first_is_kept_for_ten_minutes(store: SqliteStore, after_s: float, entries: int) -> None:
    """A file does not grow by ends of calls that were never written."""
    now = 1000.0
    aged = SqliteStore(store._path, clock=lambda: now)
    (late,) = under_way("late")
    await end(aged, late)
    now += after_s
    await aged.purge(0.0)
    await aged.write([late])
    assert len((await aged.page(10)).entries) == entries
    await aged.close()


async def test_a_file_of_the_first_layout_gets_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And keeps its entries."""
    path = tmp_path / "older.db"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "LAYOUTS", schema.LAYOUTS[:1])
        older = SqliteStore(path)
        await older._database.run(
            lambda connection, _: connection.execute("INSERT INTO facts VALUES ('key_check', 'kept')").rowcount
        )
        await older.close()
    newer = SqliteStore(path)
    await newer.write(under_way("a"))
    assert (await newer.key_use()).check == "kept"
    assert await rows(newer, "held") == 1
    await newer.close()


async def test_processes_share_what_is_under_way(store: SqliteStore) -> None:
    """What one process has written before it sends, another one ends, asks for and finds due."""
    other = SqliteStore(store._path)
    await store.write(under_way("a", "b"))
    (due,) = under_way("c", due_in_s=0.0)
    await asyncio.gather(store.write([due]), other.write(under_way("d")))
    found, count = await other.of_call("call")
    assert (found is not None, count) == (True, 4)
    assert [entry.entry_id for entry in await other.take(10, FAR_S, OPERATIONS)] == [due.sealed.entry_id]
    await other.close()
