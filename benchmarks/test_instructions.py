"""`make bench-instructions`, as far as it is pure: reading counts, ratios, targets and tables."""

import argparse
import re
from pathlib import Path

import pytest

from benchmarks import callgrind, full_batches, instructions
from benchmarks.callgrind import CountError
from benchmarks.contestants import BRIDGE, BY_NAME, FLOOR, NATIVE, Placement
from benchmarks.forms import Form
from benchmarks.instruction_report import (
    figure,
    ratio,
    report_rows,
    report_settlement,
    row_table,
    row_verdicts,
    settlement_table,
    settlement_verdicts,
    shown,
)
from bridge.settings import file_watch
from bridge.settlement import intake, keeper, settler, writer

ROWS = [BY_NAME[name] for name in (FLOOR, BRIDGE, NATIVE)]
COUNTS = {
    FLOOR: [300_000.0, 310_000.0, 290_000.0],
    BRIDGE: [800_000.0, 810_000.0, 790_000.0],
    f"{BRIDGE} at A": [800_000.0, 780_000.0, 820_000.0],
    NATIVE: [520_000.0, 520_000.0, 520_000.0],
    f"{NATIVE} at A": [500_000.0, 500_000.0, 500_000.0],
}
SETTLEMENT = {
    "grpcio: off": [800_000.0, 810_000.0, 790_000.0],
    "grpcio: unknown": [816_000.0, 816_000.0, 820_000.0],
    "grpcio: before, SQLite": [921_000.0, 921_000.0, 921_000.0],
    "native: off": [500_000.0],
    "native: before, SQLite": [900_000.0],
}
ENGINES = {
    "grpcio": ["grpcio: off", "grpcio: unknown", "grpcio: before, SQLite"],
    "native": ["native: off", "native: before, SQLite"],
}


def cells(line: str) -> list[str]:
    """Return the cells of a line of a table."""
    return re.split(r"  +", line.strip())


def test_a_count_is_read(tmp_path: Path) -> None:
    """Of a file that callgrind has written, with names in any encoding, the whole is what its last lines say."""
    file = tmp_path / "callgrind.out"
    file.write_bytes(b"version: 1\nevents: Ir\nsummary: 123456\n\nfn=(1) \xff\n7 99\n\ntotals: 123456\n")
    assert callgrind.counted(file) == 123_456


@pytest.mark.parametrize(
    ("content", "cause"),
    [(None, "empty"), (b"", "empty"), (b"events: Ir\nfn=(1) main\n", "incomplete"), (b"totals: 0\n", "incomplete")],
    ids=["no file", "empty", "cut off", "nothing counted"],
)
def test_a_missing_count_is_an_error(tmp_path: Path, content: bytes | None, cause: str) -> None:
    """A process that was killed, or never counted, gives no figure of 0 but one line with its cause."""
    file = tmp_path / "callgrind.out"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CountError, match=cause):
        callgrind.counted(file)


def test_a_row_runs_under_callgrind() -> None:
    """Place and policy come first, then callgrind with counting off, then the row's own command."""
    command = Placement(frozenset({0, 1}), "other", callgrind.command(Path("out"))).command
    assert command[:6] == ("chrt", "--other", "0", "taskset", "--cpu-list", "0,1")
    assert command[7:] == ("--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=out")


def test_ratio_is_of_medians_with_all_that_runs_allow() -> None:
    """A row that is dearer than another by less than their runs lie apart shows it: the least ratio is below 1."""
    found = ratio([100.0, 103.0, 106.0], [99.0, 100.0, 104.0])
    assert shown(found) == "1.030 (0.962-1.071)"
    assert figure([980.0, 1000.0, 1030.0]) == ("1,000", "5.0%")


def test_rows_beside_their_floor_and_another_commit() -> None:
    """Each of ours has the cost of its floor where that was counted, and its cost in the other commit's."""
    lines = row_table(COUNTS, ROWS, ["A"]).splitlines()
    assert [cells(line)[0] for line in lines[1:]] == [FLOOR, BRIDGE, f"{BRIDGE} at A", NATIVE, f"{NATIVE} at A"]
    assert cells(lines[1])[3:] == ["-", "-"]
    assert cells(lines[2])[3:] == ["2.67", "-"]
    assert cells(lines[3])[3:] == ["2.67", "1.000 (0.963-1.038)"]
    # The native floor was not counted.
    assert cells(lines[5])[3:] == ["-", "1.040 (1.040-1.040)"]


