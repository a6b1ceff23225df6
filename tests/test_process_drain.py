"""The end of a bridge under full load: a real process, a real signal, and callers who do not stop calling."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bridge.run import END_S
from bridge.server import REFUSE_AT_LEAST_S
from faults.behaviours import hang, terminated
from faults.server import FaultServer
from faults.stream import Stream
from full_bridge import Tap
from processes import Command, bridge_command
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub
from whole_path import End, end_of, environment, terminate_request

REPETITIONS = 20
CALLERS = 24
DRAIN_S, DEADLINE_MAX_S = 0.2, 5.0
SETTINGS = {
    # Fewer than there are callers: the line is never empty.
    "SERVER__MAX_IN_FLIGHT": "8",
    "SERVER__MAX_QUEUED": "100",
    "SERVER__DRAIN_S": str(DRAIN_S),
    "WALLET__DEADLINE_DEFAULT_S": str(DEADLINE_MAX_S),
    "WALLET__DEADLINE_MAX_S": str(DEADLINE_MAX_S),
}
LONGEST_S = DRAIN_S + max(min(DRAIN_S, REFUSE_AT_LEAST_S), DEADLINE_MAX_S) + END_S
"""Both steps of a drain, of which the second may last as long as a call, and what run.py grants for the rest."""

OPTIONS = (("grpc.enable_retries", 0),)


@dataclass(eq=False)
class Serving:
    """A bridge as a process, and a channel to it."""

    command: Command
    channel: grpc.aio.Channel

    def start(self, token: str) -> Any:
        """Begin a call."""
        return WalletServiceStub(self.channel).Terminate(terminate_request(token))

    async def status(self) -> int:
        """Ask for its health."""
        stub: Any = health_pb2_grpc.HealthStub(self.channel)
        return int((await stub.Check(health_pb2.HealthCheckRequest())).status)

    async def ends(self, exit_code: int) -> None:
        """Wait for its end, no longer than its settings allow."""
        async with asyncio.timeout(LONGEST_S):
            assert await self.command.end() == exit_code

    def reported(self) -> list[dict[str, Any]]:
        """Return the ends of calls that it has reported; afterwards."""
        events = [json.loads(line) for line in self.command.output.splitlines() if line.startswith("{")]
        return [event for event in events if event["event"] == "call ended"]


@asynccontextmanager
async def serving(wallet: FaultServer) -> AsyncIterator[Serving]:
    """Run `bridge serve` until it serves."""
    async with bridge_command("serve", environ=environment(wallet.url, SETTINGS)) as command:
        address = json.loads(await command.line(lambda line: '"serving"' in line))["address"]
        async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
            yield Serving(command, channel)


# --- full load --------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Load:
    """Callers who call again and again until nobody is there any more."""

    bridge: Serving
    ends: dict[str, End] = field(default_factory=dict)
    """How each call ended, by its token, in that order."""
    order: list[str] = field(default_factory=list)
    """What was heard, in that order: NOT_SERVING, and the reasons of refusals."""

    async def callers(self) -> None:
        """Call from many sides at once."""
        tokens = (f"call-{number}" for number in count())

        async def caller() -> None:
            while not self.is_over():
                token = next(tokens)
                self.ends[token] = end = await end_of(self.bridge.start(token))
                if end.code != "OK":
                    self.order.append(end.error_info.reason if end.details else end.code)

        await asyncio.gather(*(caller() for _ in range(CALLERS)), self.watch())

    def is_over(self) -> bool:
        """Say whether the port is closed: a refusal of the bridge has details, one of the system has none."""
        return any(end.code == "UNAVAILABLE" and not end.details for end in self.ends.values())

    async def watch(self) -> None:
        """Watch the health until the bridge is told to end."""
        stub: Any = health_pb2_grpc.HealthStub(self.bridge.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest())
        while (await watch.read()).status != health_pb2.HealthCheckResponse.NOT_SERVING:
            pass
        self.order.append("NOT_SERVING")
        watch.cancel()


@pytest.mark.parametrize("_repetition", range(REPETITIONS))
async def test_no_call_fails_when_the_bridge_is_told_to_end(_repetition: int) -> None:
    """SIGTERM at full load: health turns first, every call that was sent is OK, others are refused unsent, exit 0.

    A call that was not OK never reached the wallet, and each that reached it was OK: nothing was cut off.
    """
    async with FaultServer(terminated) as wallet, serving(wallet) as bridge:
        load = Load(bridge)
        calling = asyncio.create_task(load.callers())
        await wallet.until(lambda: len(wallet.requests) > 5 * CALLERS)
        bridge.command.process.terminate()
        await bridge.ends(0)
        await calling
        ok = {token for token, end in load.ends.items() if end.code == "OK"}
        assert {end.code for end in load.ends.values()} == {"OK", "UNAVAILABLE"}
        assert {request.token for request in wallet.requests} == ok
        assert load.order[:2] == ["NOT_SERVING", "BRIDGE_DRAINING"]
        assert '"stopped"' in bridge.command.output
