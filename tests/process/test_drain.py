"""A bridge under full load, and its end: a real process, real signals, and callers who do not stop calling.

What proves the rows of docs/design/faults.md, "Callers and process":

    unset, over-long, invalid UTF-8 fields       path/test_callers: test_unset_field, test_every_violation_is_listed,
    unknown provider                             test_bytes_that_are_no_request, test_unknown_provider
    metadata that names authorization and so on  path/test_sandbox: test_headers_are_exactly_the_contract
    message, metadata too large; unknown method  path/test_callers: test_message_over_64_kib, test_metadata_over_16_kib,
                                                 test_unknown_method
    deadline 1 ms; none; 1 hour                  path/test_callers: test_deadline_too_short, test_default_deadline,
                                                 test_deadline_is_capped
    cancel while queued                          path/test_admission: test_cancel_in_line
    cancel after sending                         path/test_detached
    10 times the capacity for 30 s               benchmarks/overload.py, by hand; in the suite path/test_admission:
                                                 test_far_too_many, test_health_of_a_full_bridge
    SIGTERM under load                           here: test_end_under_load; calls served during drain_s: test_serve:
                                                 test_calls_are_served_in_the_first_step_of_a_drain; with workers:
                                                 test_workers_start_and_end
    SIGKILL of one worker under load             test_workers: test_a_killed_worker_loses_only_its_own_calls,
                                                 test_a_crash_loop_backs_off; unit/process/test_supervisor
    secret or certificate file replaced, bad     path/test_rotation, path/test_rotation_tls, upstream/test_rotation_tls
    DEBUG logging with canary secrets            canaries/test_canaries
    invariants over a random mix                 path/test_invariants: test_random_mix
"""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from bridge.process.serve import END_S
from bridge.sandbox.behaviours import after, hang, terminated
from bridge.sandbox.server import FaultServer
from bridge.server.app import REFUSE_AT_LEAST_S
from tests.support.engines import on_both_engines
from tests.support.processes import Command
from tests.support.serving import health_of, serving, watch_health
from tests.support.whole_path import NO_SETTINGS, end_of, terminate_request, until
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

pytestmark = on_both_engines

AT_ONCE = [
    ("grpcio", 1),
    ("native", 1),
    pytest.param("grpcio", 2, marks=pytest.mark.long),
    *(pytest.param(engine, 4, marks=pytest.mark.long) for engine in ("grpcio", "grpcio", "native")),
]
"""Engines, and how many bridges at once."""
CALLERS = 16
BACKOFF_S = 0.02
"""How long a caller who was refused waits before the next call, as every client does."""
DRAIN_S, DEADLINE_MAX_S = 0.2, 15.0
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


@dataclass(eq=False)
class Serving:
    """A bridge as a process, and a channel to it."""

    command: Command
    channel: grpc.aio.Channel

    def start(self, token: str, **fields: Any) -> Any:
        """Begin a call."""
        return WalletServiceStub(self.channel).Terminate(terminate_request(token, **fields))

    async def status(self) -> int:
        """Ask for its health."""
        return int((await health_of(self.channel).Check(health_pb2.HealthCheckRequest())).status)

    async def ends(self, exit_code: int) -> None:
        """Wait for its end, no longer than its settings allow."""
        async with asyncio.timeout(LONGEST_S):
            assert await self.command.end() == exit_code

    def reported(self) -> list[dict[str, Any]]:
        """Return the ends of calls that it has reported; afterwards."""
        events = [json.loads(line) for line in self.command.output.splitlines() if line.startswith("{")]
        return [event for event in events if event["event"] == "call ended"]


@asynccontextmanager
async def serving_bridge(wallet: FaultServer, settings: Mapping[str, str] = NO_SETTINGS) -> AsyncIterator[Serving]:
    """Run `bridge serve` until it serves."""
    async with serving(wallet.url, {**SETTINGS, **settings}) as running:
        yield Serving(*running)


@dataclass(eq=False)
class Load:
    """Callers who call again and again until no one is there any more."""

    bridge: Serving
    is_refused: asyncio.Event = field(default_factory=asyncio.Event)
    """The bridge has refused a call."""
    ok: set[str] = field(default_factory=set)
    """The tokens of calls that were OK."""
    received: list[str] = field(default_factory=list)
    """What else was received, in that order: NOT_SERVING, and of each refusal its reason, or its code without one."""
    is_over: bool = False

    async def run(self) -> None:
        """Call from many sides at once."""
        tokens = (f"call-{number}" for number in count())
        await asyncio.gather(*(self._call(tokens) for _ in range(CALLERS)), self._watch())

    async def _call(self, tokens: Iterator[str]) -> None:
        while not self.is_over:
            token = next(tokens)
            end = await end_of(self.bridge.start(token))
            if end.code == "OK":
                self.ok.add(token)
                continue
            self.received.append(end.error_info.reason if end.details else end.code)
            self.is_refused.set()
            # A refusal of the bridge has details; one of gRPC, which says that the port is closed, has none.
            self.is_over |= not end.details
            await asyncio.sleep(BACKOFF_S)

    async def _watch(self) -> None:
        watch = watch_health(self.bridge.channel)
        while (await watch.read()).status != health_pb2.HealthCheckResponse.NOT_SERVING:
            pass
        self.received.append("NOT_SERVING")
        watch.cancel()


PORT_CLOSED = {"UNAVAILABLE", "CANCELLED"}
"""What gRPC itself says to who comes in the moment in which the port closes. CANCELLED is its C core's word for calls
that the server had not taken up yet: nothing of them was sent, as the wallet's record proves below. The bridge holds
back its last refusals so that hardly any call comes then; where callers get no CPU for that long, one may."""


