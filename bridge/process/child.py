"""A worker process as its supervisor sees it: start, heartbeats, drain, end.

What is said on the line between them: worker.py.
"""

import asyncio
import contextlib
import logging
import socket
import time
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import Callable, Mapping, Sequence
from typing import Self

LOGGER = logging.getLogger(__name__)

SERVING = b"serving\n"
RELOAD = b"reload\n"
NO_COUNTS = b"[]"

BEAT_S = 1.0
"""Interval of a worker's heartbeats."""

SILENT_BEATS_MAX = 10
"""A worker that misses so many beats in a row hangs: its event loop does not turn."""

LINE_BYTES_MAX = 16 * 1024 * 1024

Received = Callable[[int, bytes], object]
"""Gets a worker's process id and what it has counted."""


def ignore_counts(_pid: int, _counts: bytes) -> None:
    """Ignore the counts."""


class WorkerProcess:
    """A worker process and the supervisor's end of the line to it. What is said on the line: worker.py."""

    def __init__(
        self, process: Process, line: asyncio.StreamReader, say: asyncio.StreamWriter, received: Received
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._line = line
        self._say = say
        self._received = received
        self._started = time.monotonic()
        self._serves = asyncio.get_running_loop().create_future()
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environ: Mapping[str, str],
        stderr: int | None = None,
        received: Received = ignore_counts,
    ) -> Self:
        """Start a process; the number of its end of the line is added to the command. Raise OSError.

        `stderr`: the descriptor of its standard error; None: that of this process. `received` is called with its
        counts.
        """
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        try:
            with theirs:
                process = await create_subprocess_exec(
                    *command,
                    str(theirs.fileno()),
                    env=environ,
                    stdin=DEVNULL,
                    stderr=stderr,
                    pass_fds=[theirs.fileno()],
                    # A terminal's Ctrl-C signals every process of its session; it is for the supervisor alone.
                    start_new_session=True,
                )
        except BaseException:
            ours.close()
            raise
        line, say = await asyncio.open_connection(sock=ours, limit=LINE_BYTES_MAX)
        return cls(process, line, say, received)

    @property
    def lived_s(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self._started

    async def serves(self) -> bool:
        """Wait until it serves; return False when it hung up instead."""
        return bool(await asyncio.shield(self._serves))

    def reload(self) -> None:
        """Have it look at all files now."""
        self._say.write(RELOAD)

    def drain(self) -> None:
        """Have it drain and end."""
        with contextlib.suppress(OSError):
            self._say.write_eof()

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> int:
        """Wait for its end and its last message; return its exit code, or minus the signal that ended it."""
        exit_code = await self._process.wait()
        await asyncio.wait([self._listening])
        self._say.close()
        return exit_code

    async def _listen(self) -> None:
        """Read its messages until it closes the line; kill it when none comes for too long."""
        try:
            self._serves.set_result(bool(await self._line.readline()))
            silent_beats = 0
            while silent_beats < SILENT_BEATS_MAX:
                try:
                    # Beats are counted, not seconds: a supervisor that was itself held up has read none.
                    async with asyncio.timeout(BEAT_S):
                        counts = await self._line.readline()
                except TimeoutError:
                    silent_beats += 1
                    continue
                if not counts:
                    return
                silent_beats = 0
                self._received(self.pid, counts)
            LOGGER.error("worker process %d hangs: it is killed, and its calls have an unknown outcome", self.pid)
            self.kill()
        except (ConnectionError, ValueError) as error:  # a line beyond the limit is a ValueError
            LOGGER.error("the line to worker process %d is broken: %s", self.pid, type(error).__name__)  # noqa: TRY400 - no text
            self.kill()
