"""A sandbox without TLS, and a client of it."""

from collections.abc import AsyncIterator

import httpx
import pytest

from bridge.sandbox import Sandbox, serve
from tests.unit.sandbox.test_sandbox import http2_client


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Serve the wallet without TLS."""
    async with serve() as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """Connect with HTTP/2 and prior knowledge."""
    async with http2_client(sandbox) as client:
        # httpx sends `accept: */*` by itself, which would hide that a test leaves it out.
        del client.headers["accept"]
        yield client
