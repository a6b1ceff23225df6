"""To whom Envoy sends calls: both bridges in turn, none that drains or cannot be reached, none without trust."""

import asyncio
from dataclasses import replace

import pytest
from cryptography.x509 import UniformResourceIdentifier

from bridge.sandbox.behaviours import answer
from tests.mesh.bridges import HELD, Bridges, held_until, slowly_terminated
from tests.mesh.envoy import EJECTED, ENVOY, MISSING, NEVER, NOT_SERVING, SELDOM, WORKERS, Front, RunEnvoy, Trust
from tests.mesh.load import calls, names
from tests.support.certificates import Authority, Identity
from tests.support.whole_path import End

pytestmark = [pytest.mark.skipif(ENVOY is None, reason=MISSING), pytest.mark.asyncio(loop_scope="module")]


def codes(ends: dict[str, End]) -> set[str]:
    """Return the codes with which calls ended."""
    return {end.code for end in ends.values()}


async def test_round_robin(secure: Bridges, envoy: RunEnvoy) -> None:
    """Calls of a single channel go to both bridges in turn, by mutual TLS; Envoy's workers take turns of their own."""
    async with envoy(Front(secure.addresses, trust=secure.trust)) as front:
        assert codes(await calls(front.address, names("call", 20))) == {"OK"}
    of_a, of_b = secure.by(secure.a), secure.by(secure.b)
    assert abs(of_a.total() - of_b.total()) <= WORKERS
    assert set((of_a + of_b).values()) == {1}


async def test_a_draining_bridge_gets_no_new_calls(secure: Bridges, envoy: RunEnvoy) -> None:
    """When health says NOT_SERVING, new calls go to the other bridge, and what is in flight is finished."""
    gate = asyncio.Event()
    secure.wallet.behaviour = held_until(gate)
    async with envoy(Front(secure.addresses, trust=secure.trust)) as front:
        held = asyncio.create_task(calls(front.address, names(HELD, 6)))
        await secure.wallet.until(lambda: secure.posts().total() == 6)
        before = secure.by(secure.a)
        secure.a.terminate()
        await front.until_wrong(secure.a.address, NOT_SERVING)
        assert codes(await calls(front.address, names("call", 6))) == {"OK"}
        gate.set()
        assert codes(await held) == {"OK"}
    await secure.a.ended()
    assert before
    assert secure.by(secure.a) == before


async def test_a_dead_bridge_is_ejected(secure: Bridges, envoy: RunEnvoy) -> None:
    """Refused connections eject a bridge without any question about health; no call fails, before or after."""
    async with envoy(Front(secure.addresses, trust=secure.trust, health_interval=SELDOM)) as front:
        await secure.a.kill()
        assert codes(await calls(front.address, names("call", 20))) == {"OK"}
        await front.until_wrong(secure.a.address, EJECTED)
        assert await front.stat("outlier_detection.ejections_active") == 1
        retries = await front.stat("upstream_rq_retry")
        assert retries > 0
        assert codes(await calls(front.address, names("later", 20))) == {"OK"}
        assert await front.stat("upstream_rq_retry") == retries
    assert secure.by(secure.a).total() == 0
    assert set(secure.posts().values()) == {1}


async def test_answers_eject_no_bridge(secure: Bridges, envoy: RunEnvoy) -> None:
    """UNAVAILABLE from every call is the wallet's state, not the bridges': both stay."""
    busy = b'{"status": false, "code": 9, "message": "busy", "request_id": "r"}'
    secure.wallet.behaviour = answer(503, busy)
    async with envoy(Front(secure.addresses, trust=secure.trust)) as front:
        ends = await calls(front.address, names("call", 20))
        assert codes(ends) == {"UNAVAILABLE"}
        assert {end.wallet_error.reason for end in ends.values()} == {"WALLET_UNAVAILABLE"}
        assert await front.stat("outlier_detection.ejections_enforced_total") == 0
        secure.wallet.behaviour = slowly_terminated
        assert codes(await calls(front.address, names("later", 4))) == {"OK"}


def other_identity(bridges: Bridges) -> Identity:
    """Issue a certificate of the right authority for a caller that is not on the allow-list."""
    assert bridges.certificates is not None
    return bridges.certificates.authority.client("other", UniformResourceIdentifier("spiffe://mesh.example/ns/x/sa/y"))


async def test_an_envoy_with_another_identity_is_refused(secure: Bridges, envoy: RunEnvoy) -> None:
    """A caller that is not on the allow-list is refused with the bridge's details, and nothing reaches the wallet."""
    assert secure.trust is not None
    trust = replace(secure.trust, identity=other_identity(secure))
    async with envoy(Front(secure.addresses, trust=trust)) as front:
        ends = await calls(front.address, ["call"])
    assert (ends["call"].code, ends["call"].wallet_error.reason) == ("PERMISSION_DENIED", "CALLER_NOT_ALLOWED")
    assert secure.posts().total() == 0


async def test_an_envoy_of_another_authority_gets_no_connection(
    secure: Bridges, envoy: RunEnvoy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A client certificate that the bridges' CA did not sign ends at the handshake."""
    assert secure.trust is not None
    other = Authority(tmp_path_factory.mktemp("other"), "ca").client("envoy")
    front_of_other = Front(secure.addresses, trust=replace(secure.trust, identity=other), health_interval=NEVER)
    async with envoy(front_of_other) as front:
        ends = await calls(front.address, ["call"])
        assert await front.stat("upstream_cx_connect_fail") > 0
        assert await front.stat("upstream_rq_total") == 0
    assert (ends["call"].code, ends["call"].details) == ("UNAVAILABLE", {})
    assert "connection failure" in ends["call"].message
    assert secure.posts().total() == 0


async def test_an_impostor_gets_no_calls(
    secure: Bridges, envoy: RunEnvoy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Envoy sends nothing to a bridge whose certificate is not of the authority that it trusts."""
    assert secure.trust is not None
    elsewhere = Authority(tmp_path_factory.mktemp("elsewhere"), "ca").ca_file
    async with envoy(
        Front(secure.addresses, trust=Trust(elsewhere, secure.trust.identity), health_interval=NEVER)
    ) as front:
        ends = await calls(front.address, ["call"])
        assert await front.stat("ssl.fail_verify_error") > 0
        assert await front.stat("upstream_rq_total") == 0
    assert (ends["call"].code, ends["call"].details) == ("UNAVAILABLE", {})
    assert "connection failure" in ends["call"].message
    assert secure.posts().total() == 0
