"""What all tests share."""

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.support import engines

# No time limit for an example or for making it: a busy machine is no bug, and our proofs have no timed assertions.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Say how many processes run the tests: three for two cores, because tests wait for much of their time."""
    return max(1, (os.cpu_count() or 1) * 3 // 2)


def pytest_collection_finish() -> None:
    """Let the garbage collector overlook what all modules and thousands of tests consist of, as it stays to the end.

    Many tests collect garbage to see what is left; each time it took longer than the rest of such a test.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(name="engine", params=engines.NAMES)
def _engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the bridges of a test each engine in turn."""
    with engines.served_by(request.param):
        yield request.param
