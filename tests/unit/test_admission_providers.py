"""Admission of several providers: each within its share, served in turn, with a place in the queue for everyone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from bridge.admission import Admission
from bridge.deadline import Deadline
from bridge.errors import BridgeOverloaded

AMPLE = Deadline.after(3600)
HUNG, GOOD, OTHER = 1, 2, 3


class Queue:
    """Calls of several providers before an Admission: who waits, who was admitted from the queue, in that order."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.admitted: list[str] = []
        self.refused: dict[str, str] = {}
        """The cause, by the call's name."""
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, provider_id: int, name: str) -> None:
        """Let a call come, which is admitted, queued or refused."""
        try:
            if self.admission.enter(provider_id):
                self.admitted.append(name)
                return
        except BridgeOverloaded as error:
            self.refused[name] = error.cause
            return
        self.tasks.append(asyncio.create_task(self._wait(provider_id, name)))
        await turns()

    async def _wait(self, provider_id: int, name: str) -> None:
        try:
            await self.admission.wait(provider_id, AMPLE)
        except BridgeOverloaded as error:
            self.refused[name] = error.cause
        else:
            self.admitted.append(name)

    async def fill(self, provider_id: int, count: int, prefix: str) -> None:
        """Let so many calls come, called prefix-0 and so on."""
        for number in range(count):
            await self.come(provider_id, f"{prefix}{number}")

    async def leave(self, provider_id: int) -> None:
        """End an admitted call of a provider, and let the next one in."""
        self.admission.leave(provider_id)
        await turns()


async def turns() -> None:
    """Let everybody go on who can."""
    for _ in range(3):
        await asyncio.sleep(0)


@asynccontextmanager
async def queue(max_in_flight: int, max_queued: int, share: int | None) -> AsyncIterator[Queue]:
    """Yield a queue before an empty Admission; no task is left behind."""
    found = Queue(Admission(max_in_flight, max_queued, share))
    yield found
    for task in found.tasks:
        task.cancel()
    await asyncio.gather(*found.tasks, return_exceptions=True)


async def test_a_hung_provider_fills_its_share_and_no_more() -> None:
    """With half of all places and half of the queue taken by one, the others are admitted at once."""
    async with queue(10, 4, 5) as calls:
        await calls.fill(HUNG, 20, "hung-")
        assert calls.admitted == [f"hung-{number}" for number in range(5)]
        assert (calls.admission.count, calls.admission.queued) == (5, 2)
        assert set(calls.refused.values()) == {"provider"}
        assert len(calls.refused) == 13
        await calls.fill(GOOD, 5, "good-")
        assert calls.admitted[5:] == [f"good-{number}" for number in range(5)]


async def test_one_provider_may_have_everything() -> None:
    """Without a share below all places there is no other limit, and its refusals name no provider."""
    async with queue(3, 2, None) as calls:
        await calls.fill(HUNG, 6, "call-")
        assert (calls.admission.count, calls.admission.queued) == (3, 2)
        assert calls.refused == {"call-5": ""}


async def test_a_place_that_its_provider_cannot_use_goes_to_another() -> None:
    """A call that leaves lets in one of another provider where its own is at its share, and not where it is not."""
    async with queue(2, 4, 1) as calls:
        await calls.fill(HUNG, 2, "hung-")
        await calls.fill(GOOD, 2, "good-")
        assert calls.admitted == ["hung-0", "good-0"]
        await calls.leave(GOOD)
        assert calls.admitted == ["hung-0", "good-0", "good-1"]
        await calls.leave(HUNG)
        assert calls.admitted == ["hung-0", "good-0", "good-1", "hung-1"]


@pytest.mark.parametrize(
    ("came", "served"),
    [
        pytest.param("1112", "1211", id="one call behind many is second"),
        pytest.param("111222333", "123123123", id="providers take turns"),
        pytest.param("1213", "1231", id="the newest provider waits for one turn of the others"),
        pytest.param("2111", "2111", id="a provider alone has every turn"),
    ],
)
@pytest.mark.parametrize("places", [1, 3])
async def test_turns_go_round_the_providers(came: str, served: str, places: int) -> None:
    """A provider with many calls in the queue does not delay others; each one's own calls keep their order."""
    async with queue(places, len(came), None) as calls:
        await calls.fill(OTHER, places, "first-")
        for number, provider in enumerate(came):
            await calls.come(int(provider), f"{provider}-{number}")
        order, under_way = [], [OTHER] * places
        for _ in came:
            await calls.leave(under_way.pop(0))
            order.append(calls.admitted[-1])
            under_way.append(int(order[-1][0]))
        assert "".join(name[0] for name in order) == served
        for provider in set(came):
            own = [int(name[2:]) for name in order if name[0] == provider]
            assert own == sorted(own)


