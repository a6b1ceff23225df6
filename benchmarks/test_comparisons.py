"""Comparisons of the benchmark, as far as they are pure: with other commits, and of scheduling policies."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import against, policy_table
from benchmarks.against import Commit, RefError
from benchmarks.contestants import BRIDGE, BY_NAME, FLOOR, NATIVE, OURS, Placement, environment_for, has_setting
from benchmarks.figures import Policies, PolicyRound
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
needs_git = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="commits are known in a git checkout only")


@needs_git
def test_a_commit_is_checked_out_and_goes() -> None:
    """Two commits stand side by side with their bridge and stubs, git knows of them, and nothing is left at the end."""
    with against.checked_out(["HEAD", "HEAD~1"]) as commits:
        folders = [commit.folder for commit in commits]
        assert [commit.ref for commit in commits] == ["HEAD", "HEAD~1"]
        assert len({*folders}) == 2
        for folder in folders:
            assert (folder / "bridge" / "__main__.py").exists()
            assert (folder / "generated" / "python" / "wallet").is_dir()
    assert not any(folder.exists() for folder in folders)


@needs_git
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
