"""The fault proxy does to bytes what a test tells it; judged by plain TCP streams."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from faults.proxy import FaultProxy, Link, Plan
from faults.server import refusing_port

pytest_plugins = ["two_loops"]
pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]), pytest.mark.usefixtures("nothing_left")]


@dataclass(frozen=True)
class Ends:
    """Both ends of one connection through the proxy."""

    link: Link
    client: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    server: tuple[asyncio.StreamReader, asyncio.StreamWriter]

    async def echo(self, data: bytes) -> bytes:
        """Send from the client, read at the server, send it back, read at the client."""
        self.client[1].write(data)
        self.server[1].write(await self.server[0].readexactly(len(data)))
        return await self.client[0].readexactly(len(data))


@asynccontextmanager
async def connected(plan: Plan) -> AsyncIterator[Ends]:
    """Connect through a proxy with this plan."""
    accepted: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    listening = await asyncio.start_server(lambda *streams: accepted.put_nowait(streams), "127.0.0.1", 0)
    async with listening, FaultProxy(listening.sockets[0].getsockname()[1], lambda _number: plan) as proxy:
        client = await asyncio.open_connection("127.0.0.1", proxy.port)
        server = await accepted.get()
        await proxy.changed.until(lambda: bool(proxy.links))
        try:
            yield Ends(proxy.links[0], client, server)
        finally:
            for _, writer in (client, server):
                writer.close()
            await asyncio.gather(*(writer.wait_closed() for _, writer in (client, server)), return_exceptions=True)


@pytest.mark.parametrize(
    "plan", [Plan(), Plan(piece_bytes=1), Plan(delay_s=0.001, piece_bytes=50)], ids=["as it is", "sliced", "delayed"]
)
async def test_everything_passes(plan: Plan) -> None:
    """Delayed or sliced, every byte arrives in order, both ways, and is counted."""
    data = bytes(range(256))
    async with connected(plan) as ends:
        assert await ends.echo(data) == data
        await ends.link.passed.until(lambda: ends.link.to_client_bytes == len(data))
        assert ends.link.to_server_bytes == len(data)


async def test_pause_holds_back_and_loses_nothing() -> None:
    """While paused nothing arrives; afterwards everything does."""
    async with connected(Plan(paused=True)) as ends:
        ends.client[1].write(b"abc")
        reading = asyncio.create_task(ends.server[0].readexactly(3))
        # The other way round the whole proxy, on a second connection's time: nothing but turns of the loop pass here.
        for _ in range(20):
            await asyncio.sleep(0)
        assert not reading.done()
        assert ends.link.to_server_bytes == 0
        ends.link.resume()
        assert await reading == b"abc"
        ends.link.pause()
        ends.link.resume()
        assert await ends.echo(b"d") == b"d"


async def test_black_hole_swallows_everything() -> None:
    """What is sent after `swallow` is read and lost, and no side learns of it."""
    async with connected(Plan()) as ends:
        assert await ends.echo(b"a") == b"a"
        ends.link.swallow()
        ends.client[1].write(bytes(1_000_000))
        await ends.client[1].drain()
        ends.client[1].write_eof()
        for _ in range(20):
            await asyncio.sleep(0)
        assert (ends.link.to_server_bytes, ends.server[0].at_eof()) == (1, False)


async def test_reset_reaches_both_sides() -> None:
    """After `reset` both sides read ECONNRESET."""
    async with connected(Plan()) as ends:
        ends.link.reset()
        for reader, _ in (ends.client, ends.server):
            with pytest.raises(ConnectionResetError):
                await reader.read()


async def test_a_reset_passes_through() -> None:
    """A client that leaves with RST is a reset at the server too."""
    async with connected(Plan()) as ends:
        ends.client[1].write(b"a")
        await ends.server[0].readexactly(1)
        ends.server[1].write(b"unread")
        await ends.link.passed.until(lambda: ends.link.to_client_bytes == 6)
        await ends.client[0].read(1)
        ends.server[1].transport.abort()
        assert await ends.client[0].read() == b"nread"


@pytest.mark.parametrize("to_client", [True, False])
async def test_half_close(*, to_client: bool) -> None:
    """FIN goes to one side, and the bytes of that side still pass."""
    async with connected(Plan()) as ends:
        finished, other = (ends.client, ends.server) if to_client else (ends.server, ends.client)
        finish: Callable[[], None] = ends.link.finish_to_client if to_client else ends.link.finish_to_server
        finish()
        assert await finished[0].read() == b""
        finished[1].write(b"still here")
        assert await other[0].readexactly(10) == b"still here"


async def test_server_that_refuses_is_a_reset() -> None:
    """Where nobody listens behind the proxy, the client is reset."""
    with refusing_port() as port:
        async with FaultProxy(port) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
