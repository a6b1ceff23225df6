"""The filter of deploy/mesh/native.yaml in the real Envoy, before bridges on the native engine."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
import yaml

from tests.mesh.bridges import Bridges, two_bridges
from tests.mesh.envoy import ENVOY, MISSING, NEVER, Front, RunEnvoy
from tests.mesh.load import calls
from tests.support.floods.attacks import REQUEST, TERMINATE, call_fields
from tests.support.http2.frames import data, headers
from tests.support.raw_caller import raw_caller
from tests.support.whole_path import end_of, terminate_request
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

pytestmark = [pytest.mark.skipif(ENVOY is None, reason=MISSING), pytest.mark.asyncio(loop_scope="module")]

MANIFEST = Path(__file__).parents[2] / "deploy" / "mesh" / "native.yaml"
NATIVE = {"SERVER__ENGINE": "native", "SERVER__NATIVE_TRUSTS_CALLERS": "true", "SERVER__CONNECTION_AGE_S": "0"}


def filters() -> list[Any]:
    """Return the filters that the manifest puts before the router."""
    return [patch["patch"]["value"] for patch in yaml.safe_load(MANIFEST.read_text())["spec"]["configPatches"]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bridges() -> AsyncIterator[Bridges]:
    """Run two bridges on the native engine."""
    async with two_bridges(None, NATIVE) as running:
        yield running


async def test_ordinary_calls_pass(bridges: Bridges, envoy: RunEnvoy) -> None:
    """What gRPC libraries send by default reaches the wallet."""
    async with envoy(Front(bridges.addresses, None, health_interval=NEVER, filters=filters())) as front:
        ends = await calls(front.address, ["a", "b"])
    assert {end.code for end in ends.values()} == {"OK"}


@pytest.mark.parametrize("method", [grpc.Compression.Gzip, grpc.Compression.Deflate], ids=["gzip", "deflate"])
async def test_compressed_requests_are_refused(bridges: Bridges, envoy: RunEnvoy, method: grpc.Compression) -> None:
    """A client that compresses gets PERMISSION_DENIED, and the wallet receives nothing; no compression is none."""
    bridges.wallet.requests.clear()
    async with (
        envoy(Front(bridges.addresses, None, health_interval=NEVER, filters=filters())) as front,
        grpc.aio.insecure_channel(front.address) as channel,
    ):
        stub = WalletServiceStub(channel)
        request = terminate_request("z" * 1000)
        assert (await end_of(stub.Terminate(request, compression=method))).code == "PERMISSION_DENIED"
        assert bridges.wallet.requests == []
        assert (await end_of(stub.Terminate(request, compression=grpc.Compression.NoCompression))).code == "OK"


NO_CALLS = {
    "GET": ((":method", "GET"), *call_fields(TERMINATE)[1:]),
    "a query": call_fields(f"{TERMINATE}?a=b"),
    "another content-type": call_fields(TERMINATE, "application/json"),
    "no content-type": call_fields(TERMINATE, ""),
    "an unknown encoding": (*call_fields(TERMINATE), ("grpc-encoding", "x")),
}


@pytest.mark.parametrize("fields", NO_CALLS.values(), ids=NO_CALLS)
async def test_what_no_grpc_client_sends_is_refused(
    bridges: Bridges, envoy: RunEnvoy, fields: tuple[tuple[str, str], ...]
) -> None:
    """Methods, queries and content-types that are not gRPC's do not reach the bridge."""
    bridges.wallet.requests.clear()
    front = Front(bridges.addresses, None, health_interval=NEVER, filters=filters())
    async with envoy(front) as running, raw_caller(running.address) as caller, asyncio.timeout(20):
        caller.send(headers(1, fields=fields), data(1, REQUEST, end=True))
        answer = await caller.answer()
    # 403 where the request is no gRPC call: Envoy then words its refusal in HTTP.
    assert answer.headers.get("grpc-status", answer.headers[":status"]) in {"7", "403"}
    assert bridges.wallet.requests == []
