"""What a change costs: the bridge of this work tree and those of other commits, in turns in one run.

    make bench AGAINST=REF
    python -m benchmarks.bench --against REF [REF...]

Each commit is checked out as a git work tree of its own in a temporary folder. All bridges are in pure Python, also the
one here: older commits cannot be compiled. Where its lock of packages is not
the one here, those of its lock are installed beside it, and stand before the environment's. Every row is under the same
scheduling policy and Python. A setting that a commit does not have is left out for it.
"""

import dataclasses
import hashlib
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cells import Cells, plain
from benchmarks.contestants import OURS, Row, pure
from benchmarks.figures import Round, cost_ratio
from benchmarks.procfs import Cores
from benchmarks.scene import Effort, a_scene
from benchmarks.side_by_side import measure_rounds, say

ROOT = Path(__file__).parents[1]


LOCK = Path("requirements", "run.txt")


class RefError(Exception):
    """A commit that cannot be checked out or installed, in the words of git or pip."""


async def measure_against(cores: Cores, effort: Effort, rows: Sequence[Row], refs: Sequence[str]) -> int:
    """Measure our rows here and in these commits, and print the table; return 1 where a call failed.

    Raise RefError, or StartError where a commit's bridge does not run.
    """
    with checked_out(refs) as commits:
        async with a_scene(cores, effort) as scene:
            measured = await measure_rounds(scene, rows_of(commits, rows))
    say(f"\n{table(measured, commits, rows)}\n\nratios are of CPU time, round by round: median (least-most)")
    return int(any(one.errors for rounds in measured.values() for one in rounds))


@dataclasses.dataclass(frozen=True)
class Commit:
    """A commit and where it is checked out."""

    ref: str
    """As it was given."""
    folder: Path
    packages: Path | None = None
    """Where those of its lock are; None: the lock is the one here."""


@contextmanager
def checked_out(refs: Sequence[str]) -> Iterator[Sequence[Commit]]:
    """Check these commits out, each in a work tree of its own, until the context ends. Raise RefError."""
    with TemporaryDirectory(prefix="bridge-against-") as name, ExitStack() as trees:
        yield [trees.enter_context(_work_tree(ref, Path(name) / str(number))) for number, ref in enumerate(refs)]


@contextmanager
def _work_tree(ref: str, folder: Path) -> Iterator[Commit]:
    _git("worktree", "add", "--quiet", "--detach", str(folder), ref)
    try:
        yield Commit(ref, folder, _packages(folder))
    finally:
        _git("worktree", "remove", "--force", str(folder))


def _packages(folder: Path) -> Path | None:
    lock = folder / LOCK
    if not lock.exists() or lock.read_bytes() == (ROOT / LOCK).read_bytes():
        return None
    # Commits with the same lock share them.
    target = folder.parent / hashlib.sha256(lock.read_bytes()).hexdigest()
    if target.exists():
        return target
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet")
    _run(*pip, "--require-hashes", "--target", str(target), "--requirement", str(lock))
    return target


def _git(*arguments: str) -> None:
    _run("git", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    if done.returncode:
        raise RefError(done.stderr.strip())


def rows_of(commits: Sequence[Commit], rows: Sequence[Row] = OURS) -> list[Row]:
    """Return each of our rows as it is here, and beside it as it was in each commit."""
    ours = [pure(row) for row in rows if row.is_ours]
    return [each for row in ours for each in (row, *(_as_of(row, commit) for commit in commits))]


def _as_of(row: Row, commit: Commit) -> Row:
    return dataclasses.replace(row, name=name_at(row, commit.ref), source=commit.folder, packages=commit.packages)


def name_at(row: Row, ref: str) -> str:
    """Return the name of one of our rows as it was in a commit."""
    return f"{row.name} at {ref}"


def table(measured: Mapping[str, Sequence[Round]], commits: Sequence[Commit], rows: Sequence[Row] = OURS) -> str:
    """Return what each row costs; this work tree's cost in each commit's, and a commit's in that of the row above it.

    So a commit after its parent (REF~1 REF) shows what it costs by itself. Ratios are round by round.
    """
    head = ("row", "CPU us/call", "calls/s", "p99 ms", "errors", "memory MB", "here / there", "/ row above")
    return plain([head, *(line for row in rows if row.name in measured for line in _lines(row, measured, commits))])


def _lines(row: Row, measured: Mapping[str, Sequence[Round]], commits: Sequence[Commit]) -> Iterator[Cells]:
    here = above = measured[row.name]
    yield (*_cells(row.name, here), "1", "-")
    for commit in commits:
        there = measured[name_at(row, commit.ref)]
        yield (*_cells(name_at(row, commit.ref), there), str(cost_ratio(here, there)), str(cost_ratio(there, above)))
        above = there


def _cells(name: str, rounds: Sequence[Round]) -> Cells:
    def median(figure: str) -> float:
        return float(statistics.median(getattr(one, figure) for one in rounds))

    errors = f"{sum(one.errors for one in rounds)} of {sum(one.calls for one in rounds)}"
    return (
        *(name, f"{median('cpu_us'):.0f}", f"{median('calls_per_s'):.0f}", f"{median('p99_ms'):.1f}"),
        *(errors, f"{median('memory_mb'):.0f}"),
    )
