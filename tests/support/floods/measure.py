"""What a flood does to everybody else: calls beside it, health, and the memory of the bridge.

A real `bridge serve` with both ports before a good wallet, all of them processes of their own.
"""

import asyncio
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.floods.attacks import FLOODS, HEALTH, MEBIBYTE
from tests.support.ports import reserved_address
from tests.support.processes import Command, bridge_command, program, url_of
from tests.support.whole_path import CHANNEL_OPTIONS, environment, terminate_request
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

ATTACKER = (sys.executable, "-m", "tests.support.floods.attacker")
CALL_INTERVAL_S, CALL_TIMEOUT_S = 0.05, 10.0
MISSING = "this needs Linux: memory is read from /proc"
RECOVERY_S = 10.0
AFTERMATH_S = 0.5
LOOK_AGAIN_S = 0.1
WARM_CALLS = 300


@dataclass(frozen=True)
class Target:
    """A running bridge."""

    pid: int
    address: str
    health_address: str
    attacker: Command
    """One for all floods: to start it takes as long as a short flood."""

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        fields = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in fields if line.startswith("VmRSS:")).split()[1]) * 1024


@dataclass(eq=False)
class Figures:
    """What was seen during and after one flood."""

    latencies_s: list[float] = field(default_factory=list)
    """Of calls, on a connection of their own, that began during the flood."""
    others_s: list[float] = field(default_factory=list)
    """Of calls that began before or after it, which what the flood has left to be done delays, too; and of health
    checks on a connection of their own, at the port for health alone."""
    failures: list[str] = field(default_factory=list)
    before_bytes: int = 0
    most_bytes: int = 0
    after_bytes: int = 0
    attack: Mapping[str, int] = field(default_factory=dict)
    is_flooded: bool = False
    """The flood is under way."""
    is_over: bool = False
    """No further call begins."""

    @property
    def median_s(self) -> float:
        """The median latency of calls that began during the flood."""
        return statistics.median(self.latencies_s)

    @property
    def longest_s(self) -> float:
        """The longest latency of a call or a check."""
        return max(self.latencies_s + self.others_s)

    @property
    def growth_mb(self) -> float:
        """By how much memory grew at most."""
        return (self.most_bytes - self.before_bytes) / MEBIBYTE

    @property
    def kept_mb(self) -> float:
        """What of it was still there at the end."""
        return (self.after_bytes - self.before_bytes) / MEBIBYTE

    def row(self, name: str) -> str:
        """Return the figures as a row of a table."""
        return (
            f"| {name} | {self.median_s * 1000:.0f} | {self.longest_s * 1000:.0f} | {self.growth_mb:.0f} | "
            f"{self.kept_mb:.0f} | {len(self.failures)} | {self.attack.get('closed', 0)} |"
        )


@asynccontextmanager
async def target(settings: Mapping[str, str]) -> AsyncIterator[Target]:
    """Run a bridge with these settings, warm, before a wallet of its own."""
    with reserved_address() as health_address:
        own = {"SERVER__HEALTH_LISTEN": health_address, **settings}
        wallet = url_of("tests.support.good_wallet")
        async with (
            wallet as url,
            bridge_command("serve", environ=environment(url, own)) as command,
            program(*ATTACKER, env=os.environ, stdin=asyncio.subprocess.PIPE) as caller,
        ):
            address = await command.address()
            bridge = Target(command.process.pid, address, health_address, caller)
            async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
                stub: Any = WalletServiceStub(channel)
                for _ in range(WARM_CALLS // 10):
                    await asyncio.gather(
                        *(stub.Terminate(terminate_request(), timeout=CALL_TIMEOUT_S) for _ in range(10))
                    )
            yield bridge
            await command.stop()


async def measure(bridge: Target, name: str, seconds: float, *, kept_mb_max: float = 0.0) -> Figures:
    """Flood a bridge for so long; then wait until memory is back within `kept_mb_max`, at most RECOVERY_S."""
    figures = Figures(before_bytes=bridge.memory_bytes())
    figures.most_bytes = figures.before_bytes
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_watch_memory(bridge, figures))
        calls = bridge.address, WalletServiceStub, "Terminate", terminate_request
        checks = bridge.health_address, health_pb2_grpc.HealthStub, "Check", health_pb2.HealthCheckRequest
        beside = [group.create_task(_again_and_again(figures, *each)) for each in (calls, checks)]
        await asyncio.sleep(CALL_INTERVAL_S)
        figures.is_flooded = True
        figures.attack = await _attack(bridge, name, seconds)
        figures.is_flooded = False
        await asyncio.sleep(AFTERMATH_S)
        figures.is_over = True
        await asyncio.wait(beside)
        watching.cancel()
    give_up_at = time.monotonic() + RECOVERY_S
    figures.after_bytes = bridge.memory_bytes()
    while figures.kept_mb > kept_mb_max and time.monotonic() < give_up_at:
        await asyncio.sleep(LOOK_AGAIN_S)
        figures.after_bytes = bridge.memory_bytes()
    return figures


async def _attack(bridge: Target, name: str, seconds: float) -> Mapping[str, int]:
    address = bridge.health_address if FLOODS[name].port == HEALTH else bridge.address
    assert bridge.attacker.process.stdin is not None
    bridge.attacker.process.stdin.write(f"{address} {seconds} {name}\n".encode())
    sent: dict[str, int] = json.loads(await bridge.attacker.line("{"))
    return sent


async def _again_and_again(figures: Figures, address: str, stub_of: Any, method: str, request: Any) -> None:
    """Call again and again until it is over, whether calls have ended or not: one that waits must not hide others."""
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel, asyncio.TaskGroup() as group:
        call = getattr(stub_of(channel), method)
        while not figures.is_over:
            is_of_flood = figures.is_flooded and method == "Terminate"
            durations_s = figures.latencies_s if is_of_flood else figures.others_s
            group.create_task(_time(lambda: call(request(), timeout=CALL_TIMEOUT_S), durations_s, figures))
            await asyncio.sleep(CALL_INTERVAL_S)


async def _time(begin: Callable[[], Any], durations_s: list[float], figures: Figures) -> None:
    begun = time.monotonic()
    try:
        await begin()
    except grpc.aio.AioRpcError as error:
        figures.failures.append(error.code().name)
    finally:
        durations_s.append(time.monotonic() - begun)


async def _watch_memory(bridge: Target, figures: Figures) -> None:
    while True:
        figures.most_bytes = max(figures.most_bytes, bridge.memory_bytes())
        await asyncio.sleep(0.02)
