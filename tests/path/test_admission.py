"""A full bridge: which calls wait, which are refused, and that a call reported as NOT_SENT was never sent.

Bulkheads between providers, over sockets: one whose wallet hangs is refused alone, and unknown ones cost nothing.
"""

import asyncio
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from bridge.admission import RETRY_AFTER_S
from bridge.sandbox.behaviours import after, by_token, terminated
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Stream
from tests.support.busy_bridge import FullBridge, full_bridge
from tests.support.engines import on_both_engines
from tests.support.serving import health_of
from tests.support.whole_path import PATIENCE_S, End, Failure, end_of, terminate_request, until
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

pytestmark = on_both_engines

ONE = {"SERVER__MAX_IN_FLIGHT": "1", "SERVER__MAX_QUEUED": "1"}
TWO = {"SERVER__MAX_IN_FLIGHT": "2", "SERVER__MAX_QUEUED": "1"}
NO_LINE = {"SERVER__MAX_IN_FLIGHT": "1", "SERVER__MAX_QUEUED": "0"}
SOON = {**ONE, "WALLET__DEADLINE_DEFAULT_S": "0.3"}
"""A deadline of the bridge's alone, for calls without one: their caller waits, however busy the machine is."""
FULL = ("RESOURCE_EXHAUSTED", "BRIDGE_OVERLOADED", "NOT_SENT")
NOW = Failure(*FULL, retry_after_s=1.0, attempts=0)
IN_LINE = Failure(*FULL, retry_after_s=1.0, attempts=0, cause="queue")


def is_empty(bridge: FullBridge) -> bool:
    """Say whether no call is admitted or queued."""
    return (bridge.service.admission.count, bridge.service.admission.queued) == (0, 0)


async def test_one_more_waits_and_succeeds() -> None:
    """The call after the last that is admitted is not sent before a place is free; then it is served like any other."""
    gate = asyncio.Event()
    async with full_bridge(FaultServer(after(gate)), TWO) as bridge:
        held = await bridge.hold(2)
        (queued,) = await bridge.queue("queued")
        assert bridge.service.admission.count == 2
        assert bridge.tokens == ["held-0", "held-1"]
        gate.set()
        assert [(await end_of(call)).code for call in (*held, queued)] == ["OK"] * 3
        assert bridge.tokens == ["held-0", "held-1", "queued"]
        waited_s = [ended.queue_s for ended in await bridge.ends.number(3)]
        assert is_empty(bridge)
    assert waited_s[:2] == [0.0, 0.0]
    assert waited_s[2] > 0


@pytest.mark.parametrize("settings", [ONE, NO_LINE], ids=["the line is full", "there is no line"])
async def test_full(settings: dict[str, str]) -> None:
    """Who finds no place in the queue is refused at once, may come again in a second, and nothing of it is sent."""
    gate = asyncio.Event()
    async with full_bridge(FaultServer(after(gate)), settings) as bridge:
        calls = await bridge.hold(1) + await bridge.queue(*["queued"] * int(settings["SERVER__MAX_QUEUED"]))
        NOW.check(await bridge.caller.terminate("refused"))
        (refused,) = await bridge.ends.number(1)
        assert (refused.reason, refused.outcome, refused.queue_s) == ("BRIDGE_OVERLOADED", "NOT_SENT", 0.0)
        gate.set()
        assert {(await end_of(call)).code for call in calls} == {"OK"}
        assert (await bridge.caller.terminate("later")).code == "OK"
        assert "refused" not in bridge.tokens
        await until(lambda: is_empty(bridge))


