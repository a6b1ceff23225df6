"""docs/design/faults.md, "Connection": steady load on a whole bridge while the wallet recycles its connections."""

import asyncio
from collections import Counter

from bridge.sandbox.behaviours import recycle_after
from bridge.sandbox.server import FaultServer
from tests.support.engines import on_both_engines
from tests.support.whole_path import bridge_to

pytestmark = on_both_engines

CALLERS, CALLS_EACH, REQUESTS_PER_CONNECTION = 40, 12, 80


async def test_recycling_is_invisible() -> None:
    """While each connection is retired after 80 requests, no call fails, and each token is processed exactly once."""
    async with FaultServer(recycle_after(REQUESTS_PER_CONNECTION)) as wallet, bridge_to(wallet.url) as caller:

        async def calls(name: int) -> list[str]:
            return [(await caller.terminate(f"{name}-{number}")).code for number in range(CALLS_EACH)]

        ends = await asyncio.gather(*map(calls, range(CALLERS)))
        assert Counter(code for codes in ends for code in codes) == {"OK": CALLERS * CALLS_EACH}
        assert Counter(wallet.processed) == {
            f"{name}-{number}": 1 for name in range(CALLERS) for number in range(CALLS_EACH)
        }
        assert wallet.connections >= CALLERS * CALLS_EACH // REQUESTS_PER_CONNECTION
