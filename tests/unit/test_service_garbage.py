"""What a call leaves is freed at its end, without the garbage collector, which runs seldom in a bridge."""

import gc

import httpx

from bridge.http2.transport import Http2Transport
from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from tests.unit.test_service import REQUEST, ROUTE, service_of


async def test_a_call_leaves_nothing_to_the_collector() -> None:
    """The values of a call, which hold its request and gRPC's context, are gone when it has ended."""
    async with (
        FaultServer(terminated) as wallet,
        service_of(Http2Transport(httpx.create_ssl_context()), [], wallet.url) as service,
    ):
        gc.collect()
        gc.disable()
        try:
            calls = _calls()
            await service.handle(ROUTE, REQUEST, None)
            assert _calls() == calls
        finally:
            gc.enable()


def _calls() -> int:
    return sum(type(one).__qualname__ in {"Call", "Watch", "Sending"} for one in gc.get_objects())
