"""Callers of a bridge as a process, whose deadlines all end in one moment: ADDRESS COUNT SECONDS are the arguments.

Calls are begun one after the other, each with what is left of the same time. Prints one line of JSON, by the code of
the ends, how many came with it; those without details are apart. Ends when its standard input does.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import grpc.aio

from bridge.sandbox.operations import TERMINATE_REQUEST
from wallet.v1.wallet_service_pb2 import TerminateRequest

METHOD = "/wallet.v1.WalletService/Terminate"
DETAILS = "grpc-status-details-bin"


async def end_of(call: Any) -> str:
    """Return a call's code, and whether its details are missing."""
    code = await call.code()
    trailers = await call.trailing_metadata()
    return str(code.name) if DETAILS in dict(trailers or ()) else f"{code.name} without details"


async def main(address: str, count: int, seconds: float) -> None:
    """Call, and print what came of it."""
    request = TerminateRequest(**TERMINATE_REQUEST).SerializeToString()
    async with grpc.aio.insecure_channel(address, options=(("grpc.enable_retries", 0),)) as channel:
        await channel.channel_ready()
        send: Any = channel.unary_unary(METHOD)
        end_at = time.monotonic() + seconds
        calls = []
        for number in range(count):
            calls.append(send(request, timeout=end_at - time.monotonic()))
            if number % 20 == 0:
                await asyncio.sleep(0)
        ends = Counter(await asyncio.gather(*map(end_of, calls)))
    sys.stdout.write(f"{json.dumps(ends)}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
