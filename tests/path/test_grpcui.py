"""grpcui, the web page that people point at a gRPC server: with nothing but reflection it lists, describes and calls.

It is pinned in tools/toolchain.toml and tools/grpcui/, and installed by `make tools`.
"""

import asyncio
import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

import toolchain
from bridge import sandbox
from bridge.sandbox.operations import TERMINATE_REQUEST
from tests.support.engines import on_both_engines
from tests.support.whole_path import PATIENCE_S, bridge_to

ABSENT = toolchain.absent("grpcui")
METHOD = "wallet.v1.WalletService.Terminate"
CSRF_COOKIE, CSRF_HEADER = "_grpcui_csrf_token", "x-grpcui-csrf-token"

pytestmark = [
    pytest.mark.long,
    on_both_engines,
    pytest.mark.skipif(bool(ABSENT), reason=ABSENT or "grpcui is installed"),
]


@pytest_asyncio.fixture(name="page")
async def _page() -> AsyncIterator[httpx.AsyncClient]:
    """Serve grpcui in front of a bridge, and give a client of its page, which has been looked at once."""
    async with sandbox.serve() as wallet, bridge_to(wallet.url) as caller:
        process = await asyncio.create_subprocess_exec(
            toolchain.programs()["grpcui"].path,
            *("-plaintext", "-bind", "127.0.0.1", "-port", "0", "-open-browser=false", caller.bridge.address),
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdout is not None
            said = (await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)).decode()
            url = re.search(r"http://127\.0\.0\.1:\d+", said)
            assert url is not None, said
            async with httpx.AsyncClient(base_url=url[0], timeout=PATIENCE_S, trust_env=False) as client:
                client.headers[CSRF_HEADER] = (await client.get("/")).cookies[CSRF_COOKIE]
                yield client
        finally:
            process.kill()
            await process.wait()


async def test_page_lists_the_services(page: httpx.AsyncClient) -> None:
    """The page offers the wallet's service and the health service."""
    text = (await page.get("/")).text
    assert [name for name in ("wallet.v1.WalletService", "grpc.health.v1.Health") if name not in text] == []


async def test_page_describes_the_request(page: httpx.AsyncClient) -> None:
    """The form of a method has the fields of its request."""
    schema = (await page.get("/metadata", params={"method": METHOD})).json()
    fields = {field["protoName"] for field in schema["messageTypes"][schema["requestType"]]}
    assert fields == set(TERMINATE_REQUEST)


async def test_page_makes_a_call(page: httpx.AsyncClient) -> None:
    """A call from the page ends with the wallet's balance."""
    answer = (await page.post(f"/invoke/{METHOD}", json={"metadata": [], "data": [TERMINATE_REQUEST]})).json()
    assert answer["error"] is None
    assert answer["responses"][0]["message"]["balance"] == {"value": "22085.75"}
