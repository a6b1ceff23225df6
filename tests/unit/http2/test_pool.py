"""docs/design/faults.md, "Connection": how many calls a server takes at once, and those that it does not take yet.

Connections that their server gives up before a request could begin: those who wait learn it at once.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from h2.settings import SettingCodes

from bridge.http2.connect import Sockets
from bridge.http2.connection import Connection as ClientConnection
from bridge.http2.errors import UnreachableError
from bridge.http2.pool import Pool
from bridge.sandbox.behaviours import after, hang, sequence, terminated
from bridge.sandbox.connection import Connection
from bridge.sandbox.server import FaultServer
from tests.support.dead_addresses import silent_server
from tests.support.http2.calls import (
    NOT_PROCESSED,
    OK,
    TIMEOUT,
    UNREACHABLE,
    calls_to,
    cancelled,
    streams_max,
    terminate_body,
    wallet,
)

pytest_plugins = ["tests.support.two_loops"]
pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]), pytest.mark.usefixtures("nothing_left")]


async def test_calls_queue_in_order() -> None:
    """Where one stream is allowed on one connection, calls take their turns in the order in which they came."""
    async with wallet(terminated, settings=streams_max(1), connections_max=1) as (server, calls):
        tokens = [str(number) for number in range(20)]
        assert await asyncio.gather(*map(calls.end, tokens)) == [OK] * 20
        assert server.processed == tokens
        assert (server.connections, server.client_errors) == (1, [])


async def test_more_connections_up_to_the_maximum() -> None:
    """When all slots are in use another connection opens, one after the other, and no more than `connections_max`."""
    gate = asyncio.Event()
    async with wallet(after(gate), settings=streams_max(2), connections_max=3) as (server, calls):
        tasks = [calls.start(str(number)) for number in range(10)]
        await server.until(lambda: len(server.requests) == 6)
        gate.set()
        assert await asyncio.gather(*tasks) == [OK] * 10
        assert server.connections == 3


async def test_no_stream_allowed() -> None:
    """With a maximum of 0 nothing is sent; the calls' time passes: NOT_SENT, cause timeout. Then one is allowed."""
    async with wallet(terminated, settings=streams_max(0), connections_max=2) as (server, calls):
        tasks = [calls.start() for _ in range(3)]
        await server.until(lambda: len(server.open_connections) == 2)
        for connection in server.open_connections:
            await connection.ping()  # the client has their SETTINGS
        calls.expire()
        assert await asyncio.gather(*tasks) == [f"{UNREACHABLE} timeout"] * 3
        assert (server.requests, server.connections) == ([], 2)
        task = calls.start("later")
        server.open_connections[0].send_settings(streams_max(1))
        assert await task == OK
        assert server.connections == 2


async def test_maximum_lowered_while_streams_are_open() -> None:
    """A lower maximum ends no stream; new ones wait until fewer are open, and its violation is never provoked."""
    gate = asyncio.Event()
    async with wallet(after(gate), settings=streams_max(3), connections_max=1) as (server, calls):
        tasks = [calls.start(token) for token in "abc"]
        await server.until(lambda: len(server.requests) == 3)
        await server.open_connections[0].settings(streams_max(1))
        tasks += [calls.start(token) for token in "de"]
        await asyncio.sleep(0)
        assert len(server.requests) == 3
        gate.set()
        assert await asyncio.gather(*tasks) == [OK] * 5
        assert server.processed == list("abcde")
        assert (server.connections, server.client_errors) == (1, [])


async def test_who_leaves_the_line_is_never_sent() -> None:
    """A call whose time passes in line is NOT_SENT, one may be cancelled there, and those behind take their places."""
    gate = asyncio.Event()
    async with wallet(sequence(after(gate), terminated), settings=streams_max(1), connections_max=1) as (server, calls):
        first = calls.start("first")
        await server.until(lambda: len(server.requests) == 1)
        late, gone, last = calls.start("late", timeout_s=0.05), calls.start("gone"), calls.start("last")
        await asyncio.sleep(0)
        await cancelled(gone)
        assert await late == f"{UNREACHABLE} timeout"
        gate.set()
        assert [await first, await last] == [OK, OK]
        assert server.processed == ["first", "last"]


async def test_those_who_left_the_line_are_forgotten() -> None:
    """Nothing is kept of calls that were cancelled in line, though the line does not move."""
    async with wallet(terminated, settings=streams_max(0), connections_max=1) as (_, calls):
        assert await calls.end(timeout_s=0.1) == f"{UNREACHABLE} timeout"
        tasks = [calls.start() for _ in range(50)]
        await asyncio.sleep(0)
        await cancelled(*tasks)
        # Seen from outside, a line that only grows is a leak of months: hence the look inside.
        assert [len(pool._queue) for pool in calls.transport._pools.values()] == [0]


