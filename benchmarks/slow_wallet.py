"""A good wallet that takes its time, as a process: prints its URL, and runs until its standard input ends."""

import asyncio
import sys

import uvloop

from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Stream

ANSWER_S = 0.2
"""How long it takes for each answer."""


async def slowly(stream: Stream) -> None:
    """Answer when the time has come."""
    await asyncio.sleep(ANSWER_S)
    await terminated(stream)


async def main() -> None:
    """Serve."""
    async with FaultServer(slowly) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(main())
