"""Bridges that go while Envoy sends them calls: orderly, one after the other, and at once in the middle of calls."""

import asyncio
from collections import Counter

import pytest

from tests.mesh.bridges import HELD, Bridge, Bridges, held_until
from tests.mesh.envoy import ENVOY, MISSING, Front, RunEnvoy
from tests.mesh.load import calls, names, restarted_under_load, under_load

pytestmark = [pytest.mark.skipif(ENVOY is None, reason=MISSING), pytest.mark.asyncio(loop_scope="module")]


async def test_rolling_restart(secure: Bridges, envoy: RunEnvoy) -> None:
    """Both bridges are restarted one after the other under load: no call fails, and each is one POST."""
    async with envoy(Front(secure.addresses, trust=secure.trust)) as front:
        await restarted_under_load(secure, front)


async def test_old_connections(secure: Bridges, envoy: RunEnvoy) -> None:
    """Bridges that close each connection at its age (GOAWAY) lose no call, without any retry."""
    async with (
        envoy(Front(secure.addresses, policy=None, trust=secure.trust)) as front,
        under_load(front.address) as load,
    ):
        while await front.stat("upstream_cx_close_notify") < 10:
            await load.more()
    assert not load.failed
    assert secure.posts() == Counter(load.began)


def held_by(bridges: Bridges, *some: Bridge) -> set[str]:
    """Return the held calls that these bridges have sent."""
    return {token for bridge in some for token in bridges.by(bridge) if token.startswith(HELD)}


async def test_killed(secure: Bridges, envoy: RunEnvoy) -> None:
    """SIGKILL under load: only the calls that the bridge had in flight fail, none is retried, and all else is OK."""
    gate = asyncio.Event()
    secure.wallet.behaviour = held_until(gate)
    async with envoy(Front(secure.addresses, trust=secure.trust)) as front, under_load(front.address) as load:
        held = asyncio.create_task(calls(front.address, names(HELD, 8)))
        await secure.wallet.until(lambda: len(held_by(secure, secure.a, secure.b)) == 8)
        lost, kept = held_by(secure, secure.a), held_by(secure, secure.b)
        await secure.a.kill()
        await front.until_disconnected(secure.a.address)
        known = len(load.began)
        gate.set()
        await load.more()
        ends = await held
    later = set(load.began[known:])
    ends |= load.ends
    failed = {token for token, end in ends.items() if end.code != "OK"}
    posts = secure.posts()
    assert lost
    assert kept
    assert lost <= failed
    assert not failed & (kept | later)
    assert not failed & set(secure.by(secure.b))
    assert {posts[token] for token in failed} <= {0, 1}
    assert {posts[token] for token in ends.keys() - failed} == {1}
    assert {(ends[token].code, len(ends[token].details)) for token in failed} == {("UNAVAILABLE", 0)}
