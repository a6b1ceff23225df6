"""Callers of a bridge as a process, on an open-loop schedule: `python -m benchmarks.flood ADDRESS RATE SECONDS`.

A call begins when its time has come, whether others have ended or not, as calls of many game services do. At the end
it prints one JSON document: `calls`, each [begun at, in seconds of the system's monotonic clock; latency in seconds;
gRPC code], and `skipped`, how many calls were not begun because so many others were under way.
"""

import asyncio
import json
import sys
import time
from typing import Any

import grpc.aio
import uvloop

from bridge.sandbox.operations import TERMINATE_REQUEST
from wallet.v1.wallet_service_pb2 import TerminateRequest

METHOD = "/wallet.v1.WalletService/Terminate"
REQUEST = TerminateRequest(**TERMINATE_REQUEST).SerializeToString()
UNDER_WAY_MAX = 1000
CALL_TIMEOUT_S = 5.0
TICK_S = 0.002
OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)


class Flood:
    """Calls on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        # Bytes in, bytes out: what this process does not spend, the bridge and the wallet can.
        self._send: Any = channel.unary_unary(METHOD)
        self._under_way: set[asyncio.Task[None]] = set()
        self.calls: list[tuple[float, float, str]] = []
        self.skipped = 0

    async def run(self, per_s: float, seconds: float) -> None:
        """Begin so many calls in a second, for so many seconds; return when all have ended."""
        started = time.monotonic()
        begun, total = 0, round(per_s * seconds)
        while begun < total:
            due = min(total, int((time.monotonic() - started) * per_s) + 1)
            for _ in range(due - begun):
                self._begin()
            begun = due
            await asyncio.sleep(TICK_S)
        await asyncio.gather(*self._under_way)

    def _begin(self) -> None:
        if len(self._under_way) >= UNDER_WAY_MAX:
            self.skipped += 1
            return
        task = asyncio.create_task(self._call())
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _call(self) -> None:
        begun = time.monotonic()
        code = await self._send(REQUEST, timeout=CALL_TIMEOUT_S).code()
        self.calls.append((round(begun, 6), round(time.monotonic() - begun, 6), code.name))


async def main(address: str, per_s: float, seconds: float) -> None:
    """Call, and print what came of it."""
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        await channel.channel_ready()
        flood = Flood(channel)
        await flood.run(per_s, seconds)
    json.dump({"calls": flood.calls, "skipped": flood.skipped}, sys.stdout)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
