"""Any order of all that may be asked of a store: SQLite and Redis, written independently, answer and hold the same."""

import asyncio
import dataclasses
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis import Redis

from bridge.settlement.entry import FINISHED, CallEnd, Entry, Last, NewCall, State, WriteOrder
from bridge.settlement.redis import RedisStore
from bridge.settlement.sealing import Keys
from bridge.settlement.store import Store, StoreError
from tests.support.examples import examples
from tests.support.inline_store import InlineStore
from tests.support.redis_server import needs_redis
from tests.support.settlement_calls import FAR_S, OPERATION, OPERATIONS, new_call

EXAMPLES, STEPS = 30, 25
CALLS_MAX = 3
OLD, NEW = bytes(range(32)), bytes(range(100, 132))
KEYS = (Keys([OLD, NEW]), Keys([NEW, OLD]))
PROVIDERS = {"a": 7, "b": 8, "c": 7}
STOPPED = (State.REJECTED, True)
"""State and never_repeat of an entry that is open, but never sent again."""
OTHER_OPERATION = "wallet.v1.WalletService/New"

# Only two delays, so that no test waits: over at once, or never over.
DELAYS = st.sampled_from([0.0, FAR_S])
CODES = st.sampled_from([None, 5, 2**64 - 1])
FAILURES = st.builds(Last, st.sampled_from(["WALLET_TIMEOUT", "WALLET_REJECTED"]), CODES)
IDENTITIES = st.sampled_from([(), ("one.example",), ("one.example", "two.example")])
TICKETS = st.sampled_from([f"ticket-{number}" for number in range(8)])
CALLS = st.builds(
    lambda request, **fields: new_call(request, provider_id=PROVIDERS[request], **fields),
    st.sampled_from(sorted(PROVIDERS)),
    is_owed=st.booleans(),
    due_in_s=DELAYS,
    ticket=TICKETS,
    call_id=st.sampled_from(["x", "y"]),
    identities=IDENTITIES,
    operation=st.sampled_from([OPERATION, OPERATION, OPERATION, OTHER_OPERATION]),
    last=FAILURES,
    never_repeat=st.sampled_from([False] * 5 + [True]),
    keys=st.sampled_from(KEYS),
)
ORDERS = st.none() | st.builds(WriteOrder, st.sampled_from(["one", "other"]), st.integers(1, 9))
ENDS = st.builds(CallEnd, TICKETS, st.booleans())


def without_times(entry: Entry) -> tuple[object, ...]:
    """Return what two stores must agree on: everything but the times, and of these which lie ahead or are set."""
    lies_ahead = entry.due > entry.read_at + FAR_S / 2
    same = dataclasses.replace(entry, created=0.0, pending_since=0.0, due=0.0, ended=0.0, read_at=0.0)
    return same, lies_ahead, entry.ended > 0


