"""A wallet stand-in over real sockets that does what a test tells it: answers well, answers badly, or breaks HTTP/2.

    async with FaultServer(sequence(reset_with(ErrorCodes.INTERNAL_ERROR), terminated)) as server:
        ...  # send requests to server.url
        assert [request.token for request in server.requests] == ["a", "b"]

It shares no code with the bridge, so that it can judge it.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from dataclasses import KW_ONLY, dataclass
from enum import Enum, auto
from types import TracebackType
from typing import Any, Self, TypeVar

from faults.behaviours import hang
from faults.connection import Connection
from faults.record import Received, Record
from faults.session import Manners
from faults.stream import Behaviour, Stream
from faults.wire import GoneError, send_reset_on_close

HOST = "127.0.0.1"
_BACKLOG = 1024
_Subject = TypeVar("_Subject", Connection, Stream)


class Welcome(Enum):
    """What an accepted TCP connection meets before any TLS or HTTP/2."""

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
    """A server on 127.0.0.1 for the time of its `async with`; see Manners for its options, Record for what it saw.

    A behaviour that raises anything but GoneError resets its connection; leaving the block raises it again, in a
    group.
    """

    behaviour: Behaviour
    """Called for every request on a task of its own; may be replaced at any time."""
    _: KW_ONLY
    tls: ssl.SSLContext | None = None
    """None: plaintext, HTTP/2 with prior knowledge."""
    welcome: Callable[[int], Welcome] = lambda _number: Welcome.SERVE
    """Chosen for each connection by its number, from 1."""
    opening: Callable[[Connection], Awaitable[None]] | None = None
    """Called once for each connection after its SETTINGS, on a task of its own."""

    def __post_init__(self) -> None:
        """Nothing is open before the block is entered."""
        self._listener: socket.socket
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
        return f"{'https' if self.tls else 'http'}://{HOST}:{self.port}"

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
        # Bound, but not listening: connecting is refused, and nobody else gets the port meanwhile.
        self._listener = bound_socket(port)
        for connection in self._held.values():
            connection.abort()
        await _ended(self._attending)
        yield
        self._start_listening()

    async def __aenter__(self) -> Self:
        """Listen on a free port."""
        self._listener = bound_socket()
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
        asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except BlockingIOError:  # the client left between its arrival and now
            return
        accepted.settimeout(0)
        # asyncio does so only for sockets made with the protocol's number; without it, answers wait for delayed ACKs.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connections += 1
        connection = Connection(accepted, self.connections, self, self, self._dispatch)
        self._held[connection.number] = connection
        self._spawn(self._attend(connection, accepted), self._attending)
        self.changed.beat()

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

    def _dispatch(self, connection: Connection, request: Received) -> None:
        self._spawn(_behave(self.behaviour, Stream(connection, request, self), connection), self._behaving)

    def _spawn(self, work: Coroutine[Any, Any, None], tasks: set[asyncio.Task[None]]) -> None:
        def note_end(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            if not task.cancelled() and (failure := task.exception()):
                self._failures.append(failure)

        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(note_end)


def silent_server() -> FaultServer:
    """Make a server that accepts connections and never says a word: a TLS handshake with it stalls."""
    return FaultServer(hang, welcome=lambda _number: Welcome.STALL)


def closing_server() -> FaultServer:
    """Make a server that ends every connection with FIN as soon as it is accepted."""
    return FaultServer(hang, welcome=lambda _number: Welcome.CLOSE)


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """Hold a port on 127.0.0.1 where connecting is refused, for the time of the block."""
    with bound_socket() as bound:
        yield int(bound.getsockname()[1])


def bound_socket(port: int = 0) -> socket.socket:
    """Make a TCP socket on 127.0.0.1 that does not listen yet."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.settimeout(0)
    bound.bind((HOST, port))
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
