"""Connections that their server gives up before a request could begin: those who wait learn it at once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from h2.settings import SettingCodes

from bridge.http2.connect import Sockets
from bridge.http2.connection import Connection as ClientConnection
from bridge.http2.errors import UnreachableError
from bridge.http2.pool import Pool
from bridge.sandbox.behaviours import after
from bridge.sandbox.connection import Connection
from bridge.sandbox.server import FaultServer
from tests.support.http2_client import terminate_body

pytest_plugins = ["tests.support.two_loops"]
pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]), pytest.mark.usefixtures("nothing_left")]

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
