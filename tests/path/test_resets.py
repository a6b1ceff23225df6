"""Streams that are opened and reset at once (CVE-2023-44487): a connection gets no more of them than it may have."""

import asyncio
from functools import partial

import pytest

from bridge.server import first_message, listeners
from bridge.server.listeners import streams_max
from bridge.server.reflection import METHOD, NAMES
from bridge.server.tarpit import Tarpit
from bridge.settings.server import Server
from tests.support.engines import on_both_engines, on_grpcio
from tests.support.floods.attacks import CANCEL, CHECK, EMPTY, TERMINATE, opened
from tests.support.http2.frames import PING, frame
from tests.support.raw_caller import RawCaller, raw_caller
from tests.support.serving import listening_bridge
from tests.support.whole_path import PATIENCE_S

pytestmark = on_both_engines

WALLET = "http://127.0.0.1:1"
SETTINGS = {"SERVER__MAX_IN_FLIGHT": "1", "SERVER__MAX_QUEUED": "0", "SERVER__HEALTH_LISTEN": "127.0.0.1:0"}
STREAMS = streams_max(Server(max_in_flight=1, max_queued=0))
REFUSED_STREAM = 7
ENDED = 20
FOREVER_S = 3600.0
METHODS = {
    "an operation": TERMINATE,
    "health": CHECK,
    "reflection": f"/{NAMES[0]}/{METHOD}",
    "an unknown method": "/x.Y/Z",
}


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold calls for ever, and let few of them be above the limit."""
    monkeypatch.setattr(first_message, "Tarpit", partial(Tarpit, hold_s=FOREVER_S, free=0))
    monkeypatch.setattr(listeners, "ENDED_STREAMS_MAX", ENDED)


async def resets(caller: RawCaller, method: str, count: int) -> int:
    """Open so many streams and reset them; return the number for the next, when the other end has taken them all."""
    while not caller.settings:
        await caller.read()
    stream = opened(method, ends=False, then=CANCEL)
    # Until its SETTINGS are acknowledged the bridge takes fewer: the first ping is behind that.
    for sent in (b"", b"".join(stream(2 * number + 1) for number in range(count))):
        pongs = caller.pongs
        caller.send(sent, frame(PING, payload=bytes(8)))
        while caller.pongs == pongs:
            await caller.read()
            assert not caller.is_closed
    return 2 * count + 1


async def answered(address: str) -> None:
    """Call on a connection of its own: when there is an answer, the bridge has looked at every call before it."""
    async with raw_caller(address) as other:
        other.call(CHECK, EMPTY)
        assert (await other.answer()).headers["grpc-status"] == "0"


@on_grpcio
@pytest.mark.usefixtures("endless")
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
async def test_no_more_than_its_streams(method: str) -> None:
    """While what it has reset is held, its further streams are refused, others are served, and a stop takes no time."""
    async with asyncio.timeout(PATIENCE_S), listening_bridge(WALLET, SETTINGS) as bridge:
        async with raw_caller(bridge.address) as caller:
            next_id = await resets(caller, method, 3 * (STREAMS + ENDED))
            await answered(bridge.address)
            await answered(bridge.address)
            caller.call(CHECK, EMPTY, stream_id=next_id)
            assert (await caller.answer(next_id)).reset == REFUSED_STREAM
        await answered(bridge.address)


@on_grpcio
async def test_a_client_that_cancels() -> None:
    """A client that has cancelled as many calls as it may have goes on calling, on the same connection."""
    async with listening_bridge(WALLET, SETTINGS) as bridge, raw_caller(bridge.address) as caller:
        next_id = await resets(caller, TERMINATE, STREAMS)
        caller.call(CHECK, EMPTY, stream_id=next_id)
        assert (await caller.answer(next_id)).headers["grpc-status"] == "0"
