"""The wallets of the benchmark, kind to every row: nothing is recycled or refused, and the answer is fixed and right.

nginx answers at once. A call costs it some 13 microseconds of CPU, less than any row, so that no row waits for it. An
Envoy that delays takes 1, 50 or 200 ms, for the questions of scaling.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from benchmarks import envoy
from benchmarks.rows import ANSWER
from tests.support.nginx import Front, running_nginx

ENVOYS_ANSWER = ANSWER | {"balance": {"value": str(ANSWER["balance"])}}
"""The same in the only form that Envoy's filter can read: a Decimal as a message, not as a number."""

STREAMS_MAX = 1000

# `return` alone would answer before the body is read, and end every stream with a reset: the mirror reads it first.
_UPSTREAM = Front(
    location="mirror /read; log_not_found off; error_page 404 = @answer;",
    directives=f"""
        keepalive_requests 1000000000; keepalive_timeout 1h; http2_max_concurrent_streams {STREAMS_MAX};
        location = /read {{ internal; return 204; }}
        location @answer {{ default_type application/json; return 200 '{json.dumps(ANSWER)}'; }}
        location {envoy.PREFIX} {{ mirror /read; log_not_found off; error_page 404 = @typed; }}
        location @typed {{ default_type application/json; return 200 '{json.dumps(ENVOYS_ANSWER)}'; }}
        location = /count {{ stub_status; }}
    """,
    workers=1,
)


class QuickWallet:
    """A running nginx."""

    def __init__(self, url: str) -> None:
        self.url = url

    def reached(self) -> int:
        """Return how many requests it has had, with this one."""
        with httpx.Client(http1=False, http2=True, trust_env=False) as client:
            counts = client.get(f"{self.url}/count").text
        # "server accepts handled requests", and below it three numbers.
        found = re.search(r"requests\n +[0-9]+ +[0-9]+ +([0-9]+)", counts)
        if found is None:
            raise ValueError(f"this is not nginx's stub_status:\n{counts}")
        return int(found[1])


@asynccontextmanager
async def quick_wallet(folder: Path) -> AsyncIterator[QuickWallet]:
    """Run nginx for as long as the context lasts."""
    async with running_nginx(_UPSTREAM, folder) as (_, url):
        yield QuickWallet(url)


@asynccontextmanager
async def slow_wallets(
    delays_ms: Sequence[int], ports: Sequence[int], folder: Path
) -> AsyncIterator[Mapping[int, str]]:
    """Run Envoy as a wallet that takes its time; yield its URLs by the milliseconds that it takes there."""
    by_delay = dict(zip(delays_ms, ports, strict=True))
    config = envoy.slow_wallet(by_delay, json.dumps(ANSWER).encode(), folder)
    process = await asyncio.create_subprocess_exec(*envoy.command(config))
    try:
        for port in ports:
            await _listens(process, port)
        yield {delay_ms: f"http://127.0.0.1:{port}" for delay_ms, port in by_delay.items()}
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _listens(process: asyncio.subprocess.Process, port: int) -> None:
    """Return when a process listens; raise ChildProcessError when the process ends before."""
    while process.returncode is None:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0.02)
        else:
            writer.close()
            return
    raise ChildProcessError(f"Envoy as the slow wallet ended with {process.returncode}; its text is above")
