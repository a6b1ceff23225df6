"""Who is killed, and when. All chance comes from the run's seed; how long anything takes does not."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence

from tests.chaos.processes import BridgeProcess, Killable

REST_S = (0.2, 2.0)
"""From one kill to the next."""
AGAIN_S = (0.0, 1.0)
"""From a kill to the next start."""
WORKER_ALONE = 0.4
"""The share of a bridge's kills that hit one of its workers, where it has some."""


class Killer:
    """Kills one of these processes after the other, at any moment of its life, and starts it again."""

    def __init__(self, victims: Sequence[Killable], chance: random.Random) -> None:
        self.kills: Counter[str] = Counter()
        self._victims = victims
        self._chance = chance
        self._starting: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Kill until cancelled."""
        while True:
            await asyncio.sleep(self._chance.uniform(*REST_S))
            await self._kill(self._chance.choice(self._victims))

    async def settle(self) -> None:
        """Wait until everything that was killed is up again."""
        await asyncio.gather(*self._starting)

    async def _kill(self, victim: Killable) -> None:
        is_worker = isinstance(victim, BridgeProcess) and self._chance.random() < WORKER_ALONE
        which = self._chance.randrange(100)
        if is_worker and isinstance(victim, BridgeProcess) and victim.is_ready and victim.kill_worker(which):
            self.kills[f"a worker of {victim.name}"] += 1
        elif victim.is_ready:
            self.kills[victim.name] += 1
            await victim.kill()
            task = asyncio.create_task(self._start(victim, self._chance.uniform(*AGAIN_S)))
            self._starting.add(task)

    @staticmethod
    async def _start(victim: Killable, after_s: float) -> None:
        await asyncio.sleep(after_s)
        await victim.start()
