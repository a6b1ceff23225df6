"""A hostile caller as a process: for each line "HOST:PORT SECONDS NAME" one flood, and a line of JSON at its end.

That says `sent_bytes`, `connected` and `closed`, which is how many connections the bridge has ended; each of those is
opened again.
"""

import asyncio
import contextlib
import json
import sys
import time

from tests.support.floods.attacks import FLOODS, Flood
from tests.support.http2 import frames as h2

SETTINGS_ACK = h2.frame(h2.SETTINGS, h2.ACK)

REST_S = 0.01
"""Pause before a connection that the bridge has ended is opened again."""


class Attack:
    """A flood under way."""

    def __init__(self, flood: Flood, address: str, seconds: float) -> None:
        self._flood = flood
        host, _, port = address.rpartition(":")
        self._host, self._port = host, int(port)
        self._ends_at = time.monotonic() + seconds
        self.sent_bytes = self.connected = self.closed = 0

    async def run(self) -> None:
        """Attack on all connections until the time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._ends_at - time.monotonic()):
                await asyncio.gather(*(self._again_and_again() for _ in range(self._flood.connections)))

    async def _again_and_again(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port)
            except OSError:
                await asyncio.sleep(REST_S)
                continue
            self.connected += 1
            try:
                await self._use(reader, writer)
            except (OSError, EOFError):
                pass
            finally:
                writer.transport.abort()
            self.closed += 1
            await asyncio.sleep(REST_S)

    async def _use(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send until the bridge ends the connection."""
        writer.write(self._flood.opening)
        if self._flood.acknowledges:
            await reader.readexactly(1)  # the bridge's SETTINGS: an acknowledgement before them is an error
            writer.write(SETTINGS_ACK)
        sending = asyncio.create_task(self._send(writer))
        try:
            if self._flood.reads:
                while await reader.read(2**18):
                    pass
            else:
                await sending
        finally:
            sending.cancel()
            await asyncio.wait([sending])
            if not sending.cancelled():
                sending.exception()  # else asyncio complains about an unretrieved exception

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        step = 0
        while wire := self._flood.chunk(step):
            writer.write(wire)
            self.sent_bytes += len(wire)
            await writer.drain()
            await asyncio.sleep(1 / self._flood.per_s if self._flood.per_s else 0)
            step += 1
        await asyncio.Event().wait()


async def attacked(address: str, seconds: str, name: str) -> str:
    """Attack, and return what came of it as JSON."""
    attack = Attack(FLOODS[name], address, float(seconds))
    await attack.run()
    return json.dumps({name: getattr(attack, name) for name in ("sent_bytes", "connected", "closed")})


def main() -> None:
    """Attack for as long as there are lines."""
    for line in sys.stdin:
        print(asyncio.run(attacked(*line.strip().split(" ", 2))), flush=True)


if __name__ == "__main__":
    main()