async def test_health_of_a_full_bridge() -> None:
    """Health is answered while calls are refused: a bridge that is busy must not be restarted for it."""
    async with full_bridge(FaultServer(after(asyncio.Event())), NO_LINE) as bridge:
        (held,) = await bridge.hold(1)
        NOW.check(await bridge.caller.terminate("refused"))
        answer = await health_of(bridge.caller.channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        held.cancel()


async def test_cancel_in_line() -> None:
    """A caller that cancels in the queue frees a place in it; its request never leaves, and the report says so."""
    gate = asyncio.Event()
    async with full_bridge(FaultServer(after(gate)), ONE) as bridge:
        (held,) = await bridge.hold(1)
        (cancelled,) = await bridge.queue("cancelled")
        cancelled.cancel()
        (ended,) = await bridge.ends.number(1)
        assert (ended.grpc_code, ended.outcome, ended.is_detached) == ("CANCELLED", "NOT_SENT", False)
        (queued,) = await bridge.queue("queued")
        gate.set()
        assert [(await end_of(call)).code for call in (held, queued)] == ["OK", "OK"]
        assert bridge.tokens == ["held-0", "queued"]
        await until(lambda: is_empty(bridge))


async def test_deadline_in_line() -> None:
    """A call whose time ends in line is refused while its caller still waits, and not sent; the report has its time."""
    gate = asyncio.Event()
    async with full_bridge(FaultServer(after(gate)), SOON) as bridge:
        (held,) = await bridge.hold(1, PATIENCE_S)
        (late,) = await bridge.queue("late")
        IN_LINE.check(await end_of(late))
        (ended,) = await bridge.ends.number(1)
        assert (ended.reason, ended.cause, ended.queue_s > 0) == ("BRIDGE_OVERLOADED", "queue", True)
        gate.set()
        assert (await end_of(held)).code == "OK"
        assert bridge.tokens == ["held-0"]
        await until(lambda: is_empty(bridge))


async def test_calls_that_fail_leave_their_place() -> None:
    """Requests that are refused for what is in them hold their place no longer than others."""
    async with full_bridge(FaultServer(terminated), NO_LINE) as bridge:
        codes = [(await bridge.caller.terminate(provider_id=number)).code for number in (0, 999, 1) * 2]
        assert codes == ["INVALID_ARGUMENT", "FAILED_PRECONDITION", "OK"] * 2
        assert is_empty(bridge)


async def test_bound_of_many() -> None:
    """Of many calls at once the wallet never has more than are admitted, and all get their answer."""
    at_once, most, all_come = 0, 0, asyncio.Event()

    async def counting(stream: Stream) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        if at_once == 3:
            all_come.set()
        await all_come.wait()
        await stream.connection.ping()  # a round trip, in which others could come
        at_once -= 1
        await terminated(stream)

    async with full_bridge(
        FaultServer(counting), {"SERVER__MAX_IN_FLIGHT": "3", "SERVER__MAX_QUEUED": "100"}
    ) as bridge:
        ends = await asyncio.gather(*(bridge.caller.terminate(f"call-{number}") for number in range(60)))
        assert {end.code for end in ends} == {"OK"}
        assert most == 3
        assert sorted(bridge.wallet.processed) == sorted(f"call-{number}" for number in range(60))
        await until(lambda: is_empty(bridge))


async def test_far_too_many() -> None:
    """Of fifty times what there is room for, those that find room are OK and all others are refused, unsent."""
    gate = asyncio.Event()
    async with full_bridge(
        FaultServer(after(gate)), {"SERVER__MAX_IN_FLIGHT": "3", "SERVER__MAX_QUEUED": "3"}
    ) as bridge:
        tokens = [f"call-{number}" for number in range(300)]
        calls = [asyncio.create_task(bridge.caller.terminate(token)) for token in tokens]
        refused = await bridge.ends.number(294)
        assert {ended.reason for ended in refused} == {"BRIDGE_OVERLOADED"}
        gate.set()
        ends = dict(zip(tokens, await asyncio.gather(*calls), strict=True))
        ok = {token for token, end in ends.items() if end.code == "OK"}
        assert (len(ok), set(bridge.tokens)) == (6, ok)
        await until(lambda: is_empty(bridge))
        assert (await bridge.caller.terminate()).code == "OK"


HUNG, GOOD = 1, 12345
SHARED = {"SERVER__MAX_IN_FLIGHT": "6", "SERVER__MAX_IN_FLIGHT_PER_PROVIDER": "3", "SERVER__MAX_QUEUED": "4"}
SHARE_IS_FULL = Failure(
    *("RESOURCE_EXHAUSTED", "BRIDGE_OVERLOADED", "NOT_SENT"), retry_after_s=RETRY_AFTER_S, attempts=0, cause="provider"
)
UNKNOWN = Failure("FAILED_PRECONDITION", "PROVIDER_NOT_CONFIGURED", "NOT_SENT", attempts=0)


async def hang(bridge: FullBridge, count: int) -> list[asyncio.Task[End]]:
    """Begin so many calls of the provider that hangs; return when each is admitted, queued or refused."""
    stub = WalletServiceStub(bridge.caller.channel)
    calls = [
        asyncio.create_task(end_of(stub.Terminate(terminate_request(f"hung-{number}")))) for number in range(count)
    ]
    admission = bridge.service.admission
    await until(lambda: admission.count + admission.queued + len(bridge.ends.calls) == count)
    return calls


async def test_others_are_served_while_one_hangs() -> None:
    """Ten times its share of calls hang: all others are OK at once, and what is refused is the provider's own."""
    gate = asyncio.Event()
    backend_hangs = by_token({f"hung-{number}": after(gate) for number in range(30)})
    async with full_bridge(FaultServer(backend_hangs), SHARED) as bridge:
        hung = await hang(bridge, 30)
        admission = bridge.service.admission
        assert (admission.count, admission.queued, len(bridge.ends.calls)) == (3, 2, 25)
        assert {(end.reason, end.cause, end.provider_id) for end in bridge.ends.calls} == {
            ("BRIDGE_OVERLOADED", "provider", HUNG)
        }
        for round_ in range(5):
            ends = await asyncio.gather(
                *(bridge.caller.terminate(f"good-{round_}-{n}", provider_id=GOOD) for n in range(3))
            )
            assert [end.code for end in ends] == ["OK"] * 3
        SHARE_IS_FULL.check(await bridge.caller.terminate("one more", provider_id=HUNG))
        gate.set()
        codes = [end.code for end in await asyncio.gather(*hung)]
        assert sorted(codes) == ["OK"] * 5 + ["RESOURCE_EXHAUSTED"] * 25
        await until(lambda: (admission.count, admission.queued) == (0, 0))


async def test_a_caller_that_leaves_gives_no_place_back_before_the_end() -> None:
    """Calls that go on without their caller count for their provider, or a hung wallet would get ever more of them."""
    gate = asyncio.Event()
    backend_hangs = by_token({f"held-{number}": after(gate) for number in range(3)})
    async with full_bridge(FaultServer(backend_hangs), {**SHARED, "SERVER__MAX_QUEUED": "0"}) as bridge:
        held = await bridge.hold(3)
        for call in held:
            call.cancel()
        await until(lambda: bridge.service.detached == 3)
        SHARE_IS_FULL.check(await bridge.caller.terminate("one more", provider_id=HUNG))
        assert (await bridge.caller.terminate("good", provider_id=GOOD)).code == "OK"
        gate.set()
        await bridge.ends.number(5)
        assert (await bridge.caller.terminate("later", provider_id=HUNG)).code == "OK"


@pytest.mark.parametrize("token", ["", "token"], ids=["with a violation", "without"])
async def test_unknown_providers_are_refused_before_admission(token: str) -> None:
    """A full bridge says what is wrong with them, not that it is full, an unset field first; they leave no state."""
    async with full_bridge(
        FaultServer(after(asyncio.Event())), {"SERVER__MAX_IN_FLIGHT": "1", "SERVER__MAX_QUEUED": "0"}
    ) as bridge:
        (held,) = await bridge.hold(1)
        for number in range(50):
            end = await bridge.caller.terminate(token, provider_id=999_000 + number)
            if token:
                UNKNOWN.check(end)
            else:
                assert end.error_info.reason == "INVALID_REQUEST"
        assert set(bridge.service.admission._lanes) == {HUNG}
        held.cancel()


async def test_what_cannot_be_parsed_is_refused_before_admission() -> None:
    """A full bridge says of a malformed request what is wrong with it: it takes no place and waits for none."""
    async with full_bridge(
        FaultServer(after(asyncio.Event())), {"SERVER__MAX_IN_FLIGHT": "1", "SERVER__MAX_QUEUED": "1"}
    ) as bridge:
        (held,) = await bridge.hold(1)
        malformed: Any = bridge.caller.channel.unary_unary("/wallet.v1.WalletService/Terminate")
        assert (await end_of(malformed(b"\xff"))).error_info.reason == "INVALID_REQUEST"
        assert (bridge.service.admission.count, bridge.service.admission.queued) == (1, 0)
        held.cancel()
