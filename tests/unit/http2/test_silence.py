"""A connection that dies without a word while calls are made, and one that is only slow: over real sockets."""

import asyncio
import ssl

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from bridge.http2.transport import Http2Transport
from bridge.sandbox.behaviours import after, by_token, hang, in_turn, terminated
from bridge.sandbox.server import FaultServer
from bridge.sandbox.wire import PREFACE, take_frames
from tests.support.http2 import frames as raw
from tests.support.http2.calls import (
    OK,
    PATIENCE_S,
    TIMEOUT,
    Calls,
    calls_to,
    cancelled,
    streams_max,
    wallet,
)

pytest_plugins = ["tests.support.two_loops"]
pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]), pytest.mark.usefixtures("nothing_left")]

INTERVAL_S = 0.04
"""25 calls a second."""
CALLS_AFTER = 25


async def until_replaced(calls: Calls, server: FaultServer) -> tuple[list[asyncio.Task[str]], list[asyncio.Task[str]]]:
    """Begin 25 calls a second until there is another connection, and some more; return the former and the latter.

    After how many seconds that is, test_liveness.py shows in virtual time: here it depends on the machine.
    """
    before: list[asyncio.Task[str]] = []
    after: list[asyncio.Task[str]] = []
    connections = server.connections
    while len(after) < CALLS_AFTER:
        (before if server.connections == connections else after).append(calls.start())
        await asyncio.sleep(INTERVAL_S)
    return before, after


@pytest.mark.parametrize("others", [0, 100])
@pytest.mark.short("asyncio-0", "uvloop-100")
async def test_silent_death_under_load(others: int) -> None:
    """Only calls fail that began before the connection was replaced, also beside 100 calls that are under way."""
    async with (
        FaultServer(by_token({"other": hang}, terminated)) as server,
        FaultServer(hang) as busy,
        calls_to(server) as calls,
        calls_to(busy) as other_calls,
    ):
        waiting = [other_calls.start("other") for _ in range(others)]
        assert await calls.end("first") == OK
        server.open_connections[0].freeze()
        before, later = await until_replaced(calls, server)
        assert await asyncio.gather(*later) == [OK] * CALLS_AFTER
        calls.expire()
        # Those that began while the answer to the PING was awaited were not sent on the connection.
        assert set(await asyncio.gather(*before)) <= {TIMEOUT, OK}
        assert await before[0] == TIMEOUT
        assert server.connections == 2
        await cancelled(*waiting)


@pytest.mark.short("uvloop")
async def test_all_connections_die_at_once() -> None:
    """Where several connections die in one moment, they are found out together, and not one after the other."""
    gate = asyncio.Event()
    async with wallet(after(gate), settings=streams_max(100)) as (server, calls):
        first = [calls.start(str(number)) for number in range(301)]
        await server.until(lambda: len(server.requests) == 301)
        gate.set()
        assert await asyncio.gather(*first) == [OK] * 301
        assert server.connections == 4
        for connection in server.open_connections:
            connection.freeze()
        before, later = await until_replaced(calls, server)
        assert await asyncio.gather(*later) == [OK] * CALLS_AFTER
        # The first that is found silent costs calls. The others are asked before they are used, and cost none.
        assert len({exchange.connection for exchange in calls.under_way()}) == 1
        calls.expire()
        assert set(await asyncio.gather(*before)) == {TIMEOUT, OK}


class SlowServer:
    """Answers PING at once and each request after 3 s, and says nothing else meanwhile, not even that it has room."""

    def __init__(self) -> None:
        self.connections = self.pings = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the client closes it."""
        self.connections += 1
        writer.write(raw.settings((SettingCodes.MAX_CONCURRENT_STREAMS, 1000)))
        await reader.readexactly(len(PREFACE))
        received = bytearray()
        while piece := await reader.read(65_536):
            received += piece
            for frame in take_frames(received):
                self._received(frame, writer)
        writer.close()
        await writer.wait_closed()

    def _received(self, frame: bytes, writer: asyncio.StreamWriter) -> None:
        kind, flags, stream_id, payload = frame[3], frame[4], int.from_bytes(frame[5:9]), frame[9:]
        if kind == raw.PING and not flags & raw.ACK:
            self.pings += 1
            writer.write(raw.frame(raw.PING, raw.ACK, 0, payload))
        if kind == raw.DATA and flags & raw.END_STREAM:
            # The fault itself, not a way to wait for something.
            asyncio.get_running_loop().call_later(3, self._answer, writer, stream_id, payload)

    def _answer(self, writer: asyncio.StreamWriter, stream_id: int, body: bytes) -> None:
        writer.write(raw.headers(stream_id) + raw.data(stream_id, body, end=True))


@pytest.mark.short("asyncio")
async def test_slow_server() -> None:
    """A server that needs 3 s for each answer gets no more than a PING a second, and one connection suffices."""
    loop = asyncio.get_running_loop()
    slow = SlowServer()
    async with await asyncio.start_server(slow, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        transport = Http2Transport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), connect_timeout_s=PATIENCE_S)
        calls = Calls(transport, url)
        began_at = loop.time()
        tasks: list[asyncio.Task[str]] = []
        while loop.time() - began_at < 4:
            tasks.append(calls.start(str(len(tasks))))
            await asyncio.sleep(INTERVAL_S)
        assert await asyncio.gather(*tasks) == [OK] * len(tasks)
        assert slow.connections == 1
        assert 1 <= slow.pings <= loop.time() - began_at
        await calls.transport.aclose()


async def test_answers_on_a_connection_that_was_given_up() -> None:
    """A connection that was silent for too long takes no further call, but what it still brings counts."""
    gate = asyncio.Event()
    async with wallet(by_token({"late": after(gate)})) as (server, calls):
        task = calls.start("late")
        await server.until(lambda: len(server.requests) == 1)
        (pool,) = calls.transport._pools.values()
        (connection,) = pool._connections
        assert connection._liveness is not None
        connection._liveness._give_up()  # after which time, test_liveness.py shows in virtual time
        assert await calls.end("next") == OK
        assert server.connections == 2
        gate.set()
        assert await task == OK
        await server.until(lambda: [each.number for each in server.open_connections] == [2])


async def test_enhance_your_calm() -> None:
    """GOAWAY(ENHANCE_YOUR_CALM) doubles the interval between PINGs for the whole origin."""
    complaint = in_turn(terminated, lambda stream: stream.connection.goaway(error_code=ErrorCodes.ENHANCE_YOUR_CALM))
    async with wallet(complaint) as (server, calls):
        for number in range(1, 4):
            assert await calls.end() == OK
            await server.until(lambda: not server.open_connections)
            (pool,) = calls.transport._pools.values()
            # To count PINGs would take minutes; that the interval is kept is shown in virtual time.
            assert pool._caution.ping_interval_s == 2.0**number
