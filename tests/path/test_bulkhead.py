"""Bulkheads between providers, over sockets: one whose wallet hangs is refused alone, and unknown ones cost nothing."""

import asyncio
from typing import Any

import pytest

from bridge.admission import RETRY_AFTER_S
from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Stream
from tests.support.engines import on_both_engines
from tests.support.full_bridge import FullBridge, Tap, full_bridge, until
from tests.support.whole_path import End, Failure, end_of, terminate_request
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

pytestmark = on_both_engines

HUNG, GOOD = 1, 12345
SHARED = {"SERVER__MAX_IN_FLIGHT": "6", "SERVER__MAX_IN_FLIGHT_PER_PROVIDER": "3", "SERVER__MAX_QUEUED": "4"}
SHARE_IS_FULL = Failure(
    *("RESOURCE_EXHAUSTED", "BRIDGE_OVERLOADED", "NOT_SENT"), retry_after_s=RETRY_AFTER_S, attempts=0, cause="provider"
)
UNKNOWN = Failure("FAILED_PRECONDITION", "PROVIDER_NOT_CONFIGURED", "NOT_SENT", attempts=0)


class HangsForOne(Tap):
    """A wallet behind which the backend of one provider answers no one before it is opened."""

    async def __call__(self, stream: Stream) -> None:
        """Answer a request."""
        if stream.request.fields["provider_id"] == HUNG:
            await self.is_open.wait()
        await terminated(stream)


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
    wallet = HangsForOne()
    async with full_bridge(FaultServer(wallet), SHARED) as bridge:
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
        wallet.open()
        codes = [end.code for end in await asyncio.gather(*hung)]
        assert sorted(codes) == ["OK"] * 5 + ["RESOURCE_EXHAUSTED"] * 25
        await until(lambda: (admission.count, admission.queued) == (0, 0))


async def test_a_caller_that_leaves_gives_no_place_back_before_the_end() -> None:
    """Calls that go on without their caller count for their provider, or a hung wallet would get ever more of them."""
    wallet = HangsForOne()
    async with full_bridge(FaultServer(wallet), {**SHARED, "SERVER__MAX_QUEUED": "0"}) as bridge:
        held = await bridge.hold(3)
        for call in held:
            call.cancel()
        await until(lambda: bridge.service.detached == 3)
        SHARE_IS_FULL.check(await bridge.caller.terminate("one more", provider_id=HUNG))
        assert (await bridge.caller.terminate("good", provider_id=GOOD)).code == "OK"
        wallet.open()
        await bridge.ends.number(5)
        assert (await bridge.caller.terminate("later", provider_id=HUNG)).code == "OK"


@pytest.mark.parametrize("token", ["", "token"], ids=["with a violation", "without"])
async def test_unknown_providers_are_refused_before_admission(token: str) -> None:
    """A full bridge says what is wrong with them, not that it is full, an unset field first; they leave no state."""
    async with full_bridge(FaultServer(Tap()), {"SERVER__MAX_IN_FLIGHT": "1", "SERVER__MAX_QUEUED": "0"}) as bridge:
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
    async with full_bridge(FaultServer(Tap()), {"SERVER__MAX_IN_FLIGHT": "1", "SERVER__MAX_QUEUED": "1"}) as bridge:
        (held,) = await bridge.hold(1)
        malformed: Any = bridge.caller.channel.unary_unary("/wallet.v1.WalletService/Terminate")
        assert (await end_of(malformed(b"\xff"))).error_info.reason == "INVALID_REQUEST"
        assert (bridge.service.admission.count, bridge.service.admission.queued) == (1, 0)
        held.cancel()
