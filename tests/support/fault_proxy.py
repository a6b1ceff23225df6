"""A TCP proxy that does harm on the way, to any protocol: it stops, swallows, resets and half-closes.

    async with FaultProxy(server.port) as proxy:
        ...  # connect to proxy.port
        proxy.links[0].pause()

It knows bytes only, so TLS passes through it untouched.
"""

import asyncio
from dataclasses import dataclass
from typing import Self

from bridge.sandbox.server import HOST
from bridge.sandbox.wire import send_reset_on_close

_READ_BYTES_MAX = 65536


@dataclass(eq=False)
class Half:
    """One side of a connection through the proxy."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_finished: bool = False

    async def send(self, piece: bytes) -> None:
        """Pass bytes on; after FIN nothing more can pass."""
        if not self.is_finished:
            self.writer.write(piece)
            await self.writer.drain()

    def finish(self) -> None:
        """Send FIN."""
        if not self.is_finished and not self.writer.is_closing():
            self.writer.write_eof()
        self.is_finished = True

    def reset(self) -> None:
        """Send RST."""
        if not self.writer.is_closing():
            send_reset_on_close(self.writer.get_extra_info("socket"))
            self.writer.transport.abort()


class Link:
    """One connection through the proxy: the client's half and the server's half."""

    def __init__(self, client: Half, server: Half) -> None:
        self._client = client
        self._server = server
        self._is_swallowing = False
        self._flowing = asyncio.Event()
        self._flowing.set()

    def pause(self) -> None:
        """Let nothing pass, neither bytes nor ends, until `resume`; nothing is lost."""
        self._flowing.clear()

    def resume(self) -> None:
        """Let everything pass again, what was held back first."""
        self._flowing.set()

    def swallow(self) -> None:
        """Be a black hole from now on: everything is read and lost, the ends too, and both sides stay open."""
        self._is_swallowing = True

    def reset(self) -> None:
        """Send TCP RST to both sides."""
        self._client.reset()
        self._server.reset()

    def finish_to_client(self) -> None:
        """Half-close: send FIN to the client, while its own bytes still pass."""
        self._client.finish()

    async def run(self) -> None:
        """Carry bytes both ways until both have ended."""
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(self._client, self._server))
                pumps.create_task(self._pump(self._server, self._client))
        except* ConnectionError:
            # A side that resets its connection is reset on the other side too.
            self.reset()
        finally:
            self._server.writer.close()

    async def _pump(self, source: Half, target: Half) -> None:
        while piece := await source.reader.read(_READ_BYTES_MAX):
            await self._flowing.wait()
            if not self._is_swallowing:
                await target.send(piece)
        await self._flowing.wait()
        if self._is_swallowing:
            await asyncio.Event().wait()
        target.finish()


class FaultProxy:
    """A proxy on 127.0.0.1 to a port there, for the time of its `async with`."""

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._tasks: set[asyncio.Task[None]] = set()
        self.links: list[Link] = []
        """Every connection that was carried, oldest first."""

    @property
    def port(self) -> int:
        """The port to connect to."""
        return int(self._listening.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._listening = await asyncio.start_server(self._accepted, HOST)
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End every connection."""
        self._listening.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self.carry(Half(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _task: writer.close())

    async def carry(self, client: Half, first: bytes = b"") -> None:
        """Carry a connection, of which this much has been read."""
        try:
            # Bound first: to a port at which no one listens it could otherwise connect to itself.
            server = Half(*await asyncio.open_connection(HOST, self._server_port, local_addr=(HOST, 0)))
        except OSError:
            # As good as the proxy can know it: a client who is connected already cannot be refused any more.
            client.reset()
            return
        await server.send(first)
        link = Link(client, server)
        self.links.append(link)
        await link.run()
