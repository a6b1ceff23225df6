"""Who is refused, and what happens at once, with a single provider; bounds and order: test_admission_any_order.py.

Calls that a drain holds back until the port closes, and their deadlines.
"""

import asyncio

import pytest

from bridge.admission import RETRY_AFTER_S, Admission
from bridge.deadline import MINIMUM_S, Deadline
from bridge.errors import BridgeDraining, BridgeOverloaded
from tests.support.whole_path import PATIENCE_S

AMPLE = Deadline.after(3600)

ONE = 1
"""The provider of all calls, where there is a single one."""


def over() -> Deadline:
    """Return a deadline that is not over, but leaves no time for sending anything."""
    return Deadline.after(MINIMUM_S)


class Line:
    """Calls that wait before an Admission, by their names, and who of them was admitted, in that order."""

    def __init__(self, admission: Admission) -> None:
        self.admitted: list[str] = []
        self._admission = admission

    async def join(self, name: str, deadline: Deadline = AMPLE) -> asyncio.Task[None]:
        """Let a call join the line; return when it waits."""
        assert not self._admission.enter(ONE)
        task = asyncio.create_task(self._wait(name, deadline))
        await asyncio.sleep(0)
        return task

    async def _wait(self, name: str, deadline: Deadline) -> None:
        await self._admission.wait(ONE, deadline)
        self.admitted.append(name)


async def turns() -> None:
    """Let everybody go on who can: a time-out and a cancel need a few turns of the loop."""
    for _ in range(5):
        await asyncio.sleep(0)


def full(max_in_flight: int = 1, max_queued: int = 2) -> Admission:
    """Return one that has admitted all that it may."""
    admission = Admission(max_in_flight, max_queued)
    assert all(admission.enter(ONE) for _ in range(max_in_flight))
    return admission


async def is_idle(admission: Admission) -> bool:
    """Say whether `idle` returns now."""
    waiting = asyncio.create_task(admission.idle())
    await turns()
    return not waiting.cancel()


@pytest.mark.parametrize("max_queued", [0, 2])
async def test_a_full_line_refuses(max_queued: int) -> None:
    """Who finds the line full is refused at once, with the time after which to come again."""
    admission = full(max_queued=max_queued)
    line = Line(admission)
    waiting = [await line.join(str(number)) for number in range(max_queued)]
    with pytest.raises(BridgeOverloaded) as refused:
        admission.enter(ONE)
    assert (refused.value.retry_after_s, refused.value.cause) == (RETRY_AFTER_S, "")
    for task in waiting:
        task.cancel()


@pytest.mark.parametrize("turn_first", [True, False], ids=["turn first", "cancel first"])
async def test_a_turn_and_a_cancel_at_once(*, turn_first: bool) -> None:
    """The turn of one who is cancelled at that moment goes to the one behind."""
    admission = full()
    line = Line(admission)
    cancelled = await line.join("cancelled")
    await line.join("behind")
    actions = (lambda: admission.leave(ONE), cancelled.cancel)
    for action in actions if turn_first else reversed(actions):
        action()
    await turns()
    assert (cancelled.cancelled(), line.admitted, admission.count) == (True, ["behind"], 1)


async def test_deadline_in_line() -> None:
    """A call that could no longer be sent in time is refused, with its time in the queue, and holds no place."""
    admission = full()
    waiting = await Line(admission).join("late", over())
    with pytest.raises(BridgeOverloaded) as refused:
        await waiting
    assert (refused.value.cause, refused.value.retry_after_s) == ("queue", RETRY_AFTER_S)
    assert (admission.count, admission.queued) == (1, 0)


async def test_a_turn_and_a_deadline_at_once() -> None:
    """A turn that comes together with the end of the time goes to the one behind."""
    admission = full()
    line = Line(admission)
    late = await line.join("late", over())
    await line.join("behind")
    admission.leave(ONE)
    await turns()
    assert isinstance(late.exception(), BridgeOverloaded)
    assert (line.admitted, admission.count) == (["behind"], 1)


async def test_refusing() -> None:
    """Once it refuses, no new call comes in; queued ones are still served, and an ended call makes room for them."""
    admission = full()
    line = Line(admission)
    await line.join("in line")
    admission.refuse()
    with pytest.raises(BridgeDraining):
        admission.enter(ONE)
    admission.leave(ONE)
    await turns()
    assert (line.admitted, admission.count) == (["in line"], 1)
    admission.leave(ONE)
    with pytest.raises(BridgeDraining):
        admission.enter(ONE)


async def test_holding() -> None:
    """A held call is neither admitted nor refused before the release, of which a second one changes nothing."""
    admission = Admission()
    admission.refuse()
    admission.hold()
    held = []
    for _ in range(3):
        assert not admission.enter(ONE)
        held.append(asyncio.create_task(admission.wait(ONE, AMPLE)))
    await turns()
    held[0].cancel()
    await turns()
    assert [task.done() for task in held] == [True, False, False]
    assert (admission.count, admission.queued) == (0, 0)
    admission.release()
    admission.release()
    results = await asyncio.gather(*held, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, BridgeDraining, BridgeDraining]


async def test_idle() -> None:
    """Idle is no call admitted and none in the queue: not between a call that leaves and the one that follows."""
    admission = Admission(max_in_flight=1)
    assert await is_idle(admission)
    assert admission.enter(ONE)
    await Line(admission).join("in line")
    waiting = asyncio.create_task(admission.idle())
    await turns()
    admission.leave(ONE)
    await turns()
    assert not waiting.done()
    admission.leave(ONE)
    await asyncio.wait_for(waiting, PATIENCE_S)
    assert await is_idle(admission)


@pytest.mark.parametrize("left_s", [-1.0, 0.0, 0.02])
async def test_a_held_call_is_refused_at_its_deadline(left_s: float) -> None:
    """A call whose time ends before the release is refused then, so that its caller still gets the details."""
    admission = Admission()
    admission.refuse()
    admission.hold()
    assert not admission.enter(1)
    async with asyncio.timeout(20):
        with pytest.raises(BridgeDraining):
            await admission.wait(1, Deadline.after(left_s))
    others = asyncio.create_task(admission.wait(1, Deadline.after(20)))
    await asyncio.sleep(0)
    assert not others.done()
    admission.release()
    with pytest.raises(BridgeDraining):
        await others
