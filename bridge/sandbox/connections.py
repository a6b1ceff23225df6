"""The sandbox's connections: accepted, served by hypercorn, and dropped when the sandbox stops.

`hypercorn.asyncio.serve` is passed over for the connection class below it, for three reasons. It gives an application
no way to end a connection. It holds a connection that its client has closed until the idle time-out, so that a long
one keeps dead sockets and a short one closes connections under a caller's hands. And it ends by waiting for the
streams that are open, where a sandbox with a `test-never` must end at once.

`asyncio.start_server` is passed over too: CPython 3.11 loses a connection that arrives in the turn of the loop in
which the server closes, and it does not let go of one that stalls in its TLS handshake.
"""

import asyncio
import functools
import logging
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Any

from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import AsyncioSingleTask, WorkerContext
from hypercorn.config import Config
from hypercorn.typing import TaskGroup

from bridge.sandbox.app import WalletApp

_LOGGER = logging.getLogger(__name__)

# RFC 9113, section 6.5.2: not below 100. A caller with more calls in flight must queue or open a second connection,
# as it must with a real wallet.
_STREAMS_MAX = 100

# Bounds what a client can hold that begins or ends TLS and does not go on.
_TLS_HANDSHAKE_TIMEOUT_S = 5.0
_TLS_SHUTDOWN_TIMEOUT_S = 1.0

# When there are no file descriptors left, those who wait are taken up as soon as some may be free again.
_ACCEPT_PAUSE_S = 0.1

AppFactory = Callable[[Callable[[], None]], WalletApp]
"""Makes the application of one connection from the function that ends it."""


class ListeningSocket(socket.socket):
    """Remembers what it accepted last: a cancelled `sock_accept` may hold a connection that nobody will get."""

    accepted: socket.socket | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, as any socket does."""
        self.accepted, address = super().accept()
        return self.accepted, address


class Connections:
    """Accepts and serves connections for as long as its context lasts; leaves no task and no socket behind."""

    def __init__(self, listening: ListeningSocket, make_app: AppFactory, tls: ssl.SSLContext | None) -> None:
        self._listening = listening
        self._make_app = make_app
        self._tls = tls
        self._config = _hypercorn_config()
        self._tasks: dict[socket.socket, asyncio.Task[None]] = {}
        # What ends each connection at once. While TLS begins, its task is cancelled; from then on its transport is
        # aborted, because a cancelled task would first send what a client may never read.
        self._drops: dict[socket.socket, Callable[[], object]] = {}

    async def __aenter__(self) -> None:
        self._accepting = asyncio.get_running_loop().create_task(self._accept_all())

    async def __aexit__(self, *_error: object) -> None:
        self._accepting.cancel()
        for drop in self._drops.values():
            drop()
        await asyncio.gather(self._accepting, *self._tasks.values(), return_exceptions=True)
        if self._listening.accepted:
            self._listening.accepted.close()

    async def _accept_all(self) -> None:
        while True:
            try:
                accepted, _ = await asyncio.get_running_loop().sock_accept(self._listening)
            except OSError as error:
                _LOGGER.error("the sandbox cannot accept a connection: %s", error)  # noqa: TRY400 -- the line says it
                await asyncio.sleep(_ACCEPT_PAUSE_S)
            else:
                self._listening.accepted = None
                self._begin(accepted)

    def _begin(self, accepted: socket.socket) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(accepted))
        self._tasks[accepted] = task
        self._drops[accepted] = task.cancel
        task.add_done_callback(lambda _task: self._end(accepted))

    def _end(self, accepted: socket.socket) -> None:
        del self._tasks[accepted], self._drops[accepted]
        accepted.close()  # for a task that was cancelled before it began

    async def _serve(self, accepted: socket.socket) -> None:
        try:
            reader, writer = await self._open_streams(accepted)
        except OSError:  # the handshake failed, or its client went: no concern of others
            return
        self._drops[accepted] = writer.transport.abort
        app = ASGIWrapper(self._make_app(functools.partial(_hang_up, writer)))
        loop = asyncio.get_running_loop()
        connection = TCPServer(app, loop, self._config, WorkerContext(None), {}, reader, writer)
        connection.idle_task = _NoIdleTask()
        try:
            await connection
        except Exception as error:  # noqa: BLE001 -- hypercorn lets a client's nonsense out as any exception
            # The kind only: the text may quote what the client sent.
            _LOGGER.error("a connection to the sandbox broke: %s", _kinds(error))  # noqa: TRY400 -- see above

    async def _open_streams(self, accepted: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        # Not the protocol that comes back: over TLS uvloop returns its own in its place.
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            accepted,
            ssl=self._tls,
            ssl_handshake_timeout=_TLS_HANDSHAKE_TIMEOUT_S if self._tls else None,
            ssl_shutdown_timeout=_TLS_SHUTDOWN_TIMEOUT_S if self._tls else None,
        )
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def _hang_up(writer: asyncio.StreamWriter) -> None:
    """Send what is written, then FIN (for TLS close_notify): a reset could overtake what was sent before it."""
    if writer.can_write_eof():
        writer.write_eof()
    else:
        writer.close()


class _NoIdleTask(AsyncioSingleTask):
    """Closes no connection for being idle: that is the caller's to do, and a race with its next request."""

    async def restart(self, task_group: TaskGroup, action: Callable[..., object]) -> None:
        """Do nothing where hypercorn begins to wait."""

    async def stop(self) -> None:
        """Do nothing where hypercorn stops waiting."""


def _hypercorn_config() -> Config:
    config = Config()
    config.h2_max_concurrent_streams = _STREAMS_MAX
    # hypercorn's GOAWAY after 1000 requests leaves those in flight without an answer.
    config.keep_alive_max_requests = sys.maxsize
    config.include_server_header = False
    # The access log can print headers; `on_call` says more, without them.
    config.accesslog = None
    # Errors only: what the application raised, ours or `on_call`.
    config.errorlog = logging.getLogger(f"{__name__}.hypercorn")
    config.errorlog.setLevel(logging.ERROR)
    return config


def _kinds(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return ", ".join(_kinds(inner) for inner in error.exceptions)
    return type(error).__name__
