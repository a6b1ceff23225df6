"""Everything that a bridge and the commands beside it say, in a run in which everything happens with canaries."""

import asyncio
from pathlib import Path

from tests.support.canaries.bridges import alone, with_tls, workers
from tests.support.canaries.commands import before_the_sandbox, commands
from tests.support.canaries.record import Record


async def run(folder: Path) -> Record:
    """Let everything happen, side by side, each in a folder of its own; return what was said."""
    record = Record()
    async with asyncio.TaskGroup() as tasks:
        for part in (alone, workers, with_tls, commands, before_the_sandbox):
            own = folder / part.__name__
            own.mkdir()
            tasks.create_task(part(record, own))
    return record
