"""What a soak does, one after the other: load for a time, rest, keys that change meanwhile, and the end."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc.aio

from benchmarks.soak.bridge_process import BridgeProcess
from benchmarks.soak.callers import Callers
from benchmarks.soak.hostile_wallet import keys_of
from benchmarks.soak.ledger import OK, SILENT, Ledger
from benchmarks.soak.mix import new_token
from benchmarks.soak.samples import Sample, Sampler, row
from benchmarks.soak.wallet_process import WalletProcess
from tests.support.random_wallet import GOOD
from tests.support.rotating_wallet import FILES
from tests.support.whole_path import end_of, terminate_request
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

REST_S_MAX = 30.0
"""How long the bridge may take to come to rest."""
STEADY_LOOKS, LOOK_S = 4, 0.5
RECOVERY_CALLS_MAX = 11
"""At worst, one call is lost on each of the 10 connections that broke (`wallet.connections_max`)."""


@dataclass
class Soak:
    """One run: its parts, and what was seen."""

    bridge: BridgeProcess
    wallet: WalletProcess
    ledger: Ledger
    callers: Callers
    sampler: Sampler
    folder: Path
    """Where the key files are."""
    say: Callable[[str], None]
    """Shows people how it goes on."""
    samples: list[Sample] = field(default_factory=list)
    rotations: int = 0
    _reported: int = 0
    """How many of the ledger's examples people have been shown."""

    async def load(self, seconds: float, interval_s: float) -> None:
        """Let the callers call and the storm blow for so long, look at the bridge at intervals, and end all calls."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + seconds
        await self.wallet.storm()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.callers.run())
            while (left_s := ends_s - loop.time()) > 0:
                await asyncio.sleep(min(interval_s, left_s))
                await self._look(f"{self.ledger.broken.total()} rules broken")
                self.ledger.settle(loop.time())
            self.callers.stop()
        await self.wallet.calm()

    async def rest(self, descriptors_max: int | None = None) -> Sample:
        """Wait until the bridge does nothing and is steady; return what it is then, or after REST_S_MAX at the latest.

        With `descriptors_max`, it is not at rest while it has more.
        """
        looks: list[Sample] = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REST_S_MAX):
                while not _are_steady(looks[-STEADY_LOOKS:], descriptors_max):
                    await asyncio.sleep(LOOK_S)
                    looks.append(await self.sampler.look())
        return await self._look("at rest")

    async def rotate(self, interval_s: float) -> None:
        """Replace the keys at intervals: first by something bad, then by new ones; the wallet follows later."""
        while True:
            await asyncio.sleep(interval_s / 3)
            (self.folder / FILES[1]).write_text("cut short", encoding="ascii")
            await asyncio.sleep(interval_s / 3)
            keys_of(self.rotations + 1).write(self.folder)
            await asyncio.sleep(interval_s / 3)
            self.rotations += 1
            await self.wallet.want(self.rotations)

    async def recovers(self) -> bool:
        """Say whether calls succeed again now that the faults have ended."""
        async with grpc.aio.insecure_channel(self.bridge.address) as channel:
            for _ in range(RECOVERY_CALLS_MAX):
                token = new_token([GOOD])
                self.ledger.began(token)
                end = await end_of(WalletServiceStub(channel).Terminate(terminate_request(token)))
                self.ledger.ended(token, OK if end.code == "OK" else SILENT, asyncio.get_running_loop().time())
                if end.code == "OK":
                    return True
        return False

    async def _look(self, remark: str) -> Sample:
        sample = await self.sampler.look()
        self.samples.append(sample)
        self.say(f"{row(sample)}  {remark}")
        for example in self.ledger.examples[self._reported :]:
            self.say(example)
        self._reported = len(self.ledger.examples)
        return sample


def _are_steady(looks: Sequence[Sample], descriptors_max: int | None) -> bool:
    return (
        len(looks) == STEADY_LOOKS
        and all(look.is_quiet for look in looks)
        and len({look.descriptors for look in looks}) == 1
        and (descriptors_max is None or looks[-1].descriptors <= descriptors_max)
    )
