"""Tables out of cells: in Markdown for docs/performance.md, plain for a terminal."""

from collections.abc import Sequence

Cells = Sequence[str]


def markdown(rows: Sequence[Cells]) -> str:
    """Return a table in Markdown; the first row is its head."""
    head, *rest = rows
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rest]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plain(rows: Sequence[Cells]) -> str:
    """Return a table for a terminal; the first column is aligned left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [cells[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))]
        )
        for cells in rows
    )
