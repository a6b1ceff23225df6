"""Waits of calls for the store, in virtual time, and the results that they wait for."""

import asyncio
import weakref
from functools import partial

import pytest

from bridge.settlement.entry import Added, State
from bridge.settlement.written import Waits, Written
from tests.support.settlement_calls import new_call
from tests.support.virtual_time import virtually

WAIT_S = 0.05
ADDED = Added("entry", is_new=True, state=State.PENDING)


async def waited(waits: Waits, after_s: float, written: Written | None = None) -> float:
    """Return how long a call waits that begins so much later."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(after_s)
    began = loop.time()
    waiter = waits.begin(WAIT_S)
    await (waiter if written is None else written.wake(waiter))
    return loop.time() - began


@virtually
async def test_each_wait_lasts_as_long_from_its_own_beginning() -> None:
    """Those of one moment, of several, and one that begins when all others have ended: one timer ends all."""
    waits = Waits()
    starts = [0.0, 0.0, 0.01, 0.049, 0.0501, 0.3]
    lasted = await asyncio.gather(*(waited(waits, start) for start in starts))
    assert lasted == [pytest.approx(WAIT_S)] * len(starts)


@virtually
async def test_a_wait_ends_with_the_write() -> None:
    """At once, while the waits around it go on."""
    waits, written = Waits(), Written(new_call(), 1)
    asyncio.get_running_loop().call_later(0.02, written.finish, ADDED)
    calls = [waited(waits, 0.0), waited(waits, 0.005, written), waited(waits, 0.01)]
    assert list(await asyncio.gather(*calls)) == [pytest.approx(one) for one in (WAIT_S, 0.015, WAIT_S)]
    assert written.added is ADDED


@virtually
async def test_a_cancel_stops_the_wait_alone() -> None:
    """The write goes on and has its result; waits behind the cancelled one end in time."""
    waits, written = Waits(), Written(new_call(), 1)
    cancelled = asyncio.ensure_future(waited(waits, 0.0, written))
    behind = asyncio.ensure_future(waited(waits, 0.01))
    await asyncio.sleep(0.02)
    cancelled.cancel()
    assert await behind == pytest.approx(WAIT_S)
    written.finish(ADDED)
    assert (await written, written.is_done, cancelled.cancelled()) == (ADDED, True, True)


@virtually
async def test_waits_that_are_over_are_forgotten() -> None:
    """With the next one that lasts its time: nothing of a call is kept for longer than calls may wait."""
    waits = Waits()
    for number in range(1000):
        written = Written(new_call(str(number)), 1)
        written.wake(waits.begin(WAIT_S))
        written.finish(ADDED)
        await asyncio.sleep(0.001)
        assert len(waits._waiting) <= 2 * WAIT_S / 0.001 + 2
    await asyncio.sleep(2 * WAIT_S)
    assert (len(waits._waiting), waits._timer) == (0, None)


@virtually
async def test_callbacks_come_in_the_next_turn_of_the_loop() -> None:
    """Once each, those that are added before the end and those that are added after it: none runs inside the writer."""
    written, called = Written(new_call(), 1), list[str]()
    written.then(lambda: called.append("before"))
    written.finish(ADDED)
    written.then(lambda: called.append("after"))
    assert called == []
    await asyncio.sleep(0)
    assert called == ["before", "after"]


@virtually
async def test_what_was_called_is_not_kept() -> None:
    """It may lead back to the write: else both would wait for the garbage collector."""
    written, called = Written(new_call(), 1), list[Written]()
    callback = partial(called.append, written)
    kept = weakref.ref(callback)
    written.then(callback)
    del callback
    written.finish(ADDED)
    await asyncio.sleep(0.001)
    assert called == [written]
    assert kept() is None
