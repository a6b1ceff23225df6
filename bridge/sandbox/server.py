"""HTTP/2 server on real sockets that does what a behaviour says: answers well, answers badly, or breaks HTTP/2.

    async with FaultServer(sequence(reset_with(ErrorCodes.INTERNAL_ERROR), terminated)) as server:
        ...  # send requests to server.url
        assert [request.token for request in server.requests] == ["a", "b"]

It shares no code with the rest of the bridge, so that it can check it. `service.serve` runs the sandbox wallet on it.
"""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import KW_ONLY, dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self, TypeVar

from bridge.sandbox.connection import Connection
from bridge.sandbox.record import Record, Request
from bridge.sandbox.session import Manners
from bridge.sandbox.stream import Behaviour, Stream
from bridge.sandbox.wire import GoneError, send_reset_on_close

HOST = "127.0.0.1"

# Connections that the kernel holds until the loop accepts them: a burst of callers is not refused.
_BACKLOG = 1024
# Without a free file descriptor, connections that wait are accepted as soon as some may be free again.
_ACCEPT_PAUSE_S = 0.1

_LOGGER = logging.getLogger(__name__)
_Subject = TypeVar("_Subject", Connection, Stream)


class Welcome(Enum):
    """Behaviour towards an accepted TCP connection before any TLS or HTTP/2."""

    SERVE = auto()
    """The server, as it should be."""
    STALL = auto()
    """Silence: the connection stands, nothing is read or sent."""
    CLOSE = auto()
    """FIN at once."""
    RESET = auto()
    """TCP RST at once."""


@dataclass(eq=False)
class FaultServer(Record, Manners):
    """A server for the time of its `async with`; see Manners for its options, Record for what it saw.

    A behaviour that raises anything but GoneError resets its connection; leaving the block raises it again, in a
    group.
    """

    behaviour: Behaviour
    """Called for every request on a task of its own; may be replaced at any time."""
    _: KW_ONLY
    host: str = HOST
    """The IP address to listen on."""
    listen_port: int = 0
    """The port to listen on. 0: a free one."""
    tls: ssl.SSLContext | None = None
    """None: plaintext, HTTP/2 with prior knowledge."""
    welcome: Callable[[int], Welcome] = lambda _number: Welcome.SERVE
    """Chosen for each connection by its number, from 1."""
    opening: Callable[[Connection], Awaitable[None]] | None = None
    """Called once for each connection after its SETTINGS, on a task of its own."""

    def __post_init__(self) -> None:
        """Open nothing before the block is entered."""
        super().__post_init__()
        self._listener: socket.socket
        self._resumption: asyncio.TimerHandle | None = None
        self._held: dict[int, Connection] = {}
        self._attending: set[asyncio.Task[None]] = set()
        self._behaving: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []

    @property
    def port(self) -> int:
        """The TCP port; it stays the same while the server is offline."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Scheme, host and port, without a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"

    @property
    def open_connections(self) -> list[Connection]:
        """The connections that stand, oldest first."""
        return [held for held in self._held.values() if held.established and not held.lost.is_set()]

    @property
    def open_streams(self) -> int:
        """Streams that are not closed, over all connections."""
        return sum(len(connection.exchanges) for connection in self._held.values())

    @contextlib.asynccontextmanager
    async def offline(self) -> AsyncIterator[None]:
        """Restart: reset all connections and refuse new ones; after the block, accept on the same port again."""
        port = self.port
        self._stop_listening()
        # Bound, but not listening: connecting is refused, and no other process gets the port meanwhile.
        self._listener = bound_socket(port, self.host)
        for connection in self._held.values():
            connection.abort()
        await _ended(self._attending)
        yield
        self._start_listening()

    async def __aenter__(self) -> Self:
        """Listen; who connects from here on waits in the kernel until it is accepted. OSError if it cannot."""
        self._listener = bound_socket(self.listen_port, self.host)
        self._start_listening()
        return self

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End every task and connection; raise what behaviours raised, unless the block itself failed."""
        self._stop_listening()
        for task in self._behaving:
            task.cancel()
        await _ended(self._behaving)
        for connection in self._held.values():
            connection.dispose()
        await _ended(self._attending)
        for connection in self._held.values():
            connection.release()
        if self._failures and error is None:
            raise BaseExceptionGroup("behaviours of the fault server failed", self._failures)
        if self._failures and error is not None:
            error.add_note(f"behaviours of the fault server failed too: {self._failures}")

    def _start_listening(self) -> None:
        self._listener.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _stop_listening(self) -> None:
        if self._resumption:
            self._resumption.cancel()
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):  # the client left between its arrival and now
            return
        except OSError as error:
            self._pause_accepting(error)
            return
        accepted.settimeout(0)
        # asyncio does so only for sockets made with the protocol's number; without it, answers wait for delayed ACKs.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections += 1
        connection = Connection(accepted, self.connections, self, self, self._dispatch)
        self._held[connection.number] = connection
        self._spawn(self._attend(connection, accepted), self._attending)
        self.changed.beat()

    def _pause_accepting(self, error: OSError) -> None:
        _LOGGER.error("cannot accept a connection: %s", error)
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener)
        self._resumption = loop.call_later(_ACCEPT_PAUSE_S, loop.add_reader, self._listener, self._accept)

    async def _attend(self, connection: Connection, accepted: socket.socket) -> None:
        match self.welcome(connection.number):
            case Welcome.SERVE:
                await self._serve(connection, accepted)
            case Welcome.CLOSE:
                # Only the sending half: closing the whole with the client's bytes unread would send RST.
                accepted.shutdown(socket.SHUT_WR)
            case Welcome.RESET:
                send_reset_on_close(accepted)
                accepted.close()
            case Welcome.STALL:
                pass

    async def _serve(self, connection: Connection, accepted: socket.socket) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, accepted, ssl=self.tls)
        except OSError as error:
            self.handshake_errors.append(error)
        if connection.established:
            if self.opening:
                self._spawn(_behave(self.opening, connection, connection), self._behaving)
            await connection.lost.wait()
        del self._held[connection.number]
        self.changed.beat()

    def _dispatch(self, connection: Connection, request: Request) -> None:
        self._spawn(_behave(self.behaviour, Stream(connection, request, self), connection), self._behaving)

    def _spawn(self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
        def note_end(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            if not task.cancelled() and (failure := task.exception()):
                self._failures.append(failure)

        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(note_end)


def bound_socket(port: int = 0, host: str = HOST) -> socket.socket:
    """Return a TCP socket that is bound and does not listen yet. OSError or OverflowError if it cannot be bound."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            # A restart does not have to wait until the kernel has forgotten the last connections.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.settimeout(0)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    return bound


async def _behave(behaviour: Callable[[_Subject], Awaitable[None]], subject: _Subject, connection: Connection) -> None:
    try:
        await behaviour(subject)
    except GoneError:
        pass
    except asyncio.CancelledError:
        raise
    except BaseException:  # pytest's own failures are no Exception
        connection.abort()  # or else the test would wait for an answer until its time is up
        raise


async def _ended(tasks: set[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
