"""Results that outlive a run, so that docs/interop.md can be put together from runs of some servers at a time."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from tests.interop.installed import TOOLS
from tests.interop.matrix import Line, Matrix
from tests.interop.tally import Tally

FILE = TOOLS / "results.json"


def merge(matrix: Matrix, file: Path = FILE) -> Matrix:
    """Add a run's results to those of earlier runs, in place of what these say about the same servers; return all."""
    before = _read(file)
    renewed = {(line.server, line.transport) for line in matrix.lines}
    lines = [line for line in before.lines if (line.server, line.transport) not in renewed] + matrix.lines
    merged = Matrix(lines, before.versions | matrix.versions, dict(matrix.missing))
    merged.missing |= {name: why for name, why in before.missing.items() if name not in matrix.versions}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(dataclasses.asdict(merged), indent=1), encoding="utf-8")
    return merged


def _read(file: Path) -> Matrix:
    if not file.exists():
        return Matrix()
    stored = json.loads(file.read_text(encoding="utf-8"))
    return Matrix([_line(**each) for each in stored["lines"]], stored["versions"], stored["missing"])


def _line(*, tally: dict[str, Any] | None, **rest: Any) -> Line:
    return Line(tally=Tally(**tally) if tally else None, **rest)
