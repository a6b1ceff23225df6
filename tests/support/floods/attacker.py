"""A hostile caller as a process: for each line "HOST:PORT SECONDS NAME" one flood, and a line of JSON at its end.

That says `sent_bytes`, `connected` and `closed`, which is how many connections the bridge has ended; each of those is
opened again.
"""

import asyncio
import contextlib
import itertools
import json
import sys
from collections import Counter

from tests.support.floods.attacks import FLOODS, Flood
from tests.support.http2 import frames as h2

SETTINGS_ACK = h2.frame(h2.SETTINGS, h2.ACK)

REST_S = 0.01
"""Pause before a connection that the bridge has ended is opened again."""


async def attacked(address: str, seconds: str, name: str) -> str:
    """Attack on all connections until the time is up, and return what came of it as JSON."""
    flood, seen = FLOODS[name], Counter(sent_bytes=0, connected=0, closed=0)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(float(seconds)):
            await asyncio.gather(*(_again_and_again(flood, address, seen) for _ in range(flood.connections)))
    return json.dumps(seen)


async def _again_and_again(flood: Flood, address: str, seen: Counter[str]) -> None:
    host, _, port = address.rpartition(":")
    while True:
        try:
            reader, writer = await asyncio.open_connection(host, int(port))
        except OSError:
            await asyncio.sleep(REST_S)
            continue
        seen["connected"] += 1
        try:
            await _use(flood, reader, writer, seen)
        except (OSError, EOFError):
            pass
        finally:
            writer.transport.abort()
        seen["closed"] += 1
        await asyncio.sleep(REST_S)


async def _use(flood: Flood, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Counter[str]) -> None:
    """Send until the bridge ends the connection."""
    writer.write(flood.opening)
    if flood.acknowledges:
        await reader.readexactly(1)  # the bridge's SETTINGS: an acknowledgement before them is an error
        writer.write(SETTINGS_ACK)
    sending = asyncio.create_task(_send(flood, writer, seen))
    try:
        if flood.reads:
            while await reader.read(2**18):
                pass
        else:
            await sending
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _send(flood: Flood, writer: asyncio.StreamWriter, seen: Counter[str]) -> None:
    for step in itertools.count():
        wire = flood.chunk(step)
        if not wire:
            await asyncio.Event().wait()
        writer.write(wire)
        seen["sent_bytes"] += len(wire)
        await writer.drain()
        await asyncio.sleep(1 / flood.per_s if flood.per_s else 0)


def main() -> None:
    """Attack for as long as there are lines."""
    for line in sys.stdin:
        print(asyncio.run(attacked(*line.strip().split(" ", 2))), flush=True)


if __name__ == "__main__":
    main()
