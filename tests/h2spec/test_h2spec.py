"""The table of what h2spec finds wrong: complete, and with a reason for each. `make h2spec` runs it."""

import pytest

from tests.h2spec.run import expected
from tests.support.engines import NAMES


@pytest.mark.parametrize("engine", NAMES)
def test_every_failure_has_its_reason(engine: str) -> None:
    """No test is listed without a sentence that says why its failure is right or does no harm."""
    assert expected(engine)
    assert all(len(reason.split()) > 10 for reason in expected(engine).values())
