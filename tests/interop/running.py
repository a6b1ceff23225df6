"""Foreign servers as processes: started in order, watched through their log files, ended by their ids."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

READY_S = 60.0
"""The time that a server may take to start on a busy machine."""
END_S = 20.0
_LOOK_AGAIN_S = 0.02
_LOG_TAIL_BYTES = 2000


class StartError(Exception):
    """A server that did not start. Its text ends with the end of the log."""


@dataclass(frozen=True)
class Program:
    """A command that serves, and how to see that it does."""

    argv: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)
    ready: str = ""
    """A text in its log. "": it is ready when `port` accepts connections."""
    port: int = 0
    inherits: bool = False
    """True: its standard input is the listening socket of the site's port."""


@dataclass(frozen=True)
class Process:
    """A started program."""

    program: Program
    process: asyncio.subprocess.Process
    log: Path

    @property
    def tail(self) -> str:
        """The end of what it has written."""
        return self.log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")

    async def until_ready(self) -> None:
        """Wait until it serves; StartError when it ends or takes too long."""
        try:
            async with asyncio.timeout(READY_S):
                # A foreign program does not report that it is ready: it has to be asked again and again.
                while not await self._is_ready():
                    if self.process.returncode is not None:
                        raise StartError(f"{self.program.argv[0]} ended with {self.process.returncode}: {self.tail}")
                    await asyncio.sleep(_LOOK_AGAIN_S)
        except TimeoutError:
            raise StartError(f"{self.program.argv[0]} was not ready after {READY_S:g} s: {self.tail}") from None

    async def _is_ready(self) -> bool:
        if self.program.ready:
            return self.program.ready in self.log.read_text(errors="replace")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.program.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def ended(self) -> None:
        """Wait for its end, which was asked for; kill it where it takes too long."""
        try:
            async with asyncio.timeout(END_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


class Processes:
    """The processes of one stack, the front last. All are in process groups of their own."""

    def __init__(self, folder: Path, listener: socket.socket | None) -> None:
        self._folder = folder
        self._listener = listener
        self._started: list[Process] = []

    @property
    def front(self) -> Process:
        """The process that the bridge talks to: the one started last."""
        return self._started[-1]

    async def start(self, program: Program) -> Process:
        """Start a program and wait until it serves."""
        log = self._folder / f"{len(self._started)}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *program.argv,
                env={**os.environ, **program.environ},
                cwd=self._folder,
                stdin=self._listener.fileno() if program.inherits and self._listener else asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        started = Process(program, process, log)
        self._started.append(started)
        await started.until_ready()
        return started

    async def run(self, *argv: str) -> None:
        """Run a command to its end; StartError when it fails."""
        log = self._folder / "command.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(*argv, cwd=self._folder, stdout=output, stderr=output)
        if await process.wait():
            raise StartError(f"{' '.join(argv)}: {log.read_text(errors='replace')[-_LOG_TAIL_BYTES:]}")

    async def until_one_is_left(self) -> None:
        """Wait until of the processes that run the front's program only the last one is left."""
        for each in self._started[:-1]:
            if each.program.argv[0] == self.front.program.argv[0]:
                await each.ended()

    async def stop(self) -> None:
        """End every process, the front first, with all that it has started."""
        for each in reversed(self._started):
            each.send(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await each.process.wait()
            # What is left in its group: workers that outlive their master, calls that wait for no one.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(each.process.pid, signal.SIGKILL)
            await each.process.wait()


@asynccontextmanager
async def running(programs: Sequence[Program], folder: Path, port: int) -> AsyncIterator[Processes]:
    """Run these programs, each ready before the next one starts."""
    async with AsyncExitStack() as stack:
        listener = None
        if any(program.inherits for program in programs):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", port), backlog=1024))
            listener.settimeout(0)
        processes = Processes(folder, listener)
        stack.push_async_callback(processes.stop)
        for program in programs:
            await processes.start(program)
        yield processes
