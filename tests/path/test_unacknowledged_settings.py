"""Callers that never acknowledge the bridge's SETTINGS: its limits do not hold for them, so they are closed."""

import asyncio

import pytest

from bridge.server import listeners
from tests.support.engines import on_both_engines, on_grpcio
from tests.support.raw_caller import raw_caller
from tests.support.secure_callers import listening_bridge

pytestmark = on_both_engines

WALLET = "http://127.0.0.1:1"


@on_grpcio
@pytest.mark.parametrize("port", ["address", "health_address"])
async def test_settings_that_are_not_acknowledged(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is closed when the time for the acknowledgement is up (RFC 9113, section 6.5.3)."""
    monkeypatch.setattr(listeners, "HANDSHAKE_S", 0.05)
    settings = {"SERVER__HEALTH_LISTEN": "127.0.0.1:0"}
    async with listening_bridge(WALLET, settings) as bridge, raw_caller(getattr(bridge, port)) as caller:
        caller.acknowledges = False
        async with asyncio.timeout(30):
            while not caller.is_closed:
                await caller.read()
