"""Calls that a drain holds back until the port closes, and their deadlines."""

import asyncio

import pytest

from bridge.admission import Admission
from bridge.deadline import Deadline
from bridge.errors import BridgeDraining


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
