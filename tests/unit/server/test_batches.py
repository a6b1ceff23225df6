"""Calls that come close together begin together; one that comes alone is not held up for long, nor again and again."""

import asyncio
import itertools
from collections.abc import Callable, Sequence

import pytest

from bridge.server.batches import ALONE_MAX, BATCH_MAX, LOOKS_MAX, TAKEN_S, WAIT_S, Batches

FAR_APART = 2 * LOOKS_MAX


def nothing() -> None:
    """Let no other thread run."""


def timeless(let_others_run: Callable[[], None] = nothing) -> Batches:
    """Return batches for which no time passes."""
    return Batches(let_others_run, clock=float)


class Turns:
    """The number of the event loop's turn, counted until the loop ends."""

    def __init__(self) -> None:
        self.number = 0
        self._count()

    def _count(self) -> None:
        self.number += 1
        asyncio.get_running_loop().call_soon(self._count)


async def begun(batches: Batches, gaps: Sequence[int]) -> list[tuple[int, int]]:
    """Let a call come after each of these numbers of turns; return the turns in which each came and began."""
    turns = Turns()

    async def call() -> tuple[int, int]:
        came = turns.number
        await batches.turn()
        return came, turns.number

    calls = []
    for gap in gaps:
        for _ in range(gap):
            await asyncio.sleep(0)
        calls.append(asyncio.create_task(call()))
    return await asyncio.gather(*calls)


def sizes(calls: Sequence[tuple[int, int]]) -> list[int]:
    """Return how many began together, group by group."""
    return [len(list(group)) for _, group in itertools.groupby(began for _, began in calls)]


@pytest.mark.parametrize("gap", [0, 1, LOOKS_MAX - 1])
async def test_close_together(gap: int) -> None:
    """Calls begin in one turn of the loop where each comes before the one before it has waited for long."""
    assert sizes(await begun(timeless(), [gap] * 5)) == [5]


async def test_far_apart() -> None:
    """Two calls do not wait for each other where nothing has come for LOOKS_MAX turns."""
    assert sizes(await begun(timeless(), [0, 0, FAR_APART, 0])) == [2, 2]


async def test_a_batch_is_full() -> None:
    """Where calls come one a turn without an end, none waits for more than BATCH_MAX."""
    groups = sizes(await begun(timeless(), [1] * 5 * BATCH_MAX))
    assert max(groups) <= BATCH_MAX + 1
    assert len(groups) >= 5 - 1


async def test_alone() -> None:
    """Of calls that come alone ever fewer wait: 1 of 2, then 1 of 4, 1 of 8, 1 of 16."""
    calls = await begun(timeless(), [FAR_APART] * 48)
    waited = [number for number, (came, began) in enumerate(calls) if began > came]
    assert waited == [0, 2, 6, 14, 30, 46]
    assert ALONE_MAX == 15
    assert all(began - came <= LOOKS_MAX + 3 for came, began in calls)


async def test_others_again() -> None:
    """Where a call that waits finds another, all wait again from then on."""
    batches = timeless()
    await begun(batches, [FAR_APART] * 14)
    assert sizes(await begun(batches, [FAR_APART, 0])) == [2]
    assert sizes(await begun(batches, [FAR_APART, 1, 1])) == [3]


async def test_others_run() -> None:
    """While a call waits, the processor is offered to other threads in every turn."""
    offered: list[None] = []
    await begun(timeless(lambda: offered.append(None)), [0])
    assert len(offered) == LOOKS_MAX


async def test_time() -> None:
    """Where its time is over, no call waits for the turns that are left."""
    seconds = itertools.count(step=WAIT_S / 8)
    [(came, began)] = await begun(Batches(nothing, seconds.__next__), [0])
    assert began - came < LOOKS_MAX / 2


async def test_another_process() -> None:
    """Where an offer of the processor takes long, it is the last; the calls begin, and others at once for a time."""
    offers: list[float] = []
    batches = Batches(lambda: offers.append(1.1 * TAKEN_S), lambda: sum(offers))
    calls = await begun(batches, [0, 0, FAR_APART, FAR_APART])
    assert [began > came for came, began in calls] == [True, True, False, True]
    assert len(offers) == 2  # one for the first two, one for the last


async def test_cancelled() -> None:
    """A call that is cancelled while it waits ends, and the others begin."""
    batches = timeless()
    calls = [asyncio.create_task(batches.turn()) for _ in range(3)]
    await asyncio.sleep(0)
    calls[1].cancel()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(end) for end in ends] == [type(None), asyncio.CancelledError, type(None)]
