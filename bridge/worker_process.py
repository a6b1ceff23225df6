"""A worker process, seen from its supervisor: how it is started, told to leave and waited for."""

import asyncio
import contextlib
import socket
import time
from asyncio.subprocess import DEVNULL, Process, create_subprocess_exec
from collections.abc import Mapping, Sequence
from typing import Self


class WorkerProcess:
    """A worker process and the supervisor's end of the line to it. What is said on the line: worker.py."""

    def __init__(self, process: Process, line: socket.socket) -> None:
        self.pid = process.pid
        self._process = process
        self._line = line
        self._started = time.monotonic()

    @classmethod
    async def start(cls, command: Sequence[str], environ: Mapping[str, str], stderr: int | None = None) -> Self:
        """Start a process; the number of its end of the line is added to the command. Raise OSError.

        `stderr`: the descriptor of its standard error; None: that of this process.
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
        return cls(process, ours)

    @property
    def lived_s(self) -> float:
        """How many seconds ago it was started."""
        return time.monotonic() - self._started

    async def serves(self) -> bool:
        """Wait until it serves; return False when it hung up instead."""
        return bool(await asyncio.get_running_loop().sock_recv(self._line, 1))

    def drain(self) -> None:
        """Tell it to drain and end."""
        self._line.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> int:
        """Wait until it has ended; return its exit code, or the negative number of the signal that ended it."""
        exit_code = await self._process.wait()
        self._line.close()
        return exit_code
