"""One of several worker processes: it serves on the shared port, and drains when the line to its supervisor closes.

The line is one end of a socket pair, inherited. Each side says lines of text:

    worker: serving                once, when it serves
            [[...], ...]           then once a second and at its end: what it has counted (worker_counts.py)
    supervisor: reload             look at all files now
                (end of file)      drain and end; the kernel says so too, when the supervisor is killed

The worker speaks from its event loop. So a supervisor that receives nothing knows that the loop does not turn.
"""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress

from bridge.events import Draining, Emit
from bridge.process.child import BEAT_S, NO_COUNTS, RELOAD, SERVING
from bridge.process.memory import give_back_memory, limit_the_allocator, spare_the_collector
from bridge.process.signals import on_reload, on_stop
from bridge.server.app import running
from bridge.server.background import in_background
from bridge.server.descriptors import raise_limit
from bridge.settings.model import Settings
from bridge.tracer import Tracer

LAST_WORD_S = 1.0
"""Longest time for the last counts to leave."""

COMMANDS_BYTES = 4096

Counts = Callable[[], bytes]


def no_counts() -> bytes:
    """Return what a worker says that counts nothing."""
    return NO_COUNTS


async def work(
    settings: Settings, line_descriptor: int, emit: Emit, tracer: Tracer | None = None, counts: Counts = no_counts
) -> None:
    """Serve until the line closes, or until a signal to stop, then drain. `counts` makes what the supervisor adds up.

    Two orders still make one drain: a service manager that signals all processes of the bridge also makes the
    supervisor close the line. A second signal to the supervisor kills.
    """
    limit_the_allocator()
    spare_the_collector()
    raise_limit()
    with socket.socket(fileno=line_descriptor) as connection:
        line = _Line(connection, counts)
        on_stop(line.leave.set)
        async with (
            running(settings, emit=emit, tracer=tracer, reuse_port=True) as bridge,
            in_background(give_back_memory()),
        ):
            on_reload(bridge.look_at_files)
            line.listen(bridge.look_at_files)
            speaking = asyncio.create_task(line.speak())
            await line.leave.wait()
            emit(Draining(drain_s=settings.server.drain_s))
            await bridge.drain(settings.server.drain_s)
        line.is_over.set()
        await asyncio.wait([speaking], timeout=LAST_WORD_S)
        line.close()


class _Line:
    """The worker's end of the line."""

    def __init__(self, connection: socket.socket, counts: Counts) -> None:
        connection.settimeout(0)
        self.leave = asyncio.Event()
        self.is_over = asyncio.Event()
        self._connection = connection
        self._counts = counts
        self._loop = asyncio.get_running_loop()

    def listen(self, look: Callable[[], object]) -> None:
        """Set `leave` at the end of file, and call `look` when the supervisor says so."""
        self._loop.add_reader(self._connection, self._read, look)

    def close(self) -> None:
        """Read nothing more."""
        self._loop.remove_reader(self._connection)

    async def speak(self) -> None:
        """Say that it serves, then what is counted, again and again, and for a last time when it is over."""
        # A supervisor that is gone has closed the line.
        with suppress(ConnectionError):
            await self._loop.sock_sendall(self._connection, SERVING)
            while not self.is_over.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(BEAT_S):
                        await self.is_over.wait()
                await self._loop.sock_sendall(self._connection, self._counts() + b"\n")

    def _read(self, look: Callable[[], object]) -> None:
        try:
            said = self._connection.recv(COMMANDS_BYTES)
        except BlockingIOError:
            return
        except ConnectionError:
            said = b""
        if RELOAD in said:
            look()
        if not said:
            self.close()
            self.leave.set()
