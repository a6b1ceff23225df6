"""The stores that the rules are tested on."""

import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import Redis

from bridge.settlement.redis import RedisStore
from bridge.settlement.sqlite import SqliteStore
from bridge.settlement.store import Store
from tests.support.redis_server import needs_redis, redis_server
from tests.support.settlement_model import ModelStore

STORES = ["model", "sqlite", pytest.param("redis", marks=needs_redis)]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """Give a folder whose path is short enough for a socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="b"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Run one server for all tests."""
    with tempfile.TemporaryDirectory(prefix="b") as folder, redis_server(Path(folder)) as url:
        yield url


@pytest.fixture(params=STORES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Give an empty store of each kind."""
    made = _made(request, tmp_path)
    await made.open()
    yield made
    await made.close()


def _made(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "model":
        return ModelStore(time.time)
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "settlement.db")
    url: str = request.getfixturevalue("redis_url")
    with Redis.from_url(url) as client:
        client.flushall()
    return RedisStore(url)
