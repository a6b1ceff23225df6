"""Health watches: how many may be open, in all and on one connection."""

import asyncio

import pytest

from bridge.server.watches import PER_CONNECTION_MAX, TooManyWatchesError, Watches
from tests.support.engines import on_both_engines
from tests.support.floods.attacks import CANCEL, EMPTY, WATCH
from tests.support.http2.frames import RST_STREAM, frame
from tests.support.raw_caller import RawCaller, raw_caller
from tests.support.serving import listening_bridge
from tests.support.whole_path import PATIENCE_S

RESOURCE_EXHAUSTED = "8"
WALLET = "http://127.0.0.1:1"


def test_total() -> None:
    """There are no more than so many in all, over any number of connections, and one that ends makes room."""
    watches = Watches(total_max=2, per_connection_max=2)
    with watches.one_more("a"):
        with watches.one_more("b"), pytest.raises(TooManyWatchesError), watches.one_more("c"):
            pass
        with watches.one_more("c"):
            pass


def test_per_connection() -> None:
    """One connection that has as many as it may keeps no other from having one."""
    watches = Watches(total_max=9, per_connection_max=1)
    with watches.one_more("a"), watches.one_more("b"), pytest.raises(TooManyWatchesError), watches.one_more("a"):
        pass


def ended(caller: RawCaller) -> list[int]:
    """Return the streams that are over."""
    return [stream_id for stream_id, answer in caller.answers.items() if answer.is_over]


@on_both_engines
async def test_watches_of_a_connection_among_calls() -> None:
    """On the port for calls, which takes far more streams, watches end where their limit is; a reset makes room."""
    async with listening_bridge(WALLET, {}) as bridge, raw_caller(bridge.address) as caller:
        last = 2 * PER_CONNECTION_MAX + 1
        for stream_id in range(1, last + 1, 2):
            caller.call(WATCH, EMPTY, stream_id=stream_id)
        # Which one comes last is the engine's own affair: it has several threads.
        while len(caller.answers) <= PER_CONNECTION_MAX or not (over := ended(caller)):
            await caller.read()
        assert [caller.answers[each].headers["grpc-status"] for each in over] == [RESOURCE_EXHAUSTED]
        caller.send(frame(RST_STREAM, 0, 3 if over == [1] else 1, CANCEL))
        stream_id = last
        async with asyncio.timeout(PATIENCE_S):
            while True:  # until the bridge has seen the reset
                stream_id += 2
                caller.call(WATCH, EMPTY, stream_id=stream_id)
                while not (answer := caller.answers.get(stream_id)) or not (answer.body or answer.is_over):
                    await caller.read()
                if not answer.is_over:
                    break
