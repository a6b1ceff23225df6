"""The stores that the rules are tested on."""

import random
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis import Redis

from bridge.settlement.redis import RedisStore
from bridge.settlement.sqlite import SqliteStore
from bridge.settlement.store import Store
from tests.support.redis_server import needs_redis, redis_server

PATIENCE_S = 60.0

STORES = ["sqlite", pytest.param("redis", marks=needs_redis)]


@pytest.fixture(autouse=True)
def _patient() -> Iterator[None]:
    """Let the stores wait for as long as a busy machine may need: a test of a limit sets that limit itself."""
    with pytest.MonkeyPatch.context() as patch:
        for limit in ("redis.store.TIMEOUT_S", "redis.store.CONNECT_TIMEOUT_S"):
            patch.setattr(f"bridge.settlement.{limit}", PATIENCE_S)
        for limit in ("sqlite.database.TIMEOUT_S", "sqlite.database.BUSY_S"):
            patch.setattr(f"bridge.settlement.{limit}", PATIENCE_S)
        yield


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Draw the same delays in every run."""
    random.seed(7)


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
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "settlement.db")
    url: str = request.getfixturevalue("redis_url")
    with Redis.from_url(url) as client:
        client.flushall()
    return RedisStore(url)
