"""The stores that the rules are tested on."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.settlement.sqlite import SqliteStore
from bridge.settlement.store import Store
from support.settlement_model import ModelStore


@pytest.fixture(params=["model", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Give an empty store of each kind."""
    made: Store = ModelStore(time.time) if request.param == "model" else SqliteStore(tmp_path / "settlement.db")
    await made.open()
    yield made
    await made.close()
