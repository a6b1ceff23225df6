"""Everything that a bridge and the commands beside it say, in a run in which everything happens with canaries."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.support.canaries.bridges import alone, settling, with_tls, workers
from tests.support.canaries.commands import before_the_sandbox, commands
from tests.support.canaries.record import Record

Part = Callable[[Record, Path], Awaitable[None]]

AT_ONCE = 3
"""More processes that start side by side than a small machine has cores wait for one another beyond all patience."""


async def run(folder: Path) -> Record:
    """Let everything happen, side by side, each in a folder of its own; return what was said."""
    record = Record()
    at_once = asyncio.Semaphore(AT_ONCE)

    async def play(part: Part) -> None:
        async with at_once:
            own = folder / part.__name__
            own.mkdir()
            await part(record, own)

    async with asyncio.TaskGroup() as tasks:
        for part in (before_the_sandbox, workers, settling, alone, with_tls, commands):
            tasks.create_task(play(part))
    return record
