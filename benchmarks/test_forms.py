"""The forms of the bridge that are measured: what a row imports, what is said where a form is missing, their table."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import forms
from benchmarks.bench import PARTS, main
from benchmarks.contestants import BY_NAME, OURS, ROWS, pure
from benchmarks.figures import FormRounds, Results
from benchmarks.form_table import forms_text
from benchmarks.forms import Form
from benchmarks.tables import row_table
from benchmarks.test_benchmark import ROUND

WHERE = "import bridge; print(bridge.__file__)"


@pytest.fixture(name="packages")
def _packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with what stands for the bridge with compiled modules."""
    packages = tmp_path / "packages"
    shutil.copytree(forms.ROOT / "bridge", packages / "bridge", ignore=shutil.ignore_patterns("__pycache__"))
    (packages / "wallet_bridge__mypyc.so").touch()
    monkeypatch.setattr(forms, "PACKAGES", packages)
    return packages


@pytest.mark.parametrize("form", Form)
def test_a_row_imports_its_form(packages: Path, form: Form) -> None:
    """Started in the repository's root, where the sources are, a bridge is imported from where its form is."""
    environ = {**os.environ, **forms.variables(form)}
    command = (sys.executable, "-c", WHERE)
    printed = subprocess.run(command, cwd=forms.ROOT, env=environ, capture_output=True, text=True, check=True).stdout  # noqa: S603 - ours
    assert Path(printed.strip()).parents[1] == (packages if form is Form.COMPILED else forms.ROOT)


def nothing(packages: Path) -> None:
    """Leave all as it is."""


def no_libraries(packages: Path) -> None:
    """Have an installation that is not compiled."""
    (packages / "wallet_bridge__mypyc.so").unlink()


def older(packages: Path) -> None:
    """Have an installation of other sources."""
    (packages / "bridge" / "service.py").write_text("older")


def smaller(packages: Path) -> None:
    """Have an installation that lacks a module."""
    (packages / "bridge" / "outcome.py").unlink()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (nothing, ""),
        (no_libraries, "is not in"),
        (older, f"is of another {Path('bridge', 'service.py')}"),
        (smaller, f"is of another {Path('bridge', 'outcome.py')}"),
    ],
)
def test_what_is_missing(packages: Path, change: Callable[[Path], None], text: str) -> None:
    """The compiled form counts where it is there and of these sources; else a line says what differs, what to do."""
    change(packages)
    said = forms.missing([Form.COMPILED])
    assert text in said
    assert said.count("compiled_environment.py") == (1 if text else 0)
    assert forms.missing([Form.PURE]) == ""


def test_the_bench_does_not_measure_another_form(packages: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the compiled form is not there nothing is measured, in whatever form: one line, and exit code 2."""
    no_libraries(packages)
    assert main(["--quick"]) == 2
    assert "the bridge with compiled modules is not in" in capsys.readouterr().err


def test_ours_are_in_the_form_that_is_published() -> None:
    """Our rows are compiled, and nothing else is; where they must be pure, all but the form is the same."""
    assert {row.name for row in ROWS if row.form is Form.COMPILED} == {row.name for row in OURS}
    assert all(pure(row) == replace(row, form=Form.PURE) for row in OURS)
    assert "forms" in PARTS


def test_the_table_says_which_form() -> None:
    """Each of our rows has its form beside its name, others a dash."""
    rounds = {name: [ROUND] for name in BY_NAME}
    results = Results("2026-01-01", "a machine", 0.1, {}, rounds, {}, {}, None, "batch", None, form="compiled")
    found = {tuple(filter(None, line.split("  ")))[:2] for line in row_table(results).splitlines()[1:]}
    printed = {(name.strip(), form.strip()) for name, form in found}
    assert printed == {(row.name, "compiled" if row in OURS else "-") for row in ROWS}


def test_table_of_forms() -> None:
    """The ratio is of rounds that took turns: what slows a whole round down does not show."""
    by_form = {
        "pure": [replace(ROUND, cpu_us=cost) for cost in (400, 800, 1000)],
        "compiled": [replace(ROUND, cpu_us=cost, wrong=1) for cost in (200, 600, 900)],
    }
    text = forms_text(FormRounds("2026-01-01", 0.1, "3.11, built with PGO and LTO", {"bridge": by_form}))
    *_, first, second = text.splitlines()
    assert "load average 0.1 before it; Python 3.11, built with PGO and LTO" in text
    assert first.split(" | ")[1:4] == ["pure", "800", "1.00 (1.00-1.00)"]
    assert second.split(" | ")[1:4] == ["compiled", "600", "0.75 (0.50-0.90)"]
    assert second.endswith("| 3 of 300 |")


def test_nothing_measured_is_said() -> None:
    """A run without this part says so in its place."""
    assert forms_text(None) == "Not measured yet."
