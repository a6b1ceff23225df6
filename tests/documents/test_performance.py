"""docs/performance.md has what was measured: its parts are what its figures give, its rows those of the code."""

import pytest

from benchmarks import document, instrumented, steps
from benchmarks.contestants import OURS, ROWS
from benchmarks.document import DOCUMENT, PLOT

TEXT = DOCUMENT.read_text(encoding="utf-8")


def test_rows_are_those_of_the_code() -> None:
    """Every row was measured, and no other; scaling for every bridge."""
    saved = document.saved()
    assert list(saved.rounds) == list(saved.curves) == [row.name for row in ROWS]
    assert list(saved.scaling) == [row.name for row in OURS]


def test_steps_are_those_of_the_code() -> None:
    """The profile has every step that has a timer, then the rest."""
    profile = document.saved().profile
    assert profile is not None
    assert [step.name for step in profile.steps] == [*(hook.step for hook in instrumented.HOOKS), steps.REST]


@pytest.mark.parametrize("part", document.parts(document.saved()))
def test_parts_are_as_measured(part: str) -> None:
    """What stands between the markers is what the figures give, to the letter."""
    assert document.rendered(TEXT, {part: document.parts(document.saved())[part]}) == TEXT


def test_plot() -> None:
    """The plot is there, and has every row in its legend."""
    plot = PLOT.read_text(encoding="utf-8")
    assert PLOT.name in TEXT
    assert all(f">{row.name}</text>" in plot for row in ROWS)
