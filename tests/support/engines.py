"""Which engine carries gRPC for the bridges of a test: both, one after the other, where a test module says so."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bridge.server.engine import ENGINES

on_both_engines = pytest.mark.usefixtures("engine")
"""For whole modules: `pytestmark = on_both_engines`."""

on_grpcio = pytest.mark.parametrize("engine", ["grpcio"], indirect=True)
"""For a test, in such a module, of what the other engine has not."""

NAMES = tuple(ENGINES)


_chosen = [NAMES[0]]


def current() -> str:
    """Return the engine that bridges are to have now."""
    return _chosen[-1]


@contextmanager
def served_by(name: str) -> Iterator[None]:
    """Give bridges this engine for a while."""
    _chosen.append(name)
    try:
        yield
    finally:
        _chosen.pop()
