"""A fault server without faults as a process: prints its URL, and runs until its standard input ends."""

import asyncio
import sys

from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer


async def main() -> None:
    """Serve; forget each request, so that a long run stays small."""
    async with FaultServer(terminated) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
