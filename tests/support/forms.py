"""The form of the bridge that tests run against: its sources, or the compiled modules (`make test-compiled`)."""

import os

import pytest

from compiled_environment import FORM

IS_COMPILED = os.environ.get(FORM) == "compiled"

NEEDS_SOURCES = pytest.mark.skipif(
    IS_COMPILED, reason="it replaces a method; compiled code calls its own methods directly"
)
