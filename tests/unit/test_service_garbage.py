"""What a call leaves is freed at its end, without the garbage collector, which runs seldom in a bridge."""

import gc

from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from tests.unit.test_service import REQUEST, ROUTE, service_of, transport_to_wallet


async def test_a_call_leaves_nothing_to_the_collector() -> None:
    """The values of a call, which hold its request and gRPC's context, are gone when it has ended."""
    async with FaultServer(terminated) as wallet, service_of(transport_to_wallet(), [], wallet.url) as service:
        gc.collect()
        gc.disable()
        try:
            earlier = _calls()
            await service.handle(ROUTE, REQUEST, None)
            assert [one for one in _calls() if not any(one is other for other in earlier)] == []
        finally:
            gc.enable()


def _calls() -> list[object]:
    return [one for one in gc.get_objects() if type(one).__qualname__ in {"Call", "Watch", "Sending"}]
