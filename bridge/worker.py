"""One of several worker processes: it serves on the shared port, and drains when the line to its supervisor closes.

The line is one end of a socket pair, inherited. The worker says once that it serves; the supervisor says nothing, and
closes its end when the worker is to leave. The kernel closes it too, when the supervisor is killed.
"""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bridge.config import Settings
from bridge.server import STOP_SIGNALS, running, spare_the_collector
from bridge.telemetry.events import Draining, Emit
from bridge.telemetry.spans import Tracer

SERVING = b"serving\n"


async def work(settings: Settings, line_descriptor: int, emit: Emit, tracer: Tracer | None = None) -> None:
    """Serve until the line closes, or until SIGTERM or SIGINT, then drain.

    Told twice it still drains once: a service manager that signals all processes of the bridge also makes the
    supervisor close the line. Who is in a hurry tells the supervisor twice: it kills.
    """
    spare_the_collector()
    with socket.socket(fileno=line_descriptor) as line, _told_to_leave(line) as told:
        async with running(settings, emit=emit, tracer=tracer, reuse_port=True) as bridge:
            # A supervisor that is gone has closed the line.
            with suppress(BrokenPipeError):
                line.send(SERVING)
            await told.wait()
            emit(Draining(drain_s=settings.server.drain_s))
            await bridge.drain(settings.server.drain_s)


@contextmanager
def _told_to_leave(line: socket.socket) -> Iterator[asyncio.Event]:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def hung_up() -> None:
        loop.remove_reader(line)
        told.set()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, told.set)
    loop.add_reader(line, hung_up)
    try:
        yield told
    finally:
        loop.remove_reader(line)
