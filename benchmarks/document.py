"""docs/performance.md and scaling.md: a run writes performance.json, and its tables between the documents' markers."""

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from benchmarks.capacity import capacity
from benchmarks.figures import Results
from benchmarks.tables import legend, tables

DOCS = Path(__file__).parents[1] / "docs"
DOCUMENT = DOCS / "performance.md"
FIGURES = DOCS / "performance.json"
SCALING = DOCS / "scaling.md"
CAPACITY = "capacity"
"""The only part of scaling.md that a run writes."""
PLOT = DOCS / "performance.svg"


def saved() -> Results:
    """Return the figures of the last run that was written."""
    return msgspec.json.decode(FIGURES.read_bytes(), type=Results)


def write(results: Results) -> None:
    """Write the figures, and the document's tables again."""
    FIGURES.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    for document, written in ((DOCUMENT, parts(results)), (SCALING, {CAPACITY: capacity(results)})):
        document.write_text(rendered(document.read_text(encoding="utf-8"), written), encoding="utf-8")


def parts(results: Results) -> dict[str, str]:
    """Return every part of the document that is written by a run, by the name in its markers."""
    return {"legend": legend(), **tables(results)}


def rendered(text: str, written: Mapping[str, str]) -> str:
    """Return the document with these parts between their markers; raise ValueError where one has no place."""
    for name, part in written.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        pattern = f"{re.escape(begin)}.*?{re.escape(end)}"
        pieces = re.split(pattern, text, flags=re.DOTALL)
        if len(pieces) != 2:
            raise ValueError(f"the document must have exactly one {begin} with its {end}, not {len(pieces) - 1}")
        text = f"{begin}\n\n{part}\n\n{end}".join(pieces)
    return text
