"""A TCP proxy that does harm on the way, to any protocol: it stops, swallows, resets and half-closes.

    async with FaultProxy(server.port) as proxy:
        ...  # connect to proxy.port
        proxy.links[0].pause()

It knows bytes only, so TLS passes through it untouched.
"""

import asyncio
import socket
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from bridge.sandbox.server import HOST, bound_socket
from bridge.sandbox.wire import send_reset_on_close

_BACKLOG = 128
_READ_BYTES_MAX = 65536


class Link:
    """One connection through the proxy: the client's half and the server's half."""

    def __init__(self, client: "_Half", server: "_Half") -> None:
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
            self._client.close()
            self._server.close()

    async def _pump(self, source: "_Half", target: "_Half") -> None:
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
        self._listener: socket.socket
        self._tasks: set[asyncio.Task[None]] = set()
        self.links: list[Link] = []
        """Every connection that was carried, oldest first."""

    @property
    def port(self) -> int:
        """The port to connect to."""
        return int(self._listener.getsockname()[1])

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._listener = bound_socket()
        self._listener.listen(_BACKLOG)
        self._spawn(asyncio.create_task(self._accept()))
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()

    def _spawn(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            accepted, _ = await loop.sock_accept(self._listener)
            self._spawn(asyncio.create_task(self._carry(accepted)))

    async def _carry(self, accepted: socket.socket) -> None:
        connecting = bound_socket()
        try:
            await asyncio.get_running_loop().sock_connect(connecting, (HOST, self._server_port))
        except OSError:
            # As good as the proxy can know it: a client who is connected already cannot be refused any more.
            connecting.close()
            send_reset_on_close(accepted)
            accepted.close()
            return
        link = Link(await _Half.of(accepted), await _Half.of(connecting))
        self.links.append(link)
        await link.run()


@dataclass(eq=False)
class _Half:
    connected: socket.socket
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_finished: bool = False

    @classmethod
    async def of(cls, connected: socket.socket) -> Self:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return cls(connected, *await asyncio.open_connection(sock=connected))

    async def send(self, piece: bytes) -> None:
        if not self.is_finished:  # after FIN nothing more can pass
            self.writer.write(piece)
            await self.writer.drain()

    def finish(self) -> None:
        if not self.is_finished and not self.writer.is_closing():
            self.writer.write_eof()
        self.is_finished = True

    def reset(self) -> None:
        if not self.writer.is_closing():
            send_reset_on_close(self.connected)
            self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()
