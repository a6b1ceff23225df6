"""Tables and targets of `make bench-instructions`."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.against import name_at
from benchmarks.cells import Cells, plain
from benchmarks.contestants import FLOOR, NATIVE, NATIVE_FLOOR, Row
from benchmarks.figures import Spread, spread
from benchmarks.settlement_cost import OFF, TARGETS
from benchmarks.side_by_side import say
from benchmarks.targets import Verdict

AGAINST_MAX = 1.03
"""Most that a call may cost here, in instructions of the same call at another commit."""
FLOORS = {NATIVE: NATIVE_FLOOR}
"""The floor of each row; of the others FLOOR."""
LIMITED = "grpcio"
"""The engine whose settlement has targets (docs/design/settlement.md)."""
NOT_COUNTED = "user space only: what the kernel does (fsync, sockets, futexes) is not counted"

Counts = Mapping[str, Sequence[float]]
"""Instructions of a call by the row's name, one for each round."""


def compiled_name(row: Row) -> str:
    """Return the name of one of our rows with compiled modules."""
    return f"{row.name}, compiled"


def ratio(counts: Sequence[float], others: Sequence[float]) -> Spread:
    """Return the ratio of two rows: of their medians, and the least and most that any two of their runs give."""
    return Spread(
        statistics.median(counts) / statistics.median(others),
        min(counts) / max(others),
        max(counts) / min(others),
    )


def figure(counts: Sequence[float]) -> tuple[str, str]:
    """Return a row's median, and how far its runs lie apart."""
    found = spread(counts)
    return f"{found.median:,.0f}", f"{(found.most - found.least) / found.median:.1%}"


def shown(found: Spread) -> str:
    """Return a ratio with three digits, since its targets have two."""
    return f"{found.median:.3f} ({found.least:.3f}-{found.most:.3f})"


# --- rows -------------------------------------------------------------------------------------------------------------


def row_table(found: Counts, rows: Sequence[Row], refs: Sequence[str]) -> str:
    """Return what each row costs, in its floor, and this work tree's cost in each other one's."""
    head = ("row", "instructions/call", "runs apart", "/ floor", "here / there")
    return plain([head, *(line for row in rows for line in _row_lines(found, row, refs))])


def _row_lines(found: Counts, row: Row, refs: Sequence[str]) -> Iterator[Cells]:
    floor = found.get(FLOORS.get(row.name, FLOOR))
    for name in (row.name, *(name_at(row, ref) for ref in refs), compiled_name(row)):
        if name in found:
            beside = f"{ratio(found[name], floor).median:.2f}" if floor and row.is_ours else "-"
            there = "-" if name == row.name else shown(ratio(found[row.name], found[name]))
            yield (name, *figure(found[name]), beside, there)


def row_verdicts(found: Counts, rows: Sequence[Row], refs: Sequence[str]) -> list[Verdict]:
    """Return for each row and commit whether the row costs little more than there."""
    return [
        _verdict(f"{row.name} / {name_at(row, ref)}", ratio(found[row.name], found[name_at(row, ref)]), AGAINST_MAX)
        for row in rows
        for ref in refs
        if row.is_ours
    ]


def report_rows(found: Counts, rows: Sequence[Row], refs: Sequence[str]) -> bool:
    """Print the table and the targets; return whether all are reached."""
    return _report(row_table(found, rows, refs), row_verdicts(found, rows, refs))


# --- settlement -------------------------------------------------------------------------------------------------------


def settlement_table(found: Counts, engines: Mapping[str, Sequence[str]]) -> str:
    """Return what settlement costs a call on each engine, in the cost without it."""
    head = ("settlement", "instructions/call", "runs apart", "/ off", "more")
    return plain(
        [head, *(line for engine, names in engines.items() for line in _settlement_lines(found, engine, names))]
    )


def _settlement_lines(found: Counts, engine: str, names: Sequence[str]) -> Iterator[Cells]:
    off = found[f"{engine}: {OFF}"]
    for name in names:
        more = statistics.median(found[name]) - statistics.median(off)
        yield (name, *figure(found[name]), shown(ratio(found[name], off)), f"{more:,.0f}")


def settlement_verdicts(found: Counts) -> list[Verdict]:
    """Return for each kind of settlement with a target whether it is reached."""
    names = {f"{LIMITED}: {kind}": limit for kind, limit in TARGETS.items()}
    off = f"{LIMITED}: {OFF}"
    return [
        _verdict(f"{name} / {off}", ratio(found[name], found[off]), limit)
        for name, limit in names.items()
        if name in found
    ]


def report_settlement(found: Counts, engines: Mapping[str, Sequence[str]]) -> bool:
    """Print the table and the targets; return whether all are reached."""
    return _report(settlement_table(found, engines), settlement_verdicts(found))


def _verdict(what: str, found: Spread, limit: float) -> Verdict:
    return Verdict(what, shown(found), f"at most {limit:.2f}", found.median <= limit)


def _report(table: str, verdicts: Sequence[Verdict]) -> bool:
    say(f"\n{table}\n\n{NOT_COUNTED}; ratios are of medians (least-most of any two runs)")
    for verdict in verdicts:
        say(str(verdict))
    return all(verdict.is_reached for verdict in verdicts)