@pytest.mark.parametrize("before", [2, 3, 4, 9])
async def test_a_full_queue_has_a_place_for_everyone(before: int) -> None:
    """The newest call of the longest part goes where a provider comes that has less than its part of the queue."""
    async with queue(1, 10, None) as calls:
        await calls.come(OTHER, "first")
        providers = range(10, 10 + before)
        for number in range(10):
            provider = providers[number % before]
            await calls.come(provider, f"{provider}-{number}")
        assert calls.admission.queued == 10
        await calls.come(GOOD, "good")
        assert calls.admission.queued == 10
        assert list(calls.refused.values()) == ["provider"]
        assert "good" not in calls.refused


async def test_the_fair_part_is_the_end_of_it() -> None:
    """Who has its part of a full queue is refused, and takes nothing from the others: they keep theirs."""
    async with queue(1, 10, None) as calls:
        await calls.come(OTHER, "first")
        await calls.fill(HUNG, 10, "hung-")
        await calls.fill(GOOD, 10, "good-")
        refused = [name for name in calls.refused if name.startswith("good-")]
        assert refused == [f"good-{number}" for number in range(5, 10)]
        assert [name for name in calls.refused if name.startswith("hung-")] == [f"hung-{n}" for n in range(9, 4, -1)]
        assert {calls.refused[name] for name in refused} == {""}


async def test_two_that_hang_do_not_starve_a_third() -> None:
    """With every place and the whole queue taken by two, a third one's call gets the next place that is free."""
    async with queue(4, 4, 2) as calls:
        await calls.fill(HUNG, 10, "hung-")
        await calls.fill(OTHER, 10, "other-")
        assert (calls.admission.count, calls.admission.queued) == (4, 4)
        await calls.come(GOOD, "good-0")
        await calls.leave(HUNG)
        await calls.leave(OTHER)
        assert "good-0" in calls.admitted[4:6]


@pytest.mark.parametrize(
    ("max_in_flight", "max_queued", "share", "calls_of"),
    [
        pytest.param(2, 0, 1, [HUNG, HUNG], id="no queue"),
        pytest.param(3, 1, 1, [HUNG, HUNG, HUNG], id="a queue of one"),
    ],
)
async def test_a_refusal_says_whose_limit_it_was(
    max_in_flight: int, max_queued: int, share: int, calls_of: Sequence[int]
) -> None:
    """While the bridge has places left, the cause is the provider's share."""
    async with queue(max_in_flight, max_queued, share) as calls:
        for number, provider in enumerate(calls_of):
            await calls.come(provider, str(number))
        assert list(calls.refused.items()) == [(str(len(calls_of) - 1), "provider")]
        assert calls.admission.count < max_in_flight


@pytest.mark.parametrize("cancel_first", [True, False], ids=["cancel first", "displaced first"])
async def test_displaced_and_cancelled_at_once(*, cancel_first: bool) -> None:
    """A call that loses its place in the moment of its cancel frees one place, not two, and is served to no one."""
    async with queue(1, 2, None) as calls:
        await calls.come(OTHER, "first")
        await calls.fill(HUNG, 2, "hung-")
        newest = calls.tasks[-1]
        if cancel_first:
            newest.cancel()
        entered = calls.admission.enter(GOOD)
        newest.cancel()
        waiting = asyncio.create_task(calls.admission.wait(GOOD, AMPLE))
        await turns()
        assert (entered, calls.admission.count, calls.admission.queued) == (False, 1, 2)
        assert newest.cancelled()
        await calls.leave(OTHER)
        await calls.leave(HUNG)
        assert waiting.done()
        assert (calls.admission.count, calls.admission.queued) == (1, 0)


@pytest.mark.parametrize("is_served", [True, False], ids=["served", "cancelled"])
async def test_who_waits_no_more_has_no_part(*, is_served: bool) -> None:
    """The queue is divided among those who wait now: a provider whose last call has left it counts no more."""
    async with queue(1, 4, None) as calls:
        await calls.come(GOOD, "first")
        await calls.come(OTHER, "other")
        if is_served:
            await calls.leave(GOOD)
        else:
            calls.tasks[0].cancel()
            await turns()
        await calls.fill(GOOD, 4, "good-")
        await calls.fill(HUNG, 3, "hung-")
        assert list(calls.refused) == ["good-3", "good-2", "hung-2"]
