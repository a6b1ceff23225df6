"""Ten times what a bridge can take, for half a minute: `python -m benchmarks.overload`.

A real `bridge serve` before a wallet that takes 200 ms for each answer, so its capacity is max_in_flight / 0.2 s. Three
phases of calls, all on an open-loop schedule (flood.py): half the capacity, ten times the capacity, half the capacity
again. During the flood its health is asked for every 100 ms through the same port, and its memory read every second.

Everything shares the machine. Where the bridge waited for a CPU for more than a small part of the time, the figures are
those of the machine and not of the bridge; where the load processes did, "offered" is less than it should be.
"""

import argparse
import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.overload_report import Calls, Figures, durations_of, report
from benchmarks.slow_wallet import ANSWER_S
from tests.support.processes import bridge_command, url_of
from tests.support.whole_path import environment

TIMES = 10
FLOODS = 2
"""Load processes, each with a connection of its own."""
HEALTH_INTERVAL_S, HEALTH_TIMEOUT_S = 0.1, 2.0
CALM_S = 5.0
PROGRESS_S = 5
RECOVERY_S = 3.0
"""How soon after the flood a call must take no longer than before."""
MISSING = "this needs Linux: memory is read from /proc"


@dataclass(frozen=True)
class Cpu:
    """What the scheduler says of a process's main thread, which has the loop."""

    at_s: float
    ran_s: float
    waited_s: float
    """Ready to run, while others had the CPU."""

    @classmethod
    def of(cls, pid: int) -> "Cpu":
        """Look at a process."""
        ran_ns, waited_ns, _ = Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()
        return cls(time.monotonic(), int(ran_ns) / 1e9, int(waited_ns) / 1e9)

    def __sub__(self, earlier: "Cpu") -> "Cpu":
        return Cpu(self.at_s - earlier.at_s, self.ran_s - earlier.ran_s, self.waited_s - earlier.waited_s)


@dataclass(frozen=True)
class Bridge:
    """A running bridge."""

    pid: int
    address: str
    metrics_address: str

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        fields = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in fields if line.startswith("VmRSS:")).split()[1]) * 1024


@dataclass(eq=False)
class Watch:
    """What is seen of a bridge from outside."""

    bridge: Bridge
    health_s: list[float] = field(default_factory=list)
    """How long each answer took that said SERVING."""
    not_serving: int = 0
    memory_bytes: list[int] = field(default_factory=list)
    """Once a second."""

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ask())
            group.create_task(self._read())

    async def _ask(self) -> None:
        async with grpc.aio.insecure_channel(self.bridge.address) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            while True:
                begun = time.monotonic()
                try:
                    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_TIMEOUT_S)
                    is_serving = answer.status == health_pb2.HealthCheckResponse.SERVING
                except grpc.aio.AioRpcError:
                    is_serving = False
                took_s = time.monotonic() - begun
                if is_serving:
                    self.health_s.append(took_s)
                self.not_serving += not is_serving
                await asyncio.sleep(max(HEALTH_INTERVAL_S - took_s, 0))

    async def _read(self) -> None:
        while True:
            self.memory_bytes.append(self.bridge.memory_bytes())
            second, megabytes = len(self.memory_bytes), self.memory_bytes[-1] / 2**20
            if second % PROGRESS_S == 0:
                asked = len(self.health_s) + self.not_serving
                print(f"  {second} s: {megabytes:.1f} MB, SERVING {len(self.health_s)} times of {asked}", flush=True)
            await asyncio.sleep(1)


@asynccontextmanager
async def bridge_before(wallet_url: str, max_in_flight: int) -> AsyncIterator[Bridge]:
    """Run the bridge as a process, with a line as long as what it may admit."""
    metrics_address = f"127.0.0.1:{_free_port()}"
    settings = {
        "SERVER__MAX_IN_FLIGHT": str(max_in_flight),
        "SERVER__MAX_QUEUED": str(max_in_flight),
        "TELEMETRY__METRICS_LISTEN": metrics_address,
    }
    async with bridge_command("serve", environ=environment(wallet_url, settings)) as command:
        yield Bridge(command.process.pid, await command.address(), metrics_address)
        await command.stop()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def flood(bridge: Bridge, per_s: float, seconds: float) -> Calls:
    """Call so often in all, from several processes; return what came of it."""
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.flood", bridge.address, str(per_s / FLOODS), str(seconds)),
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(FLOODS)
    ]
    outputs = [output for output, _ in await asyncio.gather(*(process.communicate() for process in processes))]
    if any(process.returncode for process in processes):
        raise SystemExit("overload: a load process has failed; its text is above")
    return Calls.of([json.loads(output) for output in outputs])


async def measure(max_in_flight: int, seconds: float) -> Figures:
    """Run the three phases."""
    capacity_per_s = max_in_flight / ANSWER_S
    async with AsyncExitStack() as stack:
        wallet_url = await stack.enter_async_context(url_of("benchmarks.slow_wallet"))
        bridge = await stack.enter_async_context(bridge_before(wallet_url, max_in_flight))
        print(f"before: {capacity_per_s / 2:.0f} calls/s for {CALM_S:.0f} s", flush=True)
        before = await flood(bridge, capacity_per_s / 2, CALM_S)
        calm_bytes, counted = bridge.memory_bytes(), durations_of(bridge.metrics_address)
        print(f"flood: {capacity_per_s * TIMES:.0f} calls/s for {seconds:.0f} s", flush=True)
        watch, cpu = Watch(bridge), Cpu.of(bridge.pid)
        watching = asyncio.create_task(watch.run())
        during = await flood(bridge, capacity_per_s * TIMES, seconds)
        watching.cancel()
        await asyncio.wait([watching])
        refused, cpu = durations_of(bridge.metrics_address) - counted, Cpu.of(bridge.pid) - cpu
        print(f"after: {capacity_per_s / 2:.0f} calls/s for {RECOVERY_S + CALM_S:.0f} s", flush=True)
        after = await flood(bridge, capacity_per_s / 2, RECOVERY_S + CALM_S)
        return Figures(
            capacity_per_s=capacity_per_s,
            before=before,
            during=during,
            after=after.begun_from(during.last_end + RECOVERY_S),
            refused_in_bridge=refused,
            ran_share=cpu.ran_s / cpu.at_s,
            waited_share=cpu.waited_s / cpu.at_s,
            health_s=watch.health_s,
            not_serving=watch.not_serving,
            memory_bytes=[calm_bytes, *watch.memory_bytes, bridge.memory_bytes()],
        )


def main() -> int:
    """Measure and print; return 1 when a target is missed, 2 when something is missing."""
    parser = argparse.ArgumentParser(description="ten times the capacity: goodput, refusals, health, memory")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long the flood lasts (30)")
    parser.add_argument("--in-flight", type=int, default=20, help="server.max_in_flight; capacity is five times that")
    parsed = parser.parse_args()
    if not Path("/proc/self/status").exists():
        print(f"overload: {MISSING}", file=sys.stderr)
        return 2
    return 0 if report(asyncio.run(measure(parsed.in_flight, parsed.seconds))) else 1


if __name__ == "__main__":
    sys.exit(main())
