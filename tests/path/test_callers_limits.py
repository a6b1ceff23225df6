"""Limits of a caller's connection: pings, streams, connections, silence; on both ports and both engines.

Callers that never acknowledge the bridge's SETTINGS: its limits do not hold for them, so they are closed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from bridge.sandbox.behaviours import after
from bridge.sandbox.server import FaultServer
from bridge.server import listeners
from bridge.server.listeners import HEALTH_STREAMS_MAX, SPARE_STREAMS, health_options, server_options
from bridge.settings.model import load
from tests.support.engines import on_both_engines, on_grpcio
from tests.support.floods.attacks import (
    CHECK,
    EMPTY,
    PREFACE,
    REQUEST,
    SETTINGS_MAX_CONCURRENT_STREAMS,
    TERMINATE,
    call_fields,
    call_headers,
)
from tests.support.http2.frames import END_HEADERS, HEADERS, PING, data, frame, headers
from tests.support.raw_caller import RawCaller, raw_caller
from tests.support.serving import listening_bridge
from tests.support.whole_path import PATIENCE_S, environment

pytestmark = on_both_engines

WALLET = "http://127.0.0.1:1"
BOTH = {"SERVER__HEALTH_LISTEN": "127.0.0.1:0"}
ENHANCE_YOUR_CALM, REFUSED_STREAM = 11, 7
INVALID_ARGUMENT = "3"
PORTS = ["address", "health_address"]
A_PING = frame(PING, payload=bytes(8))


@asynccontextmanager
async def connection(port: str, **settings: str) -> AsyncIterator[RawCaller]:
    """Run a bridge, and connect to one of its ports."""
    async with listening_bridge(WALLET, {**BOTH, **settings}) as bridge, raw_caller(getattr(bridge, port)) as caller:
        yield caller


async def pings(caller: RawCaller, times: int, interval_s: float) -> None:
    """Ping so often, waiting for each answer, or until the connection ends."""
    for number in range(1, times + 1):
        caller.send(A_PING)
        while caller.pongs < number and not caller.is_closed:
            await caller.read()
        await asyncio.sleep(interval_s)


@pytest.mark.parametrize("port", PORTS)
async def test_keepalive_without_calls(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An idle caller may ping as often as the least interval allows, with no end."""
    monkeypatch.setattr(listeners, "PING_INTERVAL_S", 0.02)
    async with connection(port) as caller:
        await pings(caller, 12, 0.03)
        assert (caller.pongs, caller.goaway, caller.is_closed) == (12, None, False)


async def test_keepalive_with_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call in flight survives its caller's pings, and is answered."""
    monkeypatch.setattr(listeners, "PING_INTERVAL_S", 0.02)
    may_answer = asyncio.Event()
    async with (
        FaultServer(after(may_answer)) as wallet,
        listening_bridge(wallet.url, {}) as bridge,
        raw_caller(bridge.address) as caller,
    ):
        caller.call(TERMINATE, REQUEST)
        await wallet.until(lambda: len(wallet.requests) == 1)
        await pings(caller, 12, 0.03)
        may_answer.set()
        assert (await caller.answer()).headers["grpc-status"] == "0"


def test_the_promise() -> None:
    """The least interval is far below the 5 s that docs/callers.md promises: after a late ping the next is early."""
    assert listeners.PING_INTERVAL_S <= 2.5


@on_grpcio
@pytest.mark.parametrize("port", PORTS)
async def test_a_flood_of_pings(port: str) -> None:
    """A caller that pings all the time is asked to calm down, and its connection ends."""
    async with connection(port) as caller:
        await pings(caller, 10, 0.0)
        assert (caller.goaway, caller.is_closed) == (ENHANCE_YOUR_CALM, True)


@pytest.mark.parametrize(("port", "streams"), [("address", 30 + SPARE_STREAMS), ("health_address", HEALTH_STREAMS_MAX)])
async def test_streams_of_a_connection(port: str, streams: int) -> None:
    """The limit is announced; the streams beyond it are refused, which asks a client to retry, and no others."""
    settings = {"SERVER__MAX_IN_FLIGHT": "20", "SERVER__MAX_QUEUED": "10", "SERVER__MAX_IN_FLIGHT_PER_PROVIDER": "20"}
    async with connection(port, **settings) as caller:
        while SETTINGS_MAX_CONCURRENT_STREAMS not in caller.settings:
            await caller.read()
        assert caller.settings[SETTINGS_MAX_CONCURRENT_STREAMS] == streams
        await pings(caller, 1, 0.0)  # until the bridge has seen that its settings are known
        last = 2 * streams + 1
        for stream_id in range(1, last + 1, 2):
            caller.send(frame(HEADERS, END_HEADERS, stream_id, call_headers(CHECK)))
        assert (await caller.answer(last)).reset == REFUSED_STREAM
        assert set(caller.answers) == {last}


