"""How servers take connections: with which limits, for how long, and who may share a port."""

import asyncio
from collections import Counter

import grpc
import grpc.aio
import pytest

from bridge.address import ListenError
from bridge.sandbox.behaviours import after, by_token, terminated
from bridge.sandbox.server import FaultServer
from bridge.server.app import running
from bridge.server.listeners import server_options
from bridge.settings.model import load
from tests.support.engines import on_both_engines, on_grpcio
from tests.support.serving import call_once, listening_bridge
from tests.support.whole_path import NO_SETTINGS, call_over, end_of, environment, terminate_request
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

pytestmark = on_both_engines

WALLET = "http://127.0.0.1:1"
AGE_MS, GRACE_MS = "grpc.max_connection_age_ms", "grpc.max_connection_age_grace_ms"


def options_with(**settings: str) -> dict[str, int]:
    """Return the options that these settings mean."""
    return dict(server_options(load(None, environment(WALLET, settings)), reuse_port=False))


@on_grpcio
@pytest.mark.parametrize(
    ("age_s", "age_ms"), [("300", 300_000), ("0.0001", 1)], ids=["five minutes", "less than a millisecond"]
)
def test_age(age_s: str, age_ms: int) -> None:
    """The age is given to gRPC in milliseconds, and the grace is longer than any call's deadline."""
    options = options_with(SERVER__CONNECTION_AGE_S=age_s, WALLET__DEADLINE_MAX_S="45")
    assert (options[AGE_MS], options[GRACE_MS]) == (age_ms, 46_000)


@on_grpcio
def test_no_age() -> None:
    """With 0 seconds, connections may become as old as they like."""
    assert not {AGE_MS, GRACE_MS} & set(options_with(SERVER__CONNECTION_AGE_S="0"))


async def connected(channel: grpc.aio.Channel, times: int) -> None:
    """Wait until a channel has connected so many times: again and again only if its connections end."""
    while times:
        state = channel.get_state()
        await channel.wait_for_state_change(state)
        times -= channel.get_state() is grpc.ChannelConnectivity.READY


AGE = {"SERVER__CONNECTION_AGE_S": "0.05"}


@on_grpcio
async def test_recycling_is_invisible_to_callers() -> None:
    """While connections are recycled again and again, no call of ten callers fails."""
    async with (
        FaultServer(terminated) as wallet,
        listening_bridge(wallet.url, AGE) as bridge,
        # As callers are by default. A request that crosses the GOAWAY on its way was not processed, and every gRPC
        # client retries it by itself (gRFC A6, "Transparent Retries") unless an operator has switched that off.
        grpc.aio.insecure_channel(bridge.address) as channel,
    ):
        recycled = asyncio.create_task(connected(channel, 6))

        async def calls() -> Counter[str]:
            ends: Counter[str] = Counter()
            while not recycled.done():
                ends[(await call_over(channel)).code] += 1
            return ends

        ends = sum(await asyncio.gather(*(calls() for _ in range(10))), Counter())
        assert ends == {"OK": len(wallet.requests)}


@on_grpcio
async def test_a_call_may_be_older_than_its_connection() -> None:
    """A call in flight outlives the age of its connection, while its caller's next calls take another one."""
    may_answer = asyncio.Event()
    async with (
        FaultServer(by_token({"held": after(may_answer)})) as wallet,
        listening_bridge(wallet.url, AGE) as bridge,
        grpc.aio.insecure_channel(bridge.address) as channel,
    ):
        recycled = asyncio.create_task(connected(channel, 3))
        held = asyncio.create_task(end_of(WalletServiceStub(channel).Terminate(terminate_request("held"))))
        await wallet.until(lambda: len(wallet.requests) == 1)
        while not recycled.done():
            assert (await call_over(channel)).code == "OK"
        may_answer.set()
        assert (await held).code == "OK"


async def test_workers_share_their_ports() -> None:
    """Two bridges that are asked to reuse ports listen on the same two, and both ports answer."""
    async with FaultServer(terminated) as wallet:
        both = {"SERVER__HEALTH_LISTEN": "127.0.0.1:0"}
        async with running(load(None, environment(wallet.url, both)), reuse_port=True) as first:
            same = {"SERVER__LISTEN": first.address, "SERVER__HEALTH_LISTEN": first.health_address}
            async with running(load(None, environment(wallet.url, same)), reuse_port=True) as second:
                assert (second.address, second.health_address) == (first.address, first.health_address)
                assert (await call_once(first.address)).code == "OK"


@pytest.mark.parametrize("first_reuses", [True, False], ids=["first reuses", "neither reuses"])
async def test_a_port_is_not_shared_by_chance(first_reuses: bool) -> None:  # noqa: FBT001 - a case, not a switch
    """A bridge that was not asked to reuse ports takes none that another has."""
    async with running(load(None, environment(WALLET, NO_SETTINGS)), reuse_port=first_reuses) as first:
        with pytest.raises(ListenError, match=r"^server\.listen: cannot listen on"):
            async with listening_bridge(WALLET, {"SERVER__LISTEN": first.address}):
                pass
