"""docs/design/faults.md, "Connection": steady load on a whole bridge while the wallet recycles its connections.

A whole bridge before a wallet that ends its connections after very few requests, as nginx can.

A whole bridge before a wallet that closes a connection as soon as it is made, as a server that is reloaded does.
"""

import asyncio
from collections import Counter

import pytest
from hyperframe.frame import GoAwayFrame, SettingsFrame

from bridge.http2.recycling import UNLIMITED, Recycling
from bridge.sandbox.behaviours import recycle_after, terminated
from bridge.sandbox.connection import Connection
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour, Stream
from bridge.upstream.retry import RetryBudget
from tests.support.engines import on_both_engines
from tests.support.whole_path import Caller, bridge_to

CALLERS, REQUESTS_PER_CONNECTION = 40, 80


async def codes_of(caller: Caller, each: int) -> dict[str, int]:
    """Return how the calls ended of 40 callers at once who make so many each, one after the other."""

    async def calls(name: int) -> list[str]:
        return [(await caller.terminate(f"{name}-{number}")).code for number in range(each)]

    return Counter(code for codes in await asyncio.gather(*map(calls, range(CALLERS))) for code in codes)


@on_both_engines
@pytest.mark.long
async def test_recycling_is_invisible() -> None:
    """While each connection is retired after 80 requests, no call fails, and each token is processed exactly once."""
    each = 12
    async with FaultServer(recycle_after(REQUESTS_PER_CONNECTION)) as wallet, bridge_to(wallet.url) as caller:
        assert await codes_of(caller, each) == {"OK": CALLERS * each}
        assert Counter(wallet.processed) == {f"{name}-{number}": 1 for name in range(CALLERS) for number in range(each)}
        assert wallet.connections >= CALLERS * each // REQUESTS_PER_CONNECTION


def takes_only(requests: int) -> Behaviour:
    """Process the first requests of each connection, and disown all others."""

    async def behaviour(stream: Stream) -> None:
        if stream.request.stream_id == 2 * requests - 1:
            stream.connection.goaway(stream.request.stream_id)
        await terminated(stream)

    return behaviour


@on_both_engines
@pytest.mark.parametrize("requests", [1, 2, 7])
@pytest.mark.short("grpcio-1", "native-2")
async def test_no_call_fails(requests: int) -> None:
    """40 callers at once, though each connection takes only so many requests: all are OK, each is processed once."""
    async with (
        FaultServer(takes_only(requests)) as wallet,
        bridge_to(wallet.url, {"WALLET__CONNECTIONS_MAX": "2"}) as caller,
    ):
        assert await codes_of(caller, 5) == {"OK": CALLERS * 5}
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


MANY = 60
NO_ERROR = 0


async def retire_the_first(connection: Connection) -> None:
    """Send SETTINGS, and on the first connection GOAWAY behind them."""
    goaway = GoAwayFrame(0, error_code=NO_ERROR).serialize() if connection.number == 1 else b""
    connection.raw(SettingsFrame(0).serialize() + goaway)


@on_both_engines
@pytest.mark.parametrize("connections", ["1", "10"])
@pytest.mark.short("grpcio-1", "native-10")
async def test_calls_that_wait_for_a_connection_that_is_closed(connections: str) -> None:
    """Though more calls wait for it than the retry budget pays for, none fails, and each token is processed once."""
    budget = RetryBudget()
    assert budget.retry_cost * MANY > budget.capacity
    async with (
        FaultServer(terminated, settings=None, opening=retire_the_first) as wallet,
        bridge_to(wallet.url, {"WALLET__CONNECTIONS_MAX": connections}) as caller,
    ):
        ends = await asyncio.gather(*(caller.terminate(f"call-{number}") for number in range(MANY)))
        assert wallet.connections > 1
        assert Counter(end.code for end in ends) == {"OK": MANY}
        assert Counter(wallet.processed) == {f"call-{number}": 1 for number in range(MANY)}