@pytest.mark.parametrize("in_flight", [1, 1000, 5000])
def test_no_connection_fills_the_queue(in_flight: int) -> None:
    """What one connection may have, open and ended, leaves room in gRPC's queue for the calls of others."""
    settings = load(None, environment(WALLET, {"SERVER__MAX_IN_FLIGHT": f"{in_flight}"}))
    options = dict(server_options(settings, reuse_port=False))
    of_one = options["grpc.max_concurrent_streams"] + options["grpc.http2.max_deallocating_streams"]
    assert options["grpc.server.max_pending_requests_hard_limit"] >= of_one + 100


@pytest.mark.parametrize("name", ["server_options", "health_options"])
@pytest.mark.parametrize("limit", ["grpc.max_concurrent_streams", "grpc.max_allowed_incoming_connections"])
def test_nothing_is_without_limit(name: str, limit: str) -> None:
    """Both ports have the limits on streams and on connections."""
    settings = load(None, environment(WALLET))
    options = {"server_options": server_options, "health_options": health_options}[name](settings, reuse_port=False)
    assert 0 < dict(options)[limit] < 10_000


@on_grpcio
@pytest.mark.parametrize("port", PORTS)
async def test_connections(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection too many is closed, the others are served, and one that ends makes room."""
    monkeypatch.setattr(listeners, "CONNECTIONS_MAX", 3)
    async with listening_bridge(WALLET, BOTH) as bridge, AsyncExitStack() as stack:
        address = getattr(bridge, port)
        callers = [await stack.enter_async_context(raw_caller(address)) for _ in range(2)]
        async with raw_caller(address) as third:
            await answered(third)
            for caller in callers:
                await answered(caller)
            async with raw_caller(address) as fourth:
                while not fourth.is_closed:
                    await fourth.read()
        async with asyncio.timeout(PATIENCE_S):
            while True:  # until the bridge has seen the third's end
                async with raw_caller(address) as another:
                    another.call(CHECK, EMPTY)
                    if (await another.answer()).headers:
                        break


async def answered(caller: RawCaller) -> None:
    """Call, and get an answer."""
    caller.call(CHECK, EMPTY)
    assert (await caller.answer()).headers["grpc-status"] == "0"


async def test_a_caller_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose other end does not answer a ping is closed, whether it has calls or not."""
    monkeypatch.setattr(listeners, "KEEPALIVE_S", 0.05)
    monkeypatch.setattr(listeners, "KEEPALIVE_TIMEOUT_S", 0.05)
    async with connection("address") as caller:
        caller.answers_pings = False
        while not caller.is_closed:
            await caller.read()


@on_grpcio
@pytest.mark.parametrize("sent", [b"", PREFACE[:10]], ids=["silent", "half a preface"])
async def test_a_connection_that_never_begins(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without HTTP/2's preface is closed when its time is up."""
    monkeypatch.setattr(listeners, "HANDSHAKE_S", 0.05)
    async with listening_bridge(WALLET, {}) as bridge:
        host, _, port = bridge.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(sent)
        with contextlib.suppress(ConnectionError):
            while await reader.read(2**16):
                pass
        writer.close()


@pytest.mark.parametrize(
    ("content_type", "is_served"),
    [
        *(("application/grpc", True), ("application/grpc+proto", True)),
        *(("application/json", False), ("text/plain", False), ("", False)),
    ],
)
async def test_content_types(content_type: str, is_served: bool, engine: str) -> None:  # noqa: FBT001 - a case
    """The native engine serves gRPC's content-types alone. gRPC's core serves any, and shows no one which it was."""
    async with connection("address") as caller:
        caller.send(headers(1, fields=call_fields(CHECK, content_type)), data(1, EMPTY, end=True))
        status = (await caller.answer()).headers["grpc-status"]
    assert status == ("0" if is_served or engine == "grpcio" else INVALID_ARGUMENT)


@on_grpcio
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_methods(method: str) -> None:
    """GRPC's core carries out POST only."""
    async with connection("address") as caller:
        fields = ((":method", method), *call_fields(CHECK, "application/grpc")[1:])
        caller.send(headers(1, fields=fields), data(1, EMPTY, end=True))
        answer = await caller.answer()
    assert (answer.reset is not None, answer.headers) == (True, {})


@on_grpcio
@pytest.mark.parametrize("port", PORTS)
async def test_settings_that_are_not_acknowledged(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is closed when the time for the acknowledgement is up (RFC 9113, section 6.5.3)."""
    monkeypatch.setattr(listeners, "HANDSHAKE_S", 0.05)
    async with connection(port) as caller:
        caller.acknowledges = False
        while not caller.is_closed:
            await caller.read()
