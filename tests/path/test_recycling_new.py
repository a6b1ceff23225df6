"""A whole bridge before a wallet that closes a connection as soon as it is made, as a server that is reloaded does."""

import asyncio
from collections import Counter

import pytest
from hyperframe.frame import GoAwayFrame, SettingsFrame

from bridge.sandbox.behaviours import terminated
from bridge.sandbox.connection import Connection
from bridge.sandbox.server import FaultServer
from bridge.upstream.retry import RetryBudget
from tests.support.engines import on_both_engines
from tests.support.whole_path import bridge_to

pytestmark = on_both_engines

CALLERS = 60
NO_ERROR = 0


async def retire_the_first(connection: Connection) -> None:
    """Send SETTINGS, and on the first connection GOAWAY behind them."""
    goaway = GoAwayFrame(0, error_code=NO_ERROR).serialize() if connection.number == 1 else b""
    connection.raw(SettingsFrame(0).serialize() + goaway)


@pytest.mark.parametrize("connections", ["1", "10"])
async def test_calls_that_wait_for_a_connection_that_is_closed(connections: str) -> None:
    """Though more calls wait for it than the retry budget pays for, none fails, and each token is processed once."""
    budget = RetryBudget()
    assert budget.retry_cost * CALLERS > budget.capacity
    async with (
        FaultServer(terminated, settings=None, opening=retire_the_first) as wallet,
        bridge_to(wallet.url, {"WALLET__CONNECTIONS_MAX": connections}) as caller,
    ):
        ends = await asyncio.gather(*(caller.terminate(f"call-{number}") for number in range(CALLERS)))
        assert wallet.connections > 1
        assert Counter(end.code for end in ends) == {"OK": CALLERS}
        assert Counter(wallet.processed) == {f"call-{number}": 1 for number in range(CALLERS)}
