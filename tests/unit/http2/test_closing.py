"""What remains of the client when it closes its transport: nothing, whatever its connections were doing."""

import asyncio
import ssl
from pathlib import Path

import pytest
from h2.settings import SettingCodes
from hyperframe.frame import WindowUpdateFrame

from bridge.sandbox.behaviours import hang, terminated
from bridge.sandbox.connection import Connection
from bridge.sandbox.server import FaultServer
from tests.support.certificates import Certificates
from tests.support.dead_addresses import silent_server
from tests.support.http2.calls import LOST, OK, UNREACHABLE, calls_to

pytest_plugins = ["tests.support.two_loops"]
ONE_STREAM: dict[int, int] = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]), pytest.mark.usefixtures("nothing_left")]


async def test_closing_ends_every_call() -> None:
    """Closing ends each call by its own outcome, and returns without connections; later calls are NOT_SENT."""
    async with FaultServer(hang, settings=ONE_STREAM) as server, calls_to(server, connections_max=1) as calls:
        sent = calls.start("a")
        await server.until(lambda: len(server.requests) == 1)
        queued = calls.start("b")
        await asyncio.sleep(0)
        await calls.transport.aclose()
        assert calls.transport.connections == 0
        assert [await sent, await queued] == [LOST, f"{UNREACHABLE} closed"]
        assert await calls.end("c") == f"{UNREACHABLE} closed"
        await server.until(lambda: not server.open_connections)


@pytest.mark.parametrize("secure", [False, True], ids=["SETTINGS", "TLS"])
async def test_closing_while_connecting(tmp_path: Path, *, secure: bool) -> None:
    """A connection that is being made is given up with the transport."""
    tls = ssl.create_default_context() if secure else None
    async with silent_server() as server:
        server.tls = Certificates(tmp_path).server.server_context() if secure else None
        async with calls_to(server, tls=tls) as calls:
            task = calls.start()
            await server.until(lambda: server.connections == 1)
            await calls.transport.aclose()
            assert await task == f"{UNREACHABLE} closed"


async def wide_open(connection: Connection) -> None:
    """Give the client all the credit that there can be."""
    connection.frame(WindowUpdateFrame(0, window_increment=2**31 - 1 - 65535))


async def test_a_server_that_does_not_read_cannot_hold_a_connection() -> None:
    """The graceful close has its own timeout: then the connection is dropped, with what was still to be written."""
    async with (
        FaultServer(terminated, settings={SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1}, opening=wide_open) as server,
        calls_to(server) as calls,
    ):
        assert await calls.end() == OK
        server.open_connections[0].freeze()
        task = calls.start(game_id="x" * 20_000_000)  # more than any socket buffers
        for _ in range(10):
            await asyncio.sleep(0)  # the turns of the loop in which the call begins and its first bytes leave
        await calls.transport.aclose()
        assert await task == LOST