def test_the_compiled_form_is_beside_the_pure_one() -> None:
    """Where it was counted it has a row below those of its engine: what the pure form costs in it, and no target."""
    found = {**COUNTS, f"{BRIDGE}, compiled": [COUNTS[BRIDGE][0] / 2]}
    lines = row_table(found, ROWS, ["A"]).splitlines()
    assert [cells(line)[0] for line in lines[2:5]] == [BRIDGE, f"{BRIDGE} at A", f"{BRIDGE}, compiled"]
    assert cells(lines[4])[-1].startswith("2.")
    assert [each.what for each in row_verdicts(found, ROWS, [])] == []


@pytest.mark.parametrize(("name", "is_ours"), [(BRIDGE, True), (NATIVE, True), (FLOOR, False)])
def test_only_a_bridge_is_compiled(name: str, *, is_ours: bool) -> None:
    """With --compiled each of our rows is counted in that form too, all else as it is; without it no row is added."""
    row, wanted = BY_NAME[name], argparse.Namespace(compiled=True)
    added = instructions.compiled(row, wanted)
    assert [(each.name, each.form) for each in added] == ([(f"{name}, compiled", Form.COMPILED)] if is_ours else [])
    assert instructions.compiled(row, argparse.Namespace(compiled=False)) == []


def test_targets_of_rows() -> None:
    """Three percent more than the other commit is allowed: 0 % is ok, 4 % is missed; floors have no target."""
    verdicts = row_verdicts(COUNTS, ROWS, ["A"])
    assert [each.what for each in verdicts] == [f"{BRIDGE} / {BRIDGE} at A", f"{NATIVE} / {NATIVE} at A"]
    assert [each.is_reached for each in verdicts] == [True, False]
    assert str(verdicts[1]).startswith("MISSED")
    assert not report_rows(COUNTS, ROWS, ["A"])
    assert report_rows(COUNTS, ROWS, [])


def test_targets_of_settlement() -> None:
    """At most 2 % for "unknown" and 15 % for "before", on grpcio alone: the native engine has no target."""
    verdicts = {each.what: each.is_reached for each in settlement_verdicts(SETTLEMENT)}
    assert verdicts == {
        "grpcio: unknown / grpcio: off": True,
        "grpcio: before, SQLite / grpcio: off": False,
    }
    assert not report_settlement(SETTLEMENT, ENGINES)


def test_table_of_settlement() -> None:
    """Each row is beside the bridge without settlement on the same engine."""
    lines = settlement_table(SETTLEMENT, ENGINES).splitlines()
    assert [cells(line)[-1] for line in lines[1:]] == ["0", "16,000", "121,000", "0", "400,000"]
    assert cells(lines[5])[3] == "1.800 (1.800-1.800)"


def test_transactions_are_as_large_as_at_full_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction begins by its number of writes, and nothing that only passes time is left to begin one."""
    for module, names in {
        writer: ("BATCH_MAX", "GAP_S", "ENDS_WAIT_S"),
        intake: ("WAIT_S",),
        settler: ("POLL_S",),
        keeper: ("LOOK_S",),
        file_watch: ("INTERVAL_S",),
    }.items():
        for name in names:
            monkeypatch.setattr(module, name, getattr(module, name))
    expected = full_batches.writes_of_batch(writer.GAP_S)
    full_batches.fill_batches()
    assert writer.BATCH_MAX == expected == 39
    assert intake.WAIT_S > writer.GAP_S >= 5.0
    # With fewer calls in flight than a transaction's writes none would ever be full.
    assert instructions.IN_FLIGHT > writer.BATCH_MAX


def test_what_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without valgrind nothing is measured: one line that says how to get it, and exit code 2."""
    monkeypatch.setattr(callgrind, "VALGRIND", None)
    assert instructions.main([]) == 2
    error = capsys.readouterr().err
    assert error.startswith("bench-instructions: valgrind is not installed")
    assert error.count("\n") == 1
