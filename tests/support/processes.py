"""Real processes for tests: start `python -m bridge ...`, read what it says line by line, send signals, see the end."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import bridge
from bridge.sandbox.record import Pulse
from wallet.v1 import wallet_service_pb2

SOURCES = os.pathsep.join((str(Path(bridge.__file__).parents[1]), str(Path(wallet_service_pb2.__file__).parents[2])))
"""Where the bridge is that the test imports, and its generated code: an installed one must not stand before them."""


AS_INSTALLED = str(Path(__file__).with_name("as_installed"))
"""A folder for PYTHONPATH. httpx and structlog import click and rich where they are, as in an environment for
development: an eighth of the start of a bridge there, and nothing that runs in production."""

SERVE = (sys.executable, "-m", "bridge", "serve")


def unmeasured() -> dict[str, str]:
    """Return the environment without what has a process measured for coverage, which imports and writes things, too."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


class Command:
    """A running `bridge` command. Its lines are read as they come; none is lost."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        """Standard output and standard error, in the order of arrival."""
        self._passed = 0
        """Number of lines that `line` has returned or passed over."""
        self._said = Pulse()
        """Beats with each line, and at the end."""
        self._is_over = False
        self._reading = asyncio.create_task(self._read())

    async def line(self, *words: str) -> str:
        """Return the next line with all of these words; fail with all lines when the process ends before."""
        while True:
            await self._said.until(lambda: len(self.lines) > self._passed or self._is_over)
            assert len(self.lines) > self._passed, f"the process ended with {await self.end()}: {self.output}"
            self._passed += 1
            line = self.lines[self._passed - 1]
            if all(word in line for word in words):
                return line

    async def until(self, *words: str) -> str:
        """Return the first line of all with all of these words."""
        self._passed = 0
        return await self.line(*words)

    async def address(self) -> str:
        """Wait until the bridge serves; return the address of its port for calls, from either format of the log."""
        serving = await self.line("serving", "wallet_url")
        return str(re.findall(r'\baddress"?[=:]"?([^\s",]+)', serving)[0])

    async def stop(self) -> int:
        """Ask it to stop, and return the exit code."""
        self.process.terminate()
        return await self.end()

    async def end(self) -> int:
        """Wait for the end and the last line, and return the exit code."""
        return await asyncio.shield(self._reading)

    async def _read(self) -> int:
        assert self.process.stdout is not None
        try:
            async for line in self.process.stdout:
                self.lines.append(line.decode())
                self._said.beat()
        finally:
            self._is_over = True
            self._said.beat()
        return await self.process.wait()

    @property
    def problems(self) -> list[str]:
        """What keeps a bridge from starting, by the lines of its log: those that were read so far."""
        lines = [json.loads(line) for line in self.output.splitlines() if line.startswith("{")]
        return [line["problem"] for line in lines if line["event"] == "cannot start"]

    @property
    def output(self) -> str:
        """Everything that was read so far."""
        return "".join(self.lines)


def children_of(pid: int) -> str:
    """Return the ids of a process's child processes."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text()


@asynccontextmanager
async def bridge_command(
    *arguments: str, environ: Mapping[str, str] | None = None, within: Sequence[str] = (), folder: Path | None = None
) -> AsyncIterator[Command]:
    """Start `bridge` with these arguments, and these variables beside the test's own; kill what is left of it.

    `within`: a command that runs it, like unshare(1). `folder`: where it works; None: where the test does.
    """
    env = {**os.environ, **({"PYTHONPATH": SOURCES} if folder else {}), **(environ or {})}
    async with program(*within, sys.executable, "-m", "bridge", *arguments, env=env, cwd=folder) as running:
        yield running


@asynccontextmanager
async def program(*argv: str, env: Mapping[str, str], **options: Any) -> AsyncIterator[Command]:
    """Start a program with this environment, where Python has no tools of developers; kill what is left of it."""
    paths = [AS_INSTALLED, *filter(None, [env.get("PYTHONPATH")])]
    process = await asyncio.create_subprocess_exec(
        *argv,
        env={**env, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        # A line may hold a long answer; the default limit of 64 KiB is for chats.
        limit=2**22,
        **options,
    )
    running = Command(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            process.kill()
        await running.end()


@asynccontextmanager
async def url_of(module: str) -> AsyncIterator[str]:
    """Run a module that serves, says its URL and ends with its standard input; yield the URL."""
    async with program(sys.executable, "-m", module, env=os.environ, stdin=asyncio.subprocess.PIPE) as running:
        yield (await running.line("http")).strip()
