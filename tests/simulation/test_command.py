"""`make simulate`: what it prints while it runs and at its end."""

import pytest

from tests.simulation import __main__ as command
from tests.simulation.search import Failure

TWO = ("--processes", "2")


def test_seeds_that_hold(capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with 0 and says how many seeds hold."""
    assert command.main(("--seeds", "68", "--kind", "drain", *TWO)) == 0
    assert "4 seeds, nothing violated" in capsys.readouterr().out


def test_seeds_that_fail(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command ends with 1 and shows the lowest seed that fails, whichever process is through first."""

    def fails(seed: int) -> Failure | None:
        return Failure(seed, [], 0, []) if seed in {120, 121, 300} else None

    monkeypatch.setattr(command, "check", fails)
    assert command.main(("--seeds", "400", *TWO)) == 1
    assert "reproduce it with: make simulate SEED=120\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("done", "seeds", "took_s", "line"),
    [
        (25, 10_000, 10.0, "25 of 10000 seeds, 2.5 a second, 0:10 gone, about 66:30 left"),
        (9_975, 10_000, 3_990.0, "9975 of 10000 seeds, 2.5 a second, 66:30 gone, about 0:10 left"),
        (50, 50, 5.0, "50 of 50 seeds, 10.0 a second, 0:05 gone, about 0:00 left"),
    ],
)
def test_progress(done: int, seeds: int, took_s: float, line: str) -> None:
    """The estimate takes the rate so far for the rest."""
    assert command.progress(done, seeds, took_s) == line
