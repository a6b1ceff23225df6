"""Hostile callers behind the real Envoy with the limits of deploy/mesh: other calls go on as if there were none."""

import dataclasses
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from tests.mesh.envoy import ENVOY, MISSING, NEVER, Front, running_envoy
from tests.mesh.load import calls
from tests.path.test_floods import GROWTH_MB, KEPT_MB, LONGEST_S, MEDIAN_S, OTHERS_MAX, Others
from tests.support.floods.attacks import FLOODS
from tests.support.floods.measure import Target, measure, target
from tests.support.whole_path import NO_SETTINGS

pytestmark = [pytest.mark.skipif(ENVOY is None, reason=MISSING), pytest.mark.asyncio(loop_scope="module")]

MESH = Path(__file__).parents[2] / "deploy" / "mesh"
MANIFEST = yaml.safe_load((MESH / "limits.yaml").read_text(encoding="utf-8"))
NOTES = (MESH / "istio.md").read_text(encoding="utf-8")
ENGINES = {
    "grpcio": NO_SETTINGS,
    "native": {"SERVER__ENGINE": "native", "SERVER__NATIVE_TRUSTS_CALLERS": "true", "SERVER__CONNECTION_AGE_S": "0"},
}
THROUGH_ENVOY = (
    *("rapid reset", "rapid reset of requests", "unknown methods", "no message", "open streams, 20 connections"),
    *("requests", "requests, unread", "requests, window 0", "continuations before the limit, 5 connections"),
    *("large messages held open", "metadata", "drip, 300 connections"),
)
FLOOD_S = 2.0


def limits() -> dict[str, Any]:
    """Return what the manifest and the annotation beside it make of an Envoy."""
    http, connections, cluster = (each["patch"]["value"] for each in MANIFEST["spec"]["configPatches"])
    manager = {name: value for name, value in http["typed_config"].items() if name != "@type"}
    runtime = re.findall(r"^        (overload\.\w+): \"(\d+)\"$", NOTES, re.MULTILINE)
    assert runtime
    return {
        "http": manager,
        "connection_filters": [connections],
        "cluster": cluster,
        "runtime": {name: int(value) for name, value in runtime},
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=ENGINES)
async def bridge(request: pytest.FixtureRequest) -> AsyncIterator[Target]:
    """Run one bridge for all floods on an engine."""
    async with target(ENGINES[request.param]) as running:
        yield running


async def test_a_busy_caller_is_served(bridge: Target, tmp_path: Path) -> None:
    """Three times as many calls at once as a connection may have streams wait for their turn in the client."""
    front = Front([bridge.address], health_interval=NEVER, **limits())
    async with running_envoy(front, tmp_path) as envoy:
        ends = await calls(envoy.address, [f"token-{number}" for number in range(300)])
    assert Counter(end.code for end in ends.values()) == {"OK": 300}


@pytest.mark.parametrize("name", THROUGH_ENVOY)
async def test_others_do_not_notice_a_hostile_caller(bridge: Target, name: str, tmp_path: Path) -> None:
    """Calls beside the flood, through the same Envoy, are served in time, none fails, and memory comes back."""
    front = Front([bridge.address], health_interval=NEVER, **limits())
    others = Others()
    async with running_envoy(front, tmp_path) as envoy:
        flooded = dataclasses.replace(bridge, address=envoy.address)
        figures = await measure(flooded, name, FLOOD_S, kept_mb_max=KEPT_MB)
    share = others.share()
    sys.stdout.write(f"{figures.row(name)}\n")
    assert FLOODS[name].connections <= figures.attack["connected"]
    assert figures.growth_mb < GROWTH_MB
    assert figures.kept_mb < KEPT_MB
    if share > OTHERS_MAX:
        pytest.skip(f"memory holds; for latencies this machine is too busy: others had {share:.0%} of its cores")
    assert figures.failures == []
    assert figures.median_s < MEDIAN_S
    assert figures.longest_s < LONGEST_S
