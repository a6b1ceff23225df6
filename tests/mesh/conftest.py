"""The bridges of a module: started once, and as new for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.mesh.bridges import Bridges, Certificates, two_bridges
from tests.mesh.envoy import RunEnvoy, running_envoy


@pytest.fixture
def envoy(tmp_path_factory: pytest.TempPathFactory) -> RunEnvoy:
    """Return what runs any number of Envoys, each in a folder of its own."""
    return lambda front: running_envoy(front, tmp_path_factory.mktemp("envoy"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secure_pair(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bridges]:
    """Run two bridges with mutual TLS."""
    folder: Path = tmp_path_factory.mktemp("certificates")
    async with two_bridges(Certificates.written(folder)) as bridges:
        yield bridges


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plain_pair() -> AsyncIterator[Bridges]:
    """Run two bridges in plaintext, as in a mesh that brings TLS itself."""
    async with two_bridges(None) as bridges:
        yield bridges


@pytest_asyncio.fixture(loop_scope="module")
async def secure(secure_pair: Bridges) -> Bridges:
    """Return two bridges with mutual TLS, both running, before a good wallet with an empty log."""
    await secure_pair.renew()
    return secure_pair


@pytest_asyncio.fixture(loop_scope="module")
async def plain(plain_pair: Bridges) -> Bridges:
    """Return two bridges in plaintext, both running, before a good wallet with an empty log."""
    await plain_pair.renew()
    return plain_pair
