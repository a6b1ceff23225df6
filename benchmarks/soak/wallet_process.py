"""The hostile wallet as the soak sees it: a process that is given orders and says what it saw."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.soak.ledger import Ledger
from bridge.sandbox.record import Pulse

LINE_BYTES_MAX = 2**22
"""Of one report: the tokens of half a second."""


class WalletProcess:
    """A running wallet. What it processes goes into the ledger."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, ledger: Ledger) -> None:
        self.process = process
        self.url = url
        self.violations: list[str] = []
        """Of HTTP/2, by the bridge: all of them, for there are to be none."""
        self.foreign = 0
        """Requests that were signed with keys of another time."""
        self.connections = 0
        """That it has accepted so far."""
        self._calms = 0
        self._reports = 0
        self._reported = Pulse()
        self._ledger = ledger

    async def storm(self) -> None:
        """Let it do its worst."""
        await self._report("storm")

    async def calm(self) -> None:
        """Let it drop all connections and be good; return when it has said what it saw until then, and after."""
        calms = self._calms
        await self._report("calm")
        await self._reported.until(lambda: self._calms > calms)
        reports = self._reports
        await self._reported.until(lambda: self._reports > reports + 1)

    async def want(self, key_version: int) -> None:
        """Let it take only what is signed with this version of the keys."""
        await self._report(f"keys {key_version}")

    async def listen(self) -> None:
        """Take its reports for ever; raise RuntimeError when it ends."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            report = json.loads(line)
            self._ledger.processed(report["processed"])
            self.violations += report["violations"]
            self.foreign, self.connections = report["foreign"], report["connections"]
            self._calms = report["calms"]
            self._reports += 1
            self._reported.beat()
        raise RuntimeError(f"the wallet has ended with {await self.process.wait()}")

    async def end(self) -> int:
        """Let it end and return its exit code: 0 if none of its behaviours has failed."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.process.wait()

    async def _report(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())
        await self.process.stdin.drain()


@asynccontextmanager
async def wallet_process(seed: int, ledger: Ledger) -> AsyncIterator[WalletProcess]:
    """Run a hostile wallet, which is calm at first; kill what is left of it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.soak.hostile_wallet", str(seed)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_BYTES_MAX,
    )
    assert process.stdout is not None
    try:
        yield WalletProcess(process, json.loads(await process.stdout.readline())["url"], ledger)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
