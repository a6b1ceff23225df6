"""What Envoy retries before bridges that it reaches itself: what they say is safe, nothing of unknown outcome."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count

import grpc.aio
import pytest

from bridge.sandbox.behaviours import answer, hang, processed
from bridge.sandbox.stream import Behaviour
from tests.mesh.bridges import HELD, Bridges, held_until, refused_for
from tests.mesh.envoy import ENVOY, MISSING, SELDOM, Envoy, Front, RunEnvoy
from tests.mesh.load import call, calls, names
from tests.mesh.policies import BRIDGES_WORD, BRIDGES_WORD_AS_ISTIO, UNAVAILABLE, RetryPolicy
from tests.support.random_wallet import abort
from tests.support.serving import channel_to
from tests.support.whole_path import End

POLICIES = {"bridge's word": BRIDGES_WORD, "as Istio": BRIDGES_WORD_AS_ISTIO, "unavailable": UNAVAILABLE}
"""All are safe here: there is no other proxy between this Envoy and the bridges."""

pytestmark = [pytest.mark.skipif(ENVOY is None, reason=MISSING), pytest.mark.asyncio(loop_scope="module")]
each_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())


def before(bridges: Bridges, policy: RetryPolicy) -> Front:
    """Return an Envoy that does not notice by itself what becomes of the bridges."""
    return Front(bridges.addresses, policy, bridges.trust, SELDOM)


@each_policy
async def test_refused_streams_are_retried(secure: Bridges, envoy: RunEnvoy, policy: RetryPolicy) -> None:
    """What the wallet does not process for one bridge, it processes for the other: once."""
    secure.wallet.behaviour = refused_for(secure.a)
    tokens = names("call", 4)
    async with envoy(before(secure, policy)) as front:
        ends = await calls(front.address, tokens)
        assert await front.stat("upstream_rq_retry_success") > 0
    assert {end.code for end in ends.values()} == {"OK"}
    assert secure.by(secure.a)
    assert sorted(secure.wallet.processed) == tokens


@asynccontextmanager
async def every_policy(bridges: Bridges, envoy: RunEnvoy) -> AsyncIterator[list[Envoy]]:
    """Run an Envoy for each policy, all before the same bridges."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(envoy(before(bridges, policy))) for policy in POLICIES.values()]


async def test_what_a_draining_bridge_refuses_is_retried(secure: Bridges, envoy: RunEnvoy) -> None:
    """BRIDGE_DRAINING is invisible to callers, under each policy: the other bridge carries out the call."""
    gate = asyncio.Event()
    secure.wallet.behaviour = held_until(gate)
    ends: dict[str, End] = {}
    async with every_policy(secure, envoy) as fronts, beside_envoy(secure) as channel:
        # A drain goes on refusing for as long as it has a call in flight.
        in_flight = asyncio.create_task(call(channel, HELD))
        await secure.wallet.until(lambda: secure.posts().total() == 1)
        secure.a.terminate()
        await refusal(channel)
        for number, front in enumerate(fronts):
            ends |= await calls(front.address, names(f"call-{number}", 6))
            assert await front.stat("upstream_rq_retry_success") > 0
        gate.set()
        assert (await in_flight).code == "OK"
    await secure.a.ended()
    assert {end.code for end in ends.values()} == {"OK"}
    assert not secure.by(secure.a).keys() & ends.keys()
    assert secure.by(secure.b) == dict.fromkeys(ends, 1)


def beside_envoy(bridges: Bridges) -> grpc.aio.Channel:
    """Open a channel to the first bridge that does not go through Envoy."""
    assert bridges.trust is not None
    return channel_to(bridges.a.address, bridges.trust.ca_file, bridges.trust.identity)


async def refusal(channel: grpc.aio.Channel) -> None:
    """Call until the bridge refuses; until then it serves."""
    for number in count():
        end = await call(channel, f"served-{number}")
        if end.code != "OK":
            assert end.wallet_error.reason == "BRIDGE_DRAINING"
            return


PAGE, CODE_2 = b"<html>", b'{"status": false, "code": 2, "message": "?", "request_id": "r"}'
UNKNOWN: dict[str, Behaviour] = {
    "WALLET_CONNECTION_LOST": processed(abort),
    "WALLET_GATEWAY_ERROR": processed(answer(503, PAGE)),
    "WALLET_UNKNOWN_ERROR": processed(answer(500, CODE_2)),
    "WALLET_RESPONSE_INVALID": processed(answer(200, PAGE)),
}


@each_policy
@pytest.mark.parametrize(("reason", "behaviour"), UNKNOWN.items(), ids=UNKNOWN.keys())
async def test_unknown_outcome_is_not_retried(
    secure: Bridges, envoy: RunEnvoy, policy: RetryPolicy, reason: str, behaviour: Behaviour
) -> None:
    """One POST, whatever has become of it, and the caller receives the bridge's own words."""
    secure.wallet.behaviour = behaviour
    async with envoy(before(secure, policy)) as front, channel_to(front.address) as channel:
        end = await call(channel, "call")
    assert (end.wallet_error.reason, end.error_info.metadata["outcome"]) == (reason, "UNKNOWN")
    assert secure.posts() == {"call": 1}


async def timed_out(bridges: Bridges, front: Envoy, prefix: str) -> tuple[str, End]:
    """Call with a short deadline until one of the calls has reached the wallet in time; return its token and end."""
    tokens = (f"{prefix}-{number}" for number in count())
    async with channel_to(front.address) as channel:
        while True:
            token = next(tokens)
            end = await call(channel, token, timeout_s=0.5)
            if bridges.posts()[token]:
                return token, end


async def test_a_timeout_is_not_retried(secure: Bridges, envoy: RunEnvoy) -> None:
    """A call that the wallet does not answer in time is one POST, under each policy."""
    secure.wallet.behaviour = processed(hang)
    async with every_policy(secure, envoy) as fronts:
        calling = (timed_out(secure, front, f"call-{number}") for number, front in enumerate(fronts))
        ends = dict(await asyncio.gather(*calling))
    assert {end.code for end in ends.values()} == {"DEADLINE_EXCEEDED"}
    assert set(secure.posts().values()) == {1}