async def ended_under_load() -> None:
    """Ask one bridge to end while callers keep calling; see what they received."""
    async with FaultServer(terminated) as wallet, serving_bridge(wallet) as bridge:
        load = Load(bridge)
        # In flight, it holds the second step open until that has refused a call, however busy the machine is.
        wallet.behaviour = after(load.is_refused)
        held = asyncio.create_task(end_of(bridge.start("held")))
        await wallet.until(lambda: len(wallet.requests) == 1)
        wallet.behaviour = terminated
        calling = asyncio.create_task(load.run())
        await wallet.until(lambda: len(wallet.requests) > 3 * CALLERS)
        bridge.command.process.terminate()
        await bridge.ends(0)
        await calling
        assert (await held).code == "OK"
        load.ok.add("held")
        assert {request.token for request in wallet.requests} == load.ok
        assert set(wallet.processed) == load.ok
        assert load.received[0] == "NOT_SERVING"
        assert "BRIDGE_DRAINING" in load.received
        assert set(load.received[1:]) <= {"BRIDGE_DRAINING", *PORT_CLOSED}
        assert {ended["grpc_code"] for ended in bridge.reported()} <= {"OK", "UNAVAILABLE"}
        assert '"stopped"' in bridge.command.output


@pytest.mark.parametrize(("engine", "at_once"), AT_ONCE, indirect=["engine"])
async def test_end_under_load(at_once: int) -> None:
    """SIGTERM at full load: health turns first, every call that was sent is OK, the others are refused, exit 0.

    A call that was not OK never reached the wallet, and each that reached it was OK: nothing was cut off.
    """
    async with asyncio.TaskGroup() as bridges:
        for _ in range(at_once):
            bridges.create_task(ended_under_load())


CROWD = 1500
"""More than gRPC's C core keeps by default for a server that is busy: 1000 (grpc.server.max_pending_requests)."""


@pytest.mark.long
async def test_a_crowd_before_a_busy_process() -> None:
    """Calls that come while the process gets no CPU are refused like any others, with what to do, and not cut off."""
    gate, patient = asyncio.Event(), {"WALLET__DEADLINE_DEFAULT_S": "300", "WALLET__DEADLINE_MAX_S": "300"}
    async with FaultServer(after(gate)) as wallet, serving_bridge(wallet, patient) as bridge:
        assert await bridge.status() == health_pb2.HealthCheckResponse.SERVING
        bridge.command.process.send_signal(signal.SIGSTOP)
        calls = [bridge.start(f"call-{number}") for number in range(CROWD)]
        for _ in range(5):  # until gRPC has been given them all
            await asyncio.sleep(0)
        bridge.command.process.send_signal(signal.SIGCONT)
        room = int(SETTINGS["SERVER__MAX_IN_FLIGHT"]) + int(SETTINGS["SERVER__MAX_QUEUED"])
        ends = [asyncio.create_task(end_of(call)) for call in calls]
        await until(lambda: sum(each.done() for each in ends) == CROWD - room)
        gate.set()
        codes = Counter(end.code for end in await asyncio.gather(*ends))
    assert codes == {"OK": room, "RESOURCE_EXHAUSTED": CROWD - room}


async def leave(bridge: Serving, wallet: FaultServer) -> None:
    """Begin a call, and leave when the wallet has it."""
    call = bridge.start("left")
    await wallet.until(lambda: len(wallet.requests) == 1)
    call.cancel()


@pytest.mark.short("native")
async def test_a_call_without_its_caller_is_finished_first() -> None:
    """The process does not end before a call whose client has cancelled has its answer, and its end is in the log."""
    gate = asyncio.Event()
    async with FaultServer(after(gate)) as wallet, serving_bridge(wallet) as bridge:
        await leave(bridge, wallet)
        bridge.command.process.terminate()
        await bridge.command.line('"draining"')
        # Answered behind the cancel, on the same connection; and it says that the first step has begun.
        assert await bridge.status() == health_pb2.HealthCheckResponse.NOT_SERVING
        gate.set()
        await bridge.ends(0)
        assert wallet.processed == ["left"]
        assert wallet.resets == []
        (ended,) = bridge.reported()
        assert (ended["grpc_code"], ended["is_detached"]) == ("OK", True)
        assert bridge.command.output.index('"call ended"') < bridge.command.output.index('"stopped"')


@pytest.mark.short("grpcio")
async def test_a_call_without_its_caller_ends_at_its_deadline() -> None:
    """A wallet that never answers holds the process up no longer than the call's deadline."""
    settings = {"WALLET__DEADLINE_DEFAULT_S": "2"}  # until then the call has left and its caller too
    async with FaultServer(hang) as wallet, serving_bridge(wallet, settings) as bridge:
        await leave(bridge, wallet)
        bridge.command.process.terminate()
        await bridge.ends(0)
        (ended,) = bridge.reported()
        assert (ended["reason"], ended["outcome"], ended["is_detached"]) == ("WALLET_TIMEOUT", "UNKNOWN", True)


@pytest.mark.short("native")
async def test_a_second_signal_does_not_wait_for_it() -> None:
    """A second signal ends the process at once, calls without a caller or not."""
    async with FaultServer(hang) as wallet, serving_bridge(wallet) as bridge:
        await leave(bridge, wallet)
        bridge.command.process.terminate()
        await bridge.command.line('"draining"')
        bridge.command.process.terminate()
        await bridge.ends(-signal.SIGTERM)
