"""Health, on the port for calls and on a listener of its own: what each says, before a drain and until the end."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from bridge.address import ListenError
from bridge.sandbox.behaviours import after, terminated
from bridge.sandbox.server import FaultServer, bound_socket
from bridge.server.health import LIVENESS
from tests.support.certificates import Certificates
from tests.support.engines import on_both_engines, on_grpcio
from tests.support.http2.frames import HEADERS, SETTINGS, data, headers, settings
from tests.support.serving import call_once, channel_to, health_of, listening_bridge, tls_settings
from tests.support.whole_path import NO_SETTINGS, call_over, end_of

pytestmark = on_both_engines

Request, Response = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
BOTH = {"SERVER__HEALTH_LISTEN": "127.0.0.1:0"}
WALLET = "http://127.0.0.1:1"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
NAMES = ["", "wallet.v1.WalletService"]
"""Those that a drain changes."""


async def status_at(address: str, service: str = "") -> int:
    """Ask once."""
    async with channel_to(address) as channel:
        return int((await health_of(channel).Check(Request(service=service))).status)


@on_grpcio
async def test_health_beside_tls(tmp_path: Path) -> None:
    """The listener for health speaks plaintext and asks for no certificate while the other port speaks mutual TLS."""
    certificates = Certificates(tmp_path)
    secure = tls_settings(certificates.server, certificates.ca_file, "a.example")
    async with listening_bridge(WALLET, {**BOTH, **secure}) as bridge:
        assert [await status_at(bridge.health_address, name) for name in NAMES] == [Response.SERVING] * 2


async def test_health_and_nothing_else() -> None:
    """On the listener for health there are neither the operations nor reflection."""
    async with FaultServer(terminated) as wallet, listening_bridge(wallet.url, BOTH) as bridge:
        async with channel_to(bridge.health_address) as channel:
            assert (await call_over(channel)).code == "UNIMPLEMENTED"
            reflection: Any = channel.unary_unary(REFLECTION)
            assert (await end_of(reflection(b""))).code == "UNIMPLEMENTED"
        assert wallet.connections == 0


async def test_no_listener_for_health() -> None:
    """There is none unless it is asked for; the port for calls reports the health anyway."""
    async with listening_bridge(WALLET, NO_SETTINGS) as bridge:
        assert bridge.health_address == ""
        assert await status_at(bridge.address) == Response.SERVING


async def test_every_service_at_once() -> None:
    """List reports the health of everything that can be asked for."""
    async with listening_bridge(WALLET, NO_SETTINGS) as bridge, channel_to(bridge.address) as channel:
        everything: Any = channel.unary_unary(
            "/grpc.health.v1.Health/List",
            response_deserializer=health_pb2.HealthListResponse.FromString,  # type: ignore[attr-defined]  # old stubs
        )
        statuses = (await everything(b"")).statuses
    assert {name: answer.status for name, answer in statuses.items()} == dict.fromkeys(
        [*NAMES, LIVENESS], Response.SERVING
    )


async def test_unknown_service() -> None:
    """A service that the bridge does not have is NOT_FOUND, and SERVICE_UNKNOWN to a watcher, who may wait for it."""
    async with listening_bridge(WALLET, NO_SETTINGS) as bridge, channel_to(bridge.address) as channel:
        assert (await end_of(health_of(channel).Check(Request(service="a.B")))).code == "NOT_FOUND"
        watch = health_of(channel).Watch(Request(service="a.B"))
        assert (await watch.read()).status == Response.SERVICE_UNKNOWN
        assert not watch.done()


async def test_what_a_drain_changes() -> None:
    """On both ports watchers learn as soon as it begins, not first at its end; `liveness` is SERVING all the time."""
    may_answer = asyncio.Event()
    async with (
        FaultServer(after(may_answer)) as wallet,
        listening_bridge(wallet.url, BOTH) as bridge,
        channel_to(bridge.address) as channel,
        channel_to(bridge.health_address) as health_channel,
    ):
        stubs = health_of(channel), health_of(health_channel)
        watches = [stub.Watch(Request(service=name)) for stub in stubs for name in NAMES]
        liveness = [stub.Watch(Request(service=LIVENESS)) for stub in stubs]
        assert [(await watch.read()).status for watch in (*watches, *liveness)] == [Response.SERVING] * 6
        held = asyncio.create_task(call_over(channel))
        await wallet.until(lambda: len(wallet.requests) == 1)
        drain = asyncio.create_task(bridge.drain(0))
        assert [(await watch.read()).status for watch in watches] == [Response.NOT_SERVING] * 4
        assert [await status_at(bridge.address, name) for name in NAMES] == [Response.NOT_SERVING] * 2
        for address in (bridge.address, bridge.health_address):
            assert await status_at(address, LIVENESS) == Response.SERVING
        may_answer.set()
        assert (await held).code == "OK"
        await drain
        assert await status_at(bridge.health_address, LIVENESS) == Response.SERVING
        # Anything else that was sent to this watcher would come before the end of its stream.
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await liveness[0].read()


async def test_health_closes_last() -> None:
    """After a drain, when calls are refused at the port, the listener for health still says NOT_SERVING."""
    async with listening_bridge(WALLET, BOTH) as bridge, channel_to(bridge.health_address) as channel:
        watch = health_of(channel).Watch(Request())
        assert (await watch.read()).status == Response.SERVING
        await bridge.drain(0)
        assert (await call_once(bridge.address)).code == "UNAVAILABLE"
        assert (await watch.read()).status == Response.NOT_SERVING
        assert not watch.done()
        assert await status_at(bridge.health_address) == Response.NOT_SERVING


async def test_who_watches_during_a_drain() -> None:
    """A watch that begins after the drain has begun receives NOT_SERVING, once."""
    async with AsyncExitStack() as stack:
        async with listening_bridge(WALLET, BOTH) as bridge:
            await bridge.drain(0)
            channel = await stack.enter_async_context(channel_to(bridge.health_address))
            watch = health_of(channel).Watch(Request())
            assert (await watch.read()).status == Response.NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
            await watch.read()


INITIAL_WINDOW_SIZE = 4
FRAME_HEADER_BYTES = 9
WATCH = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/grpc.health.v1.Health/Watch"),
    (":authority", "bridge.example"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
)


async def deaf_watcher(address: str) -> asyncio.StreamWriter:
    """Watch with a flow-control window of 0 bytes; return when the bridge has answered as far as it can."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings((INITIAL_WINDOW_SIZE, 0)))
    writer.write(headers(1, fields=WATCH) + data(1, bytes(5), end=True))
    kind = SETTINGS
    while kind != HEADERS:
        start = await reader.readexactly(FRAME_HEADER_BYTES)
        kind = start[3]
        await reader.readexactly(int.from_bytes(start[:3]))
    return writer


async def test_a_deaf_watcher_does_not_hold_up_the_drain() -> None:
    """A watcher who takes no byte keeps neither the others from hearing of the drain nor the drain from ending."""
    async with listening_bridge(WALLET, BOTH) as bridge, channel_to(bridge.health_address) as channel:
        deaf = [await deaf_watcher(address) for address in (bridge.address, bridge.health_address)]
        watch = health_of(channel).Watch(Request())
        assert (await watch.read()).status == Response.SERVING
        await bridge.drain(0)
        assert (await watch.read()).status == Response.NOT_SERVING
    for writer in deaf:
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@pytest.mark.parametrize("setting", ["listen", "health_listen"])
async def test_port_in_use(setting: str) -> None:
    """A port that is taken is one line with its setting, the address and what to look at."""
    with bound_socket() as taken:
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ListenError) as refused:
            async with listening_bridge(WALLET, {f"SERVER__{setting.upper()}": address}):
                pass
    assert str(refused.value) == (
        f"server.{setting}: cannot listen on {address}; the port is taken: stop what has it, or set another port"
    )
