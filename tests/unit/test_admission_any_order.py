"""Admission under everything in any order: the bounds, the order, and that no call waits while there is room."""

import asyncio
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.admission import Admission
from bridge.deadline import MINIMUM_S, Deadline
from bridge.errors import BridgeDraining, BridgeOverloaded
from tests.support.examples import examples

AMPLE = Deadline.after(3600)
Key = tuple[int, int]
"""A call: its provider, and its number among all."""


class AnyOrder(RuleBasedStateMachine):
    """Calls come, leave, are cancelled and run out of time, with and without a turn of the loop in between."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.under_way: dict[Key, asyncio.Task[None]] = {}
        """Those that wait, or that have not run since they came or got their turn."""
        self.holders: Counter[int] = Counter()
        """Those that were admitted and know it, by provider."""
        self.latest = 0
        self.latest_admitted: Counter[int] = Counter()
        self.refuses = False

    @initialize(max_in_flight=st.integers(1, 4), max_queued=st.integers(0, 5), data=st.data())
    def begin(self, max_in_flight: int, max_queued: int, data: st.DataObject) -> None:
        """Choose the bounds."""
        self.max_in_flight, self.max_queued = max_in_flight, max_queued
        self.share = data.draw(st.integers(1, max_in_flight))
        self.queue_share = -(-max_queued * self.share // max_in_flight)
        self.admission = Admission(max_in_flight, max_queued, self.share)

    @rule(provider=st.integers(1, 3), is_late=st.booleans())
    def come(self, provider: int, *, is_late: bool) -> None:
        """Let a call come, some of them with a deadline that is not over but leaves no time for sending."""
        self.latest += 1
        deadline = Deadline.after(MINIMUM_S) if is_late else AMPLE
        self.under_way[provider, self.latest] = self.loop.create_task(self.call(provider, deadline))
        self.let_run(1)

    async def call(self, provider: int, deadline: Deadline) -> None:
        """Come in as a call does, which may be at once, later or never."""
        count, queued = self.admission.count, self.admission.queued
        lanes = {id_: (lane.in_flight, len(lane.waiting)) for id_, lane in self.admission._lanes.items()}
        in_flight, waiting = lanes.get(provider, (0, 0))
        try:
            is_admitted = self.admission.enter(provider)
        except BridgeOverloaded as error:
            names_share = error.cause == "provider"
            assert in_flight == self.share or count == self.max_in_flight
            providers = sum(bool(each) for _, each in lanes.values()) + (not waiting)
            assert waiting >= self.queue_share or (waiting + 1) * providers > self.max_queued
            assert names_share == (count < self.max_in_flight or queued < self.max_queued)
            raise
        assert not self.refuses
        assert is_admitted == (count < self.max_in_flight and in_flight < self.share)
        if not is_admitted:
            await self.admission.wait(provider, deadline)

    @precondition(lambda self: +self.holders)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        """End a call that was admitted."""
        self.end(data.draw(st.sampled_from(sorted(+self.holders))))

    def end(self, provider: int) -> None:
        """End an admitted call of this provider."""
        self.holders[provider] -= 1
        self.admission.leave(provider)

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Let a caller cancel whose call waits, or has just got its turn."""
        self.under_way[data.draw(st.sampled_from(sorted(self.under_way)))].cancel()

    @rule(turns=st.integers(1, 5))
    def let_run(self, turns: int) -> None:
        """Let the loop turn."""
        for _ in range(turns):
            self.loop.run_until_complete(asyncio.sleep(0))
        for key, task in list(self.under_way.items()):
            if task.done():
                del self.under_way[key]
                self.note_end(key, task)

    def note_end(self, key: Key, task: asyncio.Task[None]) -> None:
        """See whether a call came in."""
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            provider, number = key
            assert number > self.latest_admitted[provider], "it was overtaken by one of its own provider"
            self.latest_admitted[provider] = number
            self.holders[provider] += 1
        else:
            assert isinstance(error, BridgeOverloaded | BridgeDraining)

    @precondition(lambda self: not self.refuses)
    @rule(really=st.sampled_from((False, False, False, True)))
    def refuse(self, *, really: bool) -> None:
        """Refuse every new call."""
        if really:
            self.admission.refuse()
            self.refuses = True

    @rule()
    def settle(self) -> None:
        """Let all go on that can: each is counted where it is, and idle is reported rightly."""
        self.let_run(6)
        assert (self.admission.count, self.admission.queued) == (self.holders.total(), len(self.under_way))
        waiting = self.loop.create_task(self.admission.idle())
        for _ in range(3):
            self.loop.run_until_complete(asyncio.sleep(0))
        assert (not waiting.cancel()) == (not self.holders.total() and not self.under_way)

    @invariant()
    def is_bounded(self) -> None:
        """See that the bounds hold at every moment, and that no call waits while there is room."""
        assert self.holders.total() <= self.admission.count <= self.max_in_flight
        assert self.admission.queued <= self.max_queued
        lanes = self.admission._lanes.values()
        assert sum(lane.in_flight for lane in lanes) == self.admission.count
        assert sum(len(lane.waiting) for lane in lanes) == self.admission.queued
        for lane in lanes:
            assert lane.in_flight <= self.share
            assert len(lane.waiting) <= self.queue_share
            has_room = self.admission.count < self.max_in_flight and lane.in_flight < self.share
            assert not (lane.waiting and has_room)

    def teardown(self) -> None:
        """Let everybody leave: all who waited are served, and nothing is left."""
        if hasattr(self, "admission"):
            self.let_run(6)
            while self.holders.total():
                self.end(next(iter(+self.holders)))
                self.let_run(6)
            assert (self.admission.count, self.admission.queued, self.under_way) == (0, 0, {})
            self.settle()
        self.loop.close()


AnyOrder.TestCase.settings = settings(max_examples=examples(80), stateful_step_count=30, deadline=None)
TestAnyOrder = AnyOrder.TestCase