class AnyOrder(RuleBasedStateMachine):
    """SQLite, and beside it what a test names, all asked the same."""

    others: ClassVar[Callable[["AnyOrder"], Sequence[Store]]]
    """Set by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.now = time.time()
        self.runner = asyncio.Runner()
        self.stores = [InlineStore(lambda: self.now), *self.others()]
        self.shown: list[Entry] = []

    def teardown(self) -> None:
        """Close the stores."""
        for store in self.stores:
            self.runner.run(store.close())
        self.runner.close()

    def all_of_them(self, ask: Callable[[Store], Awaitable[Any]]) -> Any:
        """Ask each store and compare the answers; return SQLite's."""
        # One moment for the whole answer.
        self.now = max(self.now + 0.001, time.time())

        async def answers() -> list[Any]:
            return [await ask(store) for store in self.stores]

        expected, *others = self.runner.run(answers())
        for answer in others:
            if isinstance(expected, list) and expected and isinstance(expected[0], Entry):
                assert list(map(without_times, answer)) == list(map(without_times, expected))
            elif isinstance(expected, list):
                assert sorted(map(str, answer)) == sorted(map(str, expected))
            else:
                assert answer == expected
        return expected

    @initialize()
    def opened(self) -> None:
        """Begin with empty stores."""
        self.all_of_them(lambda store: store.open())

    @rule(writes=st.lists(st.one_of(CALLS, CALLS, ENDS), min_size=1, max_size=3), order=ORDERS)
    def write(self, writes: list[NewCall | CallEnd], order: WriteOrder | None) -> None:
        """Begin calls, end them UNKNOWN and for certain, in any order, also twice and late."""

        async def written(store: Store) -> object:
            try:
                return await store.write(writes, order)
            except StoreError as error:
                return error.problem

        self.all_of_them(written)

    @rule(limit=st.integers(1, 3), lease_s=DELAYS, share=st.sampled_from([None, 0, 1]))
    def take(self, limit: int, lease_s: float, share: int | None) -> None:
        """Take entries, with one of the providers paused or probed."""
        at_most = None if share is None else {7: share}
        self.all_of_them(lambda store: store.take(limit, lease_s, OPERATIONS, at_most))

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), method=st.sampled_from(["renew", "release", "postpone", "reject", "give_up", "never"]))
    def own(self, data: st.DataObject, method: str) -> None:
        """Write what came of an entry, as its owner or a former one."""
        entry = data.draw(st.sampled_from(self.shown), "entry")
        fence = entry.fence - data.draw(st.sampled_from([0, 0, 0, 1]), "former")
        delay_s, last = data.draw(DELAYS), data.draw(FAILURES)
        asks: dict[str, Callable[[Store], Awaitable[bool]]] = {
            "renew": lambda store: store.renew(entry.entry_id, fence, delay_s),
            "release": lambda store: store.release(entry.entry_id, fence),
            "postpone": lambda store: store.postpone(entry.entry_id, fence, delay_s, last),
            "reject": lambda store: store.reject(entry.entry_id, fence, last),
            "give_up": lambda store: store.give_up(entry.entry_id, fence, last),
            "never": lambda store: store.reject(entry.entry_id, fence, last, never_repeat=True),
        }
        self.all_of_them(asks[method])

    @precondition(lambda self: self.shown)
    @rule(data=st.data(), method=st.sampled_from(["settle", "retry", "close"]))
    def change(self, data: st.DataObject, method: str) -> None:
        """Change an entry, with and without a lease."""
        entry_id = data.draw(st.sampled_from(self.shown), "entry").entry_id
        asks: dict[str, Callable[[Store], Awaitable[Any]]] = {
            "settle": lambda store: store.settle([entry_id, "nowhere", entry_id]),
            "retry": lambda store: store.retry(entry_id),
            "close": lambda store: store.close_entry(entry_id, "by hand"),
        }
        self.all_of_them(asks[method])

    @rule(method=st.sampled_from(["reclassify", "purge", "expire", "keep", "set_key_check"]))
    def look_after(self, method: str) -> None:
        """Do what is done from time to time."""
        asks: dict[str, Callable[[Store], Awaitable[Any]]] = {
            "reclassify": lambda store: store.reclassify({5}),
            "purge": lambda store: store.purge(0.0, limit=2),
            "keep": lambda store: store.purge(FAR_S),
            "expire": lambda store: store.expire(0.0, OPERATIONS, limit=1),
            "set_key_check": lambda store: store.set_key_check("0123"),
        }
        self.all_of_them(asks[method])

    @rule(state=st.sampled_from([None, *State]))
    def pages(self, state: State | None) -> None:
        """Read all pages of a state."""
        self.all_of_them(partial(_pages, size=2, state=state))

    @rule(call_id=st.sampled_from(["x", "y"]), identities=st.one_of(st.none(), IDENTITIES))
    def ask(self, call_id: str, identities: tuple[str, ...] | None) -> None:
        """Ask for the newest entry of a call id."""

        async def answer(store: Store) -> object:
            found, count = await store.of_call(call_id, identities)
            return found and without_times(found), count

        self.all_of_them(answer)

    @invariant()
    def same(self) -> None:
        """Compare the entries, in their order, their counts and their keys."""
        before, self.shown = self.shown, list(self.all_of_them(partial(_pages, size=100)))
        key_use = self.all_of_them(lambda store: store.key_use())

        async def counts(store: Store) -> Counter[State]:
            return Counter((await store.counts()).by_state)

        assert self.all_of_them(counts) == Counter(entry.state for entry in self.shown)
        assert key_use.in_use == {entry.key_id for entry in self.shown if entry.state not in FINISHED}
        _assert_rules(before, self.shown)


def _assert_rules(before: Sequence[Entry], after: Sequence[Entry]) -> None:
    """See what holds whatever was asked in between, of a store alone, too."""
    was = {entry.entry_id: entry for entry in before}
    there = {entry.entry_id for entry in after}
    assert len(there) == len(after)
    known = [entry for entry in after if entry.entry_id in was]
    assert [entry.entry_id for entry in known] == [entry.entry_id for entry in before if entry.entry_id in there]
    for entry in known:
        earlier = was[entry.entry_id]
        assert (entry.fence >= earlier.fence, entry.created) == (True, earlier.created)
        assert earlier.state not in FINISHED or entry.state in {earlier.state, State.SETTLED}
    is_open = [entry for entry in after if entry.state is State.PENDING or (entry.state, entry.never_repeat) == STOPPED]
    requests = [(entry.operation, entry.key_id, KEYS[0].open(entry)) for entry in is_open]
    assert len(requests) == len(set(requests))


async def _pages(store: Store, size: int, state: State | None = None) -> list[Entry]:
    page = await store.page(size, state=state)
    found = list(page.entries)
    while page.next_cursor:
        page = await store.page(size, page.next_cursor, state)
        found += page.entries
    return found


def run(machine: type[AnyOrder], others: Callable[[AnyOrder], Sequence[Store]], count: int = EXAMPLES) -> None:
    """Try orders on SQLite and other stores."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("bridge.settlement.sqlite.calls", "bridge.settlement.redis.store"):
            # Few enough that attached calls are dropped.
            patch.setattr(f"{module}.CALLS_MAX", CALLS_MAX)
        patch.setattr(machine, "others", others, raising=False)
        tried = settings(max_examples=examples(count), stateful_step_count=STEPS, deadline=None)
        run_state_machine_as_test(machine, settings=tried)


def emptied_redis(url: str) -> RedisStore:
    """Return a store that holds nothing."""
    with Redis.from_url(url) as client:
        client.flushall()
    return RedisStore(url)


@pytest.mark.timeout(300)
def test_sqlite_keeps_its_rules() -> None:
    """Whatever is asked, in whatever order."""
    run(AnyOrder, lambda _: [])


@needs_redis
@pytest.mark.timeout(300)
def test_redis_answers_as_sqlite_does(redis_url: str) -> None:
    """Whatever is asked, in whatever order."""
    run(AnyOrder, lambda _: [emptied_redis(redis_url)])
