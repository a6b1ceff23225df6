"""A mesh of sidecars: caller -> Envoy -> Envoy beside the bridge -> bridge. Both Envoys can say UNAVAILABLE.

The inner one says it of a call that its bridge had in flight when it was killed, and the outer one cannot know that
from the bridge's own word unless the bridge adds something to it: `wallet-safe-to-repeat`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.mesh.bridges import HELD, Bridges, held_until, refused_for
from tests.mesh.envoy import ENVOY, MISSING, NEVER, OFTEN, SELDOM, Envoy, Front, RunEnvoy
from tests.mesh.load import calls, names, restarted_under_load
from tests.mesh.policies import BRIDGES_WORD, BRIDGES_WORD_AS_ISTIO, ISTIO_DEFAULT, UNAVAILABLE, RetryPolicy
from tests.support.whole_path import End

pytestmark = [pytest.mark.skipif(ENVOY is None, reason=MISSING), pytest.mark.asyncio(loop_scope="module")]

HONEST_LOCAL_REPLIES = {
    "mappers": [
        {
            "filter": {"response_flag_filter": {"flags": ["UC", "UR", "UPE", "UT", "LR", "SI", "DPE"]}},
            # What Envoy's table makes UNKNOWN of; 503 is UNAVAILABLE.
            "status_code": 500,
        }
    ]
}
"""Makes an Envoy distinguish what it lost after it was sent from what it could not send."""


@dataclass(frozen=True)
class Mesh:
    """How the outer Envoy retries calls, and what the inner ones answer by themselves."""

    policy: RetryPolicy
    local_replies: Mapping[str, Any] = field(default_factory=dict)


SAFE = {
    "bridge's word": Mesh(BRIDGES_WORD),
    "as Istio": Mesh(BRIDGES_WORD_AS_ISTIO),
    "refused-stream": Mesh(RetryPolicy("connect-failure,refused-stream")),
    "unavailable, honest local replies": Mesh(UNAVAILABLE, HONEST_LOCAL_REPLIES),
}
UNSAFE = {"unavailable": Mesh(UNAVAILABLE), "Istio's default": Mesh(ISTIO_DEFAULT)}


@asynccontextmanager
async def sidecars(
    bridges: Bridges, envoy: RunEnvoy, mesh: Mesh, health_interval: str = SELDOM
) -> AsyncIterator[Envoy]:
    """Run an Envoy beside each bridge, which retries nothing, and one before both, which does."""
    async with AsyncExitStack() as stack:
        beside = [
            Front([address], None, health_interval=NEVER, local_replies=mesh.local_replies)
            for address in bridges.addresses
        ]
        upstreams = [(await stack.enter_async_context(envoy(each))).address for each in beside]
        yield await stack.enter_async_context(envoy(Front(upstreams, mesh.policy, health_interval=health_interval)))


async def killed_in_mid_call(bridges: Bridges, envoy: RunEnvoy, mesh: Mesh) -> End:
    """Kill the bridge that has the only call in flight; return how the call ended."""
    gate = asyncio.Event()
    bridges.wallet.behaviour = held_until(gate)
    async with sidecars(bridges, envoy, mesh) as front:
        held = asyncio.create_task(calls(front.address, [HELD]))
        await bridges.wallet.until(lambda: bridges.posts().total() == 1)
        await (bridges.a if bridges.by(bridges.a) else bridges.b).kill()
        gate.set()
        return (await held)[HELD]


@pytest.mark.parametrize("mesh", SAFE.values(), ids=SAFE.keys())
async def test_a_call_whose_bridge_was_killed_is_not_retried(plain: Bridges, envoy: RunEnvoy, mesh: Mesh) -> None:
    """The wallet has the call once. What the caller receives has no WalletError: it is of unknown outcome."""
    end = await killed_in_mid_call(plain, envoy, mesh)
    assert (end.code, end.details) == ("UNKNOWN" if mesh.local_replies else "UNAVAILABLE", {})
    assert plain.posts() == {HELD: 1}


@pytest.mark.parametrize("mesh", UNSAFE.values(), ids=UNSAFE.keys())
async def test_what_the_notes_warn_of(plain: Bridges, envoy: RunEnvoy, mesh: Mesh) -> None:
    """Where UNAVAILABLE alone decides, a call of unknown outcome is retried: deploy/mesh/istio.md says so."""
    end = await killed_in_mid_call(plain, envoy, mesh)
    assert end.code == "OK"
    assert plain.posts() == {HELD: 2}


# Not with `refused-stream` alone: there Envoy looks for a frame, and receives nothing of what the bridge says.
RECEIVED = {name: mesh for name, mesh in SAFE.items() if name != "refused-stream"}


@pytest.mark.parametrize("mesh", RECEIVED.values(), ids=RECEIVED.keys())
async def test_what_a_bridge_refuses_is_retried(plain: Bridges, envoy: RunEnvoy, mesh: Mesh) -> None:
    """The bridge's own word passes the Envoy beside it, and is obeyed."""
    plain.wallet.behaviour = refused_for(plain.a)
    tokens = names("call", 4)
    async with sidecars(plain, envoy, mesh) as front:
        ends = await calls(front.address, tokens)
        assert await front.stat("upstream_rq_retry_success") > 0
    assert {end.code for end in ends.values()} == {"OK"}
    assert plain.by(plain.a)
    assert sorted(plain.wallet.processed) == tokens


async def test_rolling_restart(plain: Bridges, envoy: RunEnvoy) -> None:
    """Both bridges are restarted one after the other behind their sidecars: no call fails, and each is one POST."""
    async with sidecars(plain, envoy, Mesh(BRIDGES_WORD), OFTEN) as front:
        await restarted_under_load(plain, front)
