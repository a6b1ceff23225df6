"""Processes of a run: each is started, killed and started again; what they say goes to files."""

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.support import redis_server
from tests.support.processes import SERVE, SOURCES, children_of, unmeasured

PATIENCE_S = 300.0
"""For a start or an end. Generous: the machine may be busy with others."""
POLL_S = 0.05
HERE = Path(__file__).parents[2]
"""Where the package `tests` is."""


class Killable(ABC):
    """One process, its children with it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.folder = folder
        self.kills = 0
        self.starts = 0
        self.is_ready = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def argv(self) -> Sequence[str]:
        """The command."""

    @property
    def environ(self) -> Mapping[str, str]:
        """Variables of the environment beside the test's own."""
        return {}

    @abstractmethod
    async def is_up(self) -> bool:
        """Say whether it serves."""

    @property
    def log(self) -> Path:
        """What the newest start says."""
        return self.folder / f"{self.name} {self.starts}.log"

    @property
    def problems(self) -> str:
        """The newest lines of the log that are no routine."""
        lines = [line for line in self.log.read_text().splitlines() if '"level":"info"' not in line]
        return "\n".join(lines[-50:])

    async def start(self) -> None:
        """Start it and wait until it serves."""
        self.starts += 1
        env = {**unmeasured(), "PYTHONPATH": f"{SOURCES}{os.pathsep}{HERE}", **self.environ}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own commands; starting one blocks for a moment
                self.argv, stdout=log, stderr=subprocess.STDOUT, env=env
            )
        async with asyncio.timeout(PATIENCE_S):
            while not await self.is_up():
                assert self._process.poll() is None, f"{self.name} has ended: {self.problems}"
                await asyncio.sleep(POLL_S)
        self.is_ready = True

    async def kill(self) -> None:
        """SIGKILL it and its children, and wait until they are gone."""
        self.is_ready = False
        if self._process is None:
            return
        self.kills += 1
        children = _handles(self.children)
        with suppress(ProcessLookupError):
            self._process.kill()
        for child in children:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(child, signal.SIGKILL)
        await asyncio.to_thread(self._process.wait)
        for child in children:
            await asyncio.to_thread(select.select, [child], [], [], PATIENCE_S)  # readable: it has ended
            os.close(child)

    async def stop(self) -> None:
        """SIGTERM it and wait for its end."""
        self.is_ready = False
        assert self._process is not None
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, PATIENCE_S)

    @property
    def children(self) -> list[int]:
        """Ids of its child processes."""
        assert self._process is not None
        with suppress(FileNotFoundError):
            return [int(pid) for pid in children_of(self._process.pid).split()]
        return []


def _handles(pids: Sequence[int]) -> list[int]:
    """Return pidfds of the processes that still are there: an id alone may mean another one a moment later."""
    handles = []
    for pid in pids:
        with suppress(ProcessLookupError):
            handles.append(os.pidfd_open(pid))
    return handles


class BridgeProcess(Killable):
    """`bridge serve`. Each start listens on a port of its own: the one before may still be held by a dying process."""

    def __init__(self, name: str, folder: Path, settings: Mapping[str, str]) -> None:
        super().__init__(name, folder)
        self._settings = settings
        self.address = ""

    @property
    def argv(self) -> Sequence[str]:
        """The command."""
        return SERVE

    @property
    def environ(self) -> Mapping[str, str]:
        """Its settings."""
        return self._settings

    async def is_up(self) -> bool:
        """Look for the line that names its address."""
        events = [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]
        serving = [event for event in events if event["event"] == "serving"]
        if serving:
            self.address = serving[-1]["address"]
        return bool(serving)

    def kill_worker(self, which: int) -> bool:
        """SIGKILL one of its workers, which its supervisor replaces; return whether it has any."""
        children = _handles(self.children)
        if not children:
            return False
        signal.pidfd_send_signal(children[which % len(children)], signal.SIGKILL)
        for child in children:
            os.close(child)
        return True


class WalletProcess(Killable):
    """The wallet, on one address for the whole run."""

    def __init__(self, folder: Path, address: str, seed: int) -> None:
        super().__init__("wallet", folder)
        self._address = address
        self._seed = seed
        self.journal = folder / "journal"
        self.calm = folder / "calm"

    @property
    def argv(self) -> Sequence[str]:
        """The command. Each start has other faults."""
        files = ("--journal", str(self.journal), "--calm", str(self.calm))
        seed = str(self._seed + self.starts)
        return (sys.executable, "-m", "tests.chaos.wallet", "--listen", self._address, *files, "--seed", seed)

    async def is_up(self) -> bool:
        """Look for its first line."""
        return "wallet on" in self.log.read_text()


class RedisProcess(Killable):
    """A Redis that loses nothing that it has confirmed: appendfsync always."""

    def __init__(self, folder: Path) -> None:
        super().__init__("redis", folder)
        self._socket = folder / "redis.sock"

    @property
    def url(self) -> str:
        """Where it is."""
        return f"unix://{self._socket}"

    @property
    def argv(self) -> Sequence[str]:
        """The command."""
        assert redis_server.SERVER
        files = ("--dir", str(self.folder), "--unixsocket", str(self._socket), "--port", "0", "--save", "")
        return (redis_server.SERVER, *files, "--appendonly", "yes", "--appendfsync", "always")

    async def is_up(self) -> bool:
        """Ask it."""
        return await asyncio.to_thread(redis_server.answers, self._socket)
