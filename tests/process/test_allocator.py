"""The processes that serve limit the C library's allocator: their threads share few arenas (process/memory.py)."""

import asyncio
import ctypes
from itertools import pairwise
from pathlib import Path

import grpc.aio
import pytest

from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from tests.support.processes import bridge_command
from tests.support.serving import supervised
from tests.support.whole_path import CHANNEL_OPTIONS, end_of, environment, terminate_request
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

pytestmark = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_stats"), reason="this C library is not glibc")

ARENA_BYTES = 64 * 2**20
"""What glibc reserves for an arena of threads, at a multiple of it (malloc/arena.c, HEAP_MAX_SIZE)."""

ARENAS_MAX = 4
"""Beside the main one: those of the few threads that have allocated before the limit. Without it there are ten."""

CONNECTIONS, CALLS = 4, 20


def arenas(pid: int) -> int:
    """Return how many arenas a process has beside the main one: what is in use, and the rest that is reserved."""
    regions = []
    for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8").splitlines():
        addresses, permissions, *_, inode = line.split()[:5]
        start, end = (int(address, 16) for address in addresses.split("-"))
        regions.append((start, end, permissions, inode))
    return sum(
        start % ARENA_BYTES == 0
        and (permissions, rest, inode) == ("rw-p", "---p", "0")
        and after == end
        and last - start == ARENA_BYTES
        for (start, end, permissions, inode), (after, last, rest, _) in pairwise(regions)
    )


async def call_often(address: str) -> None:
    """Call over several connections at once, so that several of gRPC's threads allocate."""

    async def one() -> None:
        async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            stub = WalletServiceStub(channel)
            ends = await asyncio.gather(*(end_of(stub.Terminate(terminate_request())) for _ in range(CALLS)))
            assert {end.code for end in ends} == {"OK"}

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


@pytest.mark.long
async def test_one_process() -> None:
    """After calls on several connections `bridge serve` has few arenas."""
    async with (
        FaultServer(terminated) as wallet,
        bridge_command("serve", environ=environment(wallet.url)) as command,
    ):
        address = await command.address()
        await call_often(address)
        assert arenas(command.process.pid) <= ARENAS_MAX


@pytest.mark.long
async def test_workers() -> None:
    """So has every worker, once it has served calls."""
    async with FaultServer(terminated) as wallet, supervised(wallet) as bridge:
        await bridge.meet_all()
        await call_often(bridge.address)
        assert max(arenas(pid) for pid in bridge.pids.values()) <= ARENAS_MAX
