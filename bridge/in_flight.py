"""The calls that the bridge is busy with: counted, so that a drain can wait for exactly them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from bridge.errors import BridgeDraining


class InFlight:
    """Counts calls; refuses new ones once it is told to."""

    def __init__(self) -> None:
        self._count = 0
        self._refuses = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()

    @property
    def count(self) -> int:
        """How many calls are under way."""
        return self._count

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count one call for as long as it lasts; raise BridgeDraining instead where new ones are refused."""
        if self._refuses:
            raise BridgeDraining
        self._count += 1
        self._is_idle.clear()
        try:
            yield
        finally:
            self._count -= 1
            if not self._count:
                self._is_idle.set()

    def refuse(self) -> None:
        """Take no further call."""
        self._refuses = True

    async def idle(self) -> None:
        """Wait until no call is under way."""
        await self._is_idle.wait()
