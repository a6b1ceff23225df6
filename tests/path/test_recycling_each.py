"""A whole bridge before a wallet that ends its connections after very few requests, as nginx can."""

import asyncio
from collections import Counter

import pytest

from bridge.http2.recycling import UNLIMITED, Recycling
from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour, Stream
from tests.support.engines import on_both_engines
from tests.support.whole_path import bridge_to

CALLERS, CALLS_EACH = 40, 5


def takes_only(requests: int) -> Behaviour:
    """Process the first requests of each connection, and disown all others."""

    async def behaviour(stream: Stream) -> None:
        if stream.request.stream_id == 2 * requests - 1:
            stream.connection.goaway(stream.request.stream_id)
        await terminated(stream)

    return behaviour


@on_both_engines
@pytest.mark.parametrize("requests", [1, 2, 7])
async def test_no_call_fails(requests: int) -> None:
    """40 callers at once, though each connection takes only so many requests: all are OK, each is processed once."""
    async with (
        FaultServer(takes_only(requests)) as wallet,
        bridge_to(wallet.url, {"WALLET__CONNECTIONS_MAX": "2"}) as caller,
    ):

        async def calls(name: int) -> list[str]:
            return [(await caller.terminate(f"{name}-{number}")).code for number in range(CALLS_EACH)]

        ends = await asyncio.gather(*map(calls, range(CALLERS)))
        assert Counter(code for codes in ends for code in codes) == {"OK": CALLERS * CALLS_EACH}
        assert max(Counter(wallet.processed).values()) == 1


def test_expectation_follows_what_the_server_takes() -> None:
    """It falls to what was processed, never below 1, and grows while requests end without GOAWAY."""
    recycling = Recycling()
    assert recycling.allows(999, 999)
    recycling.went_away(40, 0)
    assert recycling.allows(999, 999)
    recycling.went_away(40, 33)
    assert [recycling.allows(begun, begun) for begun in (6, 7)] == [True, False]
    assert recycling.allows(7, 0)
    recycling.went_away(3, 3)
    assert recycling.expected == 1
    for _ in range(20):
        recycling.expect_more()
    assert recycling.allows(int(UNLIMITED), int(UNLIMITED))
