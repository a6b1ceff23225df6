"""The mark `short`: the cases that it does not name are `long`, and it names no case that is not there."""

import pytest

from tests.support.short_form import mark_other_cases

pytest_plugins = ["pytester"]

MODULE = """
import pytest
pytestmark = pytest.mark.short("native")
pair = pytest.mark.parametrize("engine", ["grpcio", "native"])

@pair
def test_of_the_module(engine): ...

@pytest.mark.short("grpcio-two workers", "native-one")
@pytest.mark.parametrize("workers", ["one", "two", "two workers"])
@pair
def test_of_its_own(workers, engine): ...

@pytest.mark.short
@pair
def test_all(engine): ...

def test_without_cases(): ...
"""
WRONG = """
import pytest

@pytest.mark.short("grpcio", "nat")
@pytest.mark.parametrize("engine", ["grpcio", "native"])
def test_it(engine): ...
"""


def items(pytester: pytest.Pytester, module: str) -> list[pytest.Item]:
    """Collect a module's tests."""
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\nmarkers =\n  short\n  long\n")
    return pytester.getitems(module)


def test_other_cases_are_long(pytester: pytest.Pytester) -> None:
    """A part is whole between hyphens; a test's own mark counts before its module's, and none of it keeps all."""
    found = items(pytester, MODULE)
    mark_other_cases(found, are_all_collected=True)
    assert {item.name for item in found if not item.get_closest_marker("long")} == {
        "test_of_the_module[native]",
        "test_of_its_own[grpcio-two workers]",
        "test_of_its_own[native-one]",
        "test_all[grpcio]",
        "test_all[native]",
        "test_without_cases",
    }


def test_a_part_that_no_case_has(pytester: pytest.Pytester) -> None:
    """It ends the collection: a case that was renamed would leave `make test` unnoticed."""
    found = items(pytester, WRONG)
    with pytest.raises(pytest.UsageError, match=r"test_it: mark `short` names \['nat'\], which no case has$"):
        mark_other_cases(found, are_all_collected=True)


def test_cases_that_a_command_line_names(pytester: pytest.Pytester) -> None:
    """Where only some cases are collected, others are not missed."""
    found = items(pytester, WRONG)[:1]
    mark_other_cases(found, are_all_collected=False)
    assert [item.get_closest_marker("long") for item in found] == [None]
