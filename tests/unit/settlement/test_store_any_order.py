"""Any order of all that may be asked of a store: SQLite and Redis answer as the model does, and hold the same."""

import asyncio
import dataclasses
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
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

from bridge.settlement.entry import CallEnd, Entry, Last, NewCall, State, WriteOrder
from bridge.settlement.redis import RedisStore
from bridge.settlement.sealing import Keys
from bridge.settlement.sqlite import SqliteStore
from bridge.settlement.store import Store, StoreError
from tests.support.examples import examples
from tests.support.redis_server import needs_redis
from tests.support.settlement_calls import FAR_S, OPERATION, OPERATIONS, new_call
from tests.support.settlement_model import ModelStore

EXAMPLES, STEPS = 30, 25
CALLS_MAX = 3
OLD, NEW = bytes(range(32)), bytes(range(100, 132))
KEYS = (Keys([OLD, NEW]), Keys([NEW, OLD]))
PROVIDERS = {"a": 7, "b": 8, "c": 7}
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


class Comparison(RuleBasedStateMachine):
    """A real store beside the model, both asked the same."""

    make: ClassVar[Callable[["Comparison"], Store]]
    """Set by the test."""

    def __init__(self) -> None:
        super().__init__()
        self.now = time.time()
        self.runner = asyncio.Runner()
        self.model = ModelStore(lambda: self.now)
        self.folder = tempfile.TemporaryDirectory()
        self.store = self.make()
        self.shown: list[Entry] = []

    def teardown(self) -> None:
        """Close the store."""
        self.runner.run(self.store.close())
        self.runner.close()
        self.folder.cleanup()

    def both(self, ask: Callable[[Store], Awaitable[Any]]) -> Any:
        """Ask both and compare the answers; return the model's."""
        # One moment for the model's whole answer, as for the stores'.
        self.now = max(self.now + 0.001, time.time())

        async def answers() -> tuple[Any, Any]:
            return await ask(self.model), await ask(self.store)

        expected, answer = self.runner.run(answers())
        if isinstance(expected, list) and expected and isinstance(expected[0], Entry):
            assert list(map(without_times, answer)) == list(map(without_times, expected))
        elif isinstance(expected, list):
            assert sorted(map(str, answer)) == sorted(map(str, expected))
        else:
            assert answer == expected
        return expected

    @initialize()
    def opened(self) -> None:
        """Begin with an empty store."""
        self.runner.run(self.store.open())

    @rule(writes=st.lists(st.one_of(CALLS, CALLS, ENDS), min_size=1, max_size=3), order=ORDERS)
    def write(self, writes: list[NewCall | CallEnd], order: WriteOrder | None) -> None:
        """Begin calls, end them UNKNOWN and for certain, in any order, also twice and late."""

        async def written(store: Store) -> object:
            try:
                return await store.write(writes, order)
            except StoreError as error:
                return error.problem

        self.both(written)

    @rule(limit=st.integers(1, 3), lease_s=DELAYS, share=st.sampled_from([None, 0, 1]))
    def take(self, limit: int, lease_s: float, share: int | None) -> None:
        """Take entries, with one of the providers paused or probed."""
        at_most = None if share is None else {7: share}
        self.both(lambda store: store.take(limit, lease_s, OPERATIONS, at_most))

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
        self.both(asks[method])

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
        self.both(asks[method])

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
        self.both(asks[method])

    @rule(state=st.sampled_from([None, *State]))
    def pages(self, state: State | None) -> None:
        """Read all pages of a state."""
        self.both(partial(_pages, size=2, state=state))

    @rule(call_id=st.sampled_from(["x", "y"]), identities=st.one_of(st.none(), IDENTITIES))
    def ask(self, call_id: str, identities: tuple[str, ...] | None) -> None:
        """Ask for the newest entry of a call id."""

        async def answer(store: Store) -> object:
            found, count = await store.of_call(call_id, identities)
            return found and without_times(found), count

        self.both(answer)

    @invariant()
    def same(self) -> None:
        """Compare the entries, in their order, their counts and their keys."""
        self.shown = list(self.both(partial(_pages, size=100)))
        self.both(lambda store: store.key_use())

        async def counts(store: Store) -> object:
            return (await store.counts()).by_state

        self.both(counts)
        assert len({entry.entry_id for entry in self.shown}) == len(self.shown)


async def _pages(store: Store, size: int, state: State | None = None) -> list[Entry]:
    page = await store.page(size, state=state)
    found = list(page.entries)
    while page.next_cursor:
        page = await store.page(size, page.next_cursor, state)
        found += page.entries
    return found


def sqlite_store(machine: Comparison) -> Store:
    """Return a store in a file, on the model's clock."""
    return SqliteStore(Path(machine.folder.name) / "settlement.db", clock=lambda: machine.now)


def run(make: Callable[[Comparison], Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare one kind of store with the model."""
    for module in ("bridge.settlement.sqlite.calls", "bridge.settlement.redis.store", "tests.support.settlement_model"):
        # Few enough that attached calls are dropped.
        monkeypatch.setattr(f"{module}.CALLS_MAX", CALLS_MAX)
    monkeypatch.setattr(Comparison, "make", make, raising=False)
    run_state_machine_as_test(
        Comparison, settings=settings(max_examples=examples(EXAMPLES), stateful_step_count=STEPS, deadline=None)
    )


@pytest.mark.timeout(300)
def test_sqlite_answers_as_the_model_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is asked, in whatever order."""
    run(sqlite_store, monkeypatch)


@needs_redis
@pytest.mark.timeout(300)
def test_redis_answers_as_the_model_does(monkeypatch: pytest.MonkeyPatch, redis_url: str) -> None:
    """Whatever is asked, in whatever order."""

    def make(_: Comparison) -> Store:
        with Redis.from_url(redis_url) as client:
            client.flushall()
        return RedisStore(redis_url)

    run(make, monkeypatch)
