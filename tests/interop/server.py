"""A server of the matrix: what it needs, how it is started, how it reloads, and which rows it cannot have."""

import shlex
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from tests.interop.running import Processes, Program
from tests.interop.site import Site

Reload = Callable[[Processes, Site], Awaitable[None]]

H2C, TLS = "h2c", "TLS"
TRANSPORTS = (H2C, TLS)


@dataclass(frozen=True)
class Server:
    """A real server with the wallet in it or behind it."""

    name: str
    programs: Callable[[Site], Sequence[Program]]
    """What to start, in this order; the last one is the front."""
    missing: Callable[[], str]
    """Says what is not installed, and how to install it; "" for nothing."""
    version: Callable[[], str]
    reload: Reload
    reload_word: str
    """How it reloads or restarts, for the document."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Rows that it cannot have, each with the reason."""
    odd_word: str = ""
    """Its odd SETTINGS, for the document."""
    quick: bool = False
    """In the quick part."""
    idle_setting: str = ""
    """The setting that makes it close idle connections, for the document."""


def on_signal(number: signal.Signals) -> Reload:
    """Reload at a signal to the front."""

    async def reload(processes: Processes, _site: Site) -> None:
        processes.front.send(number)

    return reload


def by_command(command: str) -> Reload:
    """Reload by a command in the site's folder, with {folder} filled in."""

    async def reload(processes: Processes, site: Site) -> None:
        await processes.run(*shlex.split(command.format(folder=site.folder)))

    return reload


async def handover(processes: Processes, _site: Site) -> None:
    """Start a second process on the same listening socket, then ask the first one to end gracefully."""
    old = processes.front
    await processes.start(old.program)
    old.send(signal.SIGTERM)


async def with_gap(processes: Processes, _site: Site) -> None:
    """Ask the process to end gracefully, and start it again when it has: in between no process listens."""
    old = processes.front
    old.send(signal.SIGTERM)
    await old.ended()
    await processes.start(old.program)
