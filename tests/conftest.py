"""What all tests share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

import engines

# No deadline for an example: a busy machine is no bug, and timed assertions are not among our proofs.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture(name="engine", params=engines.NAMES)
def _engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the bridges of a test each engine in turn."""
    with engines.served_by(request.param):
        yield request.param
