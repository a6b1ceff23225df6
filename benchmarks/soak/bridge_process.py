"""The bridge of a soak: `bridge serve` (bridge_main.py), with metrics, keys in files, its log at info in a file."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio

from benchmarks.soak.callers import DEADLINE_DEFAULT_S, DEADLINE_MAX_S
from benchmarks.soak.ledger import FINGERPRINT_KEY
from tests.support.ports import reserved_address
from tests.support.rotating_wallet import in_files
from tests.support.whole_path import PATIENCE_S, environment

MAX_IN_FLIGHT, MAX_QUEUED = 20, 5
"""Fewer than there are callers: some calls wait, and now and then one is refused."""

ASK_S = 0.005


@dataclass(frozen=True)
class BridgeProcess:
    """A running bridge."""

    process: asyncio.subprocess.Process
    address: str
    metrics_address: str
    log: Path
    tasks_file: Path

    async def tasks(self) -> int:
        """Ask how many tasks its loop has."""
        self.tasks_file.unlink(missing_ok=True)
        self.process.send_signal(signal.SIGWINCH)
        async with asyncio.timeout(PATIENCE_S):
            while not self.tasks_file.exists():  # noqa: ASYNC110 - a file is no event
                await asyncio.sleep(ASK_S)
        return int(self.tasks_file.read_text(encoding="ascii"))

    async def stays(self) -> None:
        """Wait for ever; raise RuntimeError when it ends."""
        raise RuntimeError(f"the bridge has ended with {await self.process.wait()}; its log: {self.log}")

    async def end(self) -> int:
        """Ask it to drain, and return its exit code; one that does not end is killed."""
        self.process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                return await self.process.wait()
        self.process.kill()
        return await self.process.wait()

    def troubles(self) -> Counter[str]:
        """Count what its log must not hold: calls that failed by the bridge's own fault, and words of libraries."""
        found: Counter[str] = Counter()
        with self.log.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if '"BRIDGE_FAULT"' in line or '"logger"' in line or not line.startswith("{"):
                    found[_kind(line)] += 1
        return found


def _kind(line: str) -> str:
    try:
        said = json.loads(line)
    except ValueError:
        return line.strip()
    return " ".join(str(said[name]) for name in ("logger", "event", "reason", "fault", "exception") if name in said)


@asynccontextmanager
async def bridge_process(wallet_url: str, folder: Path) -> AsyncIterator[BridgeProcess]:
    """Run a bridge for this wallet until it serves, with the keys in files of this folder; kill what is left of it."""
    with reserved_address() as address, reserved_address() as metrics_address:
        settings = {
            "SERVER__LISTEN": address,
            "SERVER__MAX_IN_FLIGHT": str(MAX_IN_FLIGHT),
            "SERVER__MAX_QUEUED": str(MAX_QUEUED),
            "TELEMETRY__METRICS_LISTEN": metrics_address,
            "TELEMETRY__LOG_LEVEL": "info",
            "TELEMETRY__FINGERPRINT_KEY": FINGERPRINT_KEY,
            "WALLET__DEADLINE_DEFAULT_S": str(DEADLINE_DEFAULT_S),
            "WALLET__DEADLINE_MAX_S": str(DEADLINE_MAX_S),
        }
        log, tasks_file = folder / "bridge.log", folder / "tasks"
        with log.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "benchmarks.soak.bridge_main", str(tasks_file)),
                env={**os.environ, **environment(wallet_url, {**settings, **in_files(folder)})},
                stderr=stderr,
            )
        try:
            async with asyncio.timeout(PATIENCE_S), grpc.aio.insecure_channel(address) as channel:
                await channel.channel_ready()
            yield BridgeProcess(process, address, metrics_address, log, tasks_file)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