async def test_slot_and_cancel_in_one_moment() -> None:
    """A call that is cancelled just when its turn has come gives the slot to the next one."""
    async with wallet(hang, settings=streams_max(1), connections_max=1) as (server, calls):
        first = calls.start("first")
        await server.until(lambda: len(server.requests) == 1)
        second, third = calls.start("second"), calls.start("third")
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)  # the first gives its slot to the second, which does not run yet
        second.cancel()
        await server.until(lambda: server.requests[-1].token == "third")
        calls.expire("third")
        assert await third == TIMEOUT
        await server.until(lambda: len(server.resets) == len(server.requests))
        assert server.requests[-1].token == "third"


async def test_goaway_with_calls_in_line() -> None:
    """Those in the queue behind a connection that closes are sent on the next one."""
    gate = asyncio.Event()
    async with wallet(after(gate), settings=streams_max(1), connections_max=1) as (server, calls):
        tasks = [calls.start(token) for token in "abc"]
        await server.until(lambda: len(server.requests) == 1)
        server.open_connections[0].goaway(0)
        gate.set()
        assert await asyncio.gather(*tasks) == [NOT_PROCESSED, OK, OK]
        assert server.processed == ["b", "c"]
        assert server.connections == 2


async def test_everybody_in_line_learns_why() -> None:
    """One attempt to connect answers for all who wait for it."""
    async with wallet(terminated) as (server, calls), server.offline():
        assert await asyncio.gather(*(calls.end() for _ in range(50))) == [f"{UNREACHABLE} refused"] * 50


async def test_one_probe_at_a_time() -> None:
    """50 calls wait for one and the same attempt to connect."""
    async with silent_server() as server, calls_to(server, connect_timeout_s=0.1) as calls:
        assert await asyncio.gather(*(calls.end() for _ in range(50))) == [f"{UNREACHABLE} timeout"] * 50
        await server.until(lambda: server.connections > 0)
        assert server.connections == 1


async def test_connection_outlives_the_call_that_asked_for_it() -> None:
    """A call that is cancelled while its connection is being made leaves it to the next one."""
    async with wallet(terminated) as (server, calls):
        task = calls.start("gone")
        await server.until(lambda: server.connections == 1)
        await cancelled(task)
        assert await calls.end("next") == OK
        assert server.connections == 1


HTTP_1_1_REQUIRED = 13
HEADERS = ((b":method", b"POST"), (b":authority", b"wallet"), (b":scheme", b"http"), (b":path", b"/"))
PATIENCE_S = 20.0


async def goes(connection: Connection) -> None:
    """Say GOAWAY behind SETTINGS."""
    connection.goaway(0)


async def requires_http_1(connection: Connection) -> None:
    """Say GOAWAY behind SETTINGS, because HTTP/1.1 is required."""
    connection.goaway(0, HTTP_1_1_REQUIRED)


async def hangs_up(connection: Connection) -> None:
    """Close the connection behind SETTINGS."""
    await connection.finish()


@asynccontextmanager
async def pool_of(server: FaultServer) -> AsyncIterator[Pool]:
    """Open a pool that gets each connection in the last moment: where its server ends it, when it has done so."""
    loop = asyncio.get_running_loop()

    async def connect(changed: Callable[[], None], _sockets: Sockets) -> ClientConnection:
        received = asyncio.Event()

        def reported() -> None:
            received.set()
            changed()

        _, connection = await loop.create_connection(
            lambda: ClientConnection(loop, 2**16, reported), "127.0.0.1", server.port
        )
        await connection.ready
        while server.opening is not None and not connection.is_lost:
            received.clear()
            await received.wait()
        return connection

    pool = Pool(connect, connections_max=2)
    try:
        yield pool
    finally:
        await pool.aclose()


@pytest.mark.parametrize(
    ("ends", "cause"),
    [(goes, "closed"), (requires_http_1, "http2_required"), (hangs_up, "closed")],
    ids=["GOAWAY", "HTTP_1_1_REQUIRED", "end"],
)
async def test_those_who_wait_learn_it(ends: Callable[[Connection], Awaitable[None]], cause: str) -> None:
    """Every queued call is NOT_SENT at the first such connection: none waits for its deadline."""
    async with FaultServer(after(asyncio.Event()), opening=ends) as server, pool_of(server) as pool:
        waiting = [pool.submit(HEADERS, terminate_body("t")) for _ in range(3)]
        async with asyncio.timeout(PATIENCE_S):
            ends_of_calls = await asyncio.gather(*(each.answer for each in waiting), return_exceptions=True)
        assert [(type(end), getattr(end, "cause", "")) for end in ends_of_calls] == [(UnreachableError, cause)] * 3
        assert (server.connections, server.requests) == (1, [])


async def test_those_with_another_connection_wait() -> None:
    """Where another connection is open, a waiting call still gets its next slot."""
    gate = asyncio.Event()
    async with (
        FaultServer(after(gate), settings={SettingCodes.MAX_CONCURRENT_STREAMS: 1}) as server,
        pool_of(server) as pool,
    ):
        first = pool.submit(HEADERS, terminate_body("first"))
        await server.until(lambda: len(server.requests) == 1)
        server.opening = goes
        second = pool.submit(HEADERS, terminate_body("second"))
        await server.until(lambda: bool(server.goaways))  # the pool has given it up
        gate.set()
        assert [(await each.answer).status for each in (first, second)] == [200, 200]
