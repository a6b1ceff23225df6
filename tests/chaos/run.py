"""One run: all processes are called and killed for a while, then all goes well, and every entry must come to an end."""

import asyncio
import base64
import os
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bridge.settlement.entry import Entry, State
from bridge.settlement.open_store import store_at
from bridge.settlement.store import Store
from tests.chaos.callers import Callers
from tests.chaos.killer import Killer
from tests.chaos.processes import HERE, PATIENCE_S, BridgeProcess, Killable, RedisProcess, WalletProcess
from tests.chaos.verdict import Facts, counts, violations
from tests.chaos.wallet import journal_of
from tests.support.ports import reserved_address
from tests.support.processes import SOURCES, unmeasured
from tests.support.whole_path import environment

CALLERS = 6
PAGE = 100
LOOK_S = 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a run."""

    seed: int
    store: str
    seconds: float
    kills: Mapping[str, int]
    counts: Mapping[str, int]
    violations: list[str]

    def __str__(self) -> str:
        kills = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        lines = [f"seed {self.seed}, {self.store}, {self.seconds:.0f} s; killed: {kills or 'none'}"]
        lines += [f"  {name:26}{count:7}" for name, count in self.counts.items()]
        lines += [f"  VIOLATED: {violation}" for violation in self.violations] or ["  nothing violated"]
        return "\n".join(lines)


@dataclass
class Scene:
    """Processes of a run."""

    wallet: WalletProcess
    bridges: list[BridgeProcess]
    redis: RedisProcess | None
    url: str
    """Of the store."""
    everybody: list[Killable] = field(default_factory=list)

    @property
    def environ(self) -> dict[str, str]:
        """Return the environment of a command that looks at the store."""
        return {**unmeasured(), "PYTHONPATH": f"{SOURCES}{os.pathsep}{HERE}", **self.bridges[0].environ}


async def run(kind: str, seed: int, folder: Path, *, is_enough: Callable[[float, Killer, Callers], bool]) -> Report:
    """Run with this kind of store, "sqlite" or "redis", until `is_enough`; then heal everything, and check."""
    chance = random.Random(seed)
    async with _scene(kind, seed, folder) as scene:
        began = time.monotonic()
        callers, killer = Callers(scene.bridges, chance), Killer(scene.everybody, chance)
        calling = asyncio.create_task(callers.run(CALLERS))
        killing = asyncio.create_task(killer.run())
        # Time itself may be what is waited for.
        while not (is_enough(time.monotonic() - began, killer, callers) or killing.done() or calling.done()):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        await _cancelled(killing)
        await killer.settle()
        callers.end()
        await calling
        entries = await _come_to_an_end(scene)
        listed = await asyncio.to_thread(_listed, scene)
        facts = Facts(callers.results, callers.once, journal_of(scene.wallet.journal), entries, listed)
        return Report(seed, kind, time.monotonic() - began, killer.kills, counts(facts), violations(facts))


@asynccontextmanager
async def _scene(kind: str, seed: int, folder: Path) -> AsyncIterator[Scene]:
    key = folder / "settlement.key"
    key.write_bytes(base64.b64encode(random.Random(seed).randbytes(32)) + b"\n")
    with reserved_address() as address:
        redis = RedisProcess(folder) if kind == "redis" else None
        url = f"sqlite://{folder}/settlement.db" if redis is None else redis.url
        wallet = WalletProcess(folder, address, seed)
        bridges = [
            BridgeProcess(name, folder, environment(f"http://{address}", {**settings, **_section(url, key)}))
            for name, settings in BRIDGES.items()
        ]
        everybody: list[Killable] = [wallet, *bridges, *([redis] if redis else [])]
        async with AsyncExitStack() as stack:
            for one in reversed(everybody):  # the store first
                stack.push_async_callback(one.kill)
                await one.start()
            yield Scene(wallet, bridges, redis, url, everybody)


BRIDGES: Mapping[str, Mapping[str, str]] = {
    "bridge": {"SETTLEMENT__DURABILITY": "before"},
    "bridge of two": {"SETTLEMENT__DURABILITY": "unknown", "SERVER__WORKERS": "2"},
}


def _section(url: str, key: Path) -> dict[str, str]:
    return {"SETTLEMENT__STORE": url, "SETTLEMENT__KEY_FILE": str(key)}


async def _come_to_an_end(scene: Scene) -> list[Entry]:
    """Let the wallet be well, start the bridges again, and have every entry sent now; return all entries.

    As an operator does after an outage: a restart ends the pauses of providers, `settlement retry` a backoff. Leases of
    bridges that were killed would end after 30 s; here they do when no bridge is up that could own an entry.
    """
    scene.wallet.calm.touch()
    await scene.wallet.kill()
    await scene.wallet.start()
    for bridge in scene.bridges:
        await bridge.stop()
    store = store_at(scene.url)
    try:
        for entry in await _pending(store):
            if entry.is_leased:
                await store.renew(entry.entry_id, entry.fence, 0.0)
        for bridge in scene.bridges:
            await bridge.start()
        await _have_all_sent(store)
        return await _entries(store)
    finally:
        await store.close()


async def _cancelled(task: asyncio.Task[None]) -> None:
    """Cancel a task; raise what it has failed of before."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _have_all_sent(store: Store) -> None:
    """Ask for a retry of what waits until nothing does, for at most PATIENCE_S."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while pending := await _pending(store):
                for entry in pending:
                    if not entry.is_leased:
                        await store.retry(entry.entry_id)
                await asyncio.sleep(LOOK_S)


async def _pending(store: Store) -> list[Entry]:
    return [entry for entry in await _entries(store) if entry.state is State.PENDING]


async def _entries(store: Store) -> list[Entry]:
    page = await store.page(PAGE)
    entries = list(page.entries)
    while page.next_cursor:
        page = await store.page(PAGE, page.next_cursor)
        entries += page.entries
    return entries


def _listed(scene: Scene) -> frozenset[str]:
    command = (sys.executable, "-m", "bridge", "settlement", "list")
    listed = subprocess.run(command, env=scene.environ, capture_output=True, text=True, check=True)  # noqa: S603
    return frozenset(line.split()[0] for line in listed.stdout.splitlines()[1:])
