"""The count of calls under way, which a drain waits for."""

import asyncio

import pytest

from bridge.errors import BridgeDraining
from bridge.in_flight import InFlight


async def test_calls_are_counted_while_they_last() -> None:
    """Each call counts from its start to its end."""
    in_flight = InFlight()
    with in_flight.call():
        with in_flight.call():
            assert in_flight.count == 2
        assert in_flight.count == 1
    assert in_flight.count == 0


async def test_a_call_that_fails_has_ended_too() -> None:
    """An exception or a cancel leaves nothing behind in the count."""
    in_flight = InFlight()
    for error in (ValueError, asyncio.CancelledError):
        with pytest.raises(error), in_flight.call():
            raise error
    assert in_flight.count == 0


async def test_refusing_turns_new_calls_away_and_keeps_the_old() -> None:
    """In the second step of a drain a new call is BRIDGE_DRAINING; one under way goes on."""
    in_flight = InFlight()
    with in_flight.call():
        in_flight.refuse()
        with pytest.raises(BridgeDraining), in_flight.call():
            pytest.fail("a call was let in")
        assert in_flight.count == 1
    assert in_flight.count == 0


async def test_idle_returns_at_once_when_nothing_is_under_way() -> None:
    """A bridge without calls need not wait, neither before the first call nor after the last."""
    in_flight = InFlight()
    await in_flight.idle()
    with in_flight.call():
        pass
    await in_flight.idle()


async def test_idle_waits_for_the_last_call() -> None:
    """Two calls, one ends: idle still waits. The other ends: whoever waited goes on."""
    in_flight = InFlight()
    with in_flight.call():
        with in_flight.call():
            pass
        waiting = asyncio.ensure_future(in_flight.idle())
        # A time-out of 0 strikes exactly when idle() has to wait at all.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await in_flight.idle()
        assert not waiting.done()
    await waiting
