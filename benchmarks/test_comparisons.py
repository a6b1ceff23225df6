"""Comparisons of the benchmark, as far as they are pure: with other commits, and of scheduling policies."""

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import against, policy_table
from benchmarks.against import Commit, RefError
from benchmarks.contestants import BRIDGE, BY_NAME, FLOOR, NATIVE, OURS, Placement, environment_for, has_setting
from benchmarks.figures import Policies, PolicyRound
from benchmarks.forms import Form
from benchmarks.test_benchmark import costing

ROOT = Path(__file__).parents[1]
HERE = Commit("HEAD", ROOT)
ROUND = PolicyRound(
    row="bridge",
    situation="one core",
    policy="other",
    cpu_us=400,
    calls_per_s=2000,
    third_cpu_us=500,
    third_p50_ms=1,
    third_p99_ms=2,
    errors=0,
)


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder, without the name of its user; return what it prints."""
    author = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *author, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 - wherever it is


@pytest.fixture(name="repository")
def _repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with two commits, whose lock of packages is one and the same, in the place of ours.

    What the last commits of ours have changed, and who else works in it now, is no matter of these tests.
    """
    for name in [name for name in os.environ if name.startswith("GIT_")]:  # as a hook of git sets them
        monkeypatch.delenv(name)
    git(tmp_path, "init", "--quiet")
    (tmp_path / against.LOCK.parent).mkdir()
    (tmp_path / against.LOCK).touch()
    for text in ("older", "newer"):
        (tmp_path / "bridge.py").write_text(text)
        git(tmp_path, "add", "--all")
        git(tmp_path, "commit", "--quiet", "--message", text)
    monkeypatch.setattr(against, "ROOT", tmp_path)
    return tmp_path


def test_a_commit_is_checked_out_and_goes(repository: Path) -> None:
    """Two commits stand side by side as they were, and nothing of them is left at the end, in git neither."""
    with against.checked_out(["HEAD", "HEAD~1"]) as commits:
        folders = [commit.folder for commit in commits]
        assert [commit.ref for commit in commits] == ["HEAD", "HEAD~1"]
        assert [(folder / "bridge.py").read_text() for folder in folders] == ["newer", "older"]
        assert len(git(repository, "worktree", "list").splitlines()) == 3
    assert not any(folder.exists() for folder in folders)
    assert len(git(repository, "worktree", "list").splitlines()) == 1


@pytest.mark.usefixtures("repository")
def test_an_unknown_commit_is_refused() -> None:
    """A name that is no commit ends in git's own line, and commits that were checked out before it are removed."""
    folders = []
    with pytest.raises(RefError, match="no-such-commit"), against.checked_out(["no-such-commit"]) as commits:
        folders += [commit.folder for commit in commits]
    assert not folders


def test_rows_of_a_commit() -> None:
    """Each of our rows is beside itself as the commit has it, with its settings; others do not change with a commit."""
    rows = against.rows_of([HERE], [BY_NAME[FLOOR], *OURS])
    assert [row.name for row in rows] == [BRIDGE, f"{BRIDGE} at HEAD", NATIVE, f"{NATIVE} at HEAD"]
    assert [row.source for row in rows] == [None, ROOT, None, ROOT]
    assert rows[2].settings == rows[3].settings
    # Commits cannot be compiled: here it is the same form.
    assert {row.form for row in rows} == {Form.PURE}


def test_table_has_the_ratio_of_the_same_rounds() -> None:
    """This work tree's cost in a commit's, and that in the row above's: what slows a whole round down does not show."""
    costs = {"": (110, 220, 330), " at A": (100, 200, 200), " at B": (50, 200, 100)}
    measured = {f"{BRIDGE}{name}": costing(*each) for name, each in costs.items()}
    lines = against.table(measured, [Commit("A", ROOT), Commit("B", ROOT)]).splitlines()
    assert [re.split(r"  +", line)[-2:] for line in lines[2:]] == [
        ["1.10 (1.10-1.65)", "0.91 (0.61-0.91)"],
        ["2.20 (1.10-3.30)", "0.50 (0.50-1.00)"],
    ]


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("SERVER__SCHEDULING", True),
        ("WALLET__RETRY_UNKNOWN", True),
        ("SERVER__NO_SUCH", False),
        ("SERVER__PORTS", False),
    ],
)
def test_settings_that_a_commit_has(name: str, *, known: bool) -> None:
    """A setting is known by its field, so that one that an older bridge would refuse is left out."""
    assert has_setting(ROOT, name) == known


def test_an_older_bridge_gets_no_setting_that_it_lacks(tmp_path: Path) -> None:
    """Neither those of the row, nor those that every bridge of a test gets; all else stays."""
    (tmp_path / "bridge").mkdir()
    (tmp_path / "bridge" / "settings.py").write_text("class Server:\n    listen: str\n")
    given = {"SERVER__LISTEN": "127.0.0.1:0", "SERVER__SCHEDULING": "batch"}
    here, older = (environment_for(source, "http://127.0.0.1:1", given) for source in (None, tmp_path))
    assert [name for name in older if name.startswith("BRIDGE_SERVER__")] == ["BRIDGE_SERVER__LISTEN"]
    assert {name for name in here if "SERVER__" not in name} == {name for name in older if "SERVER__" not in name}
    assert "BRIDGE_SERVER__SCHEDULING" in here


def test_a_row_is_placed() -> None:
    """Every row is started by the same command: its policy first, then its cores, which all it starts inherit."""
    command = Placement(frozenset({2, 0}), "batch").command
    assert command == ("chrt", "--batch", "0", "taskset", "--cpu-list", "0,2")
    assert Placement(frozenset({0}), "other").command[1] == "--other"


def test_policy_table() -> None:
    """The ratio is of rounds that took turns; a case that failed shows its errors."""
    rounds = [
        *(replace(ROUND, cpu_us=cost) for cost in (400, 800)),
        *(replace(ROUND, policy="batch", cpu_us=cost, errors=1) for cost in (200, 600)),
    ]
    text = policy_table.policies_text(Policies("2026-01-01", 0.1, "3.11, built with PGO and LTO", rounds))
    *_, other, batch = text.splitlines()
    assert "load average 0.1 before it; Python 3.11, built with PGO and LTO" in text
    assert other.split(" | ")[2:5] == ["other", "600", "1"]
    assert batch.split(" | ")[2:5] == ["batch", "400", "0.62 (0.50-0.75)"]
    assert batch.endswith("| 2 |")


def test_nothing_measured_is_no_table() -> None:
    """A run without this part leaves its place empty."""
    assert policy_table.policies_text(None) == ""
