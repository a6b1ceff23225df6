"""The table of test tokens, looked up and printed."""

from collections.abc import Sequence

from bridge.sandbox.rows import ROWS, TIMED_TOKEN, TokenRow

_BY_TOKEN = {row.token: row for row in ROWS}


def find_row(token: str) -> TokenRow | None:
    """Return the row of a token; None for one that is no test token."""
    match = TIMED_TOKEN.fullmatch(token)
    return _BY_TOKEN.get(f"{match[1]}-<ms>" if match else token)


HEADINGS = ("token", "the caller sees", "reason", "outcome", "the sandbox answers")


def cells(row: TokenRow) -> tuple[str, ...]:
    """Return a row as texts, one for each of HEADINGS."""
    return row.token, row.seen.grpc_code, row.seen.reason, row.seen.outcome, row.does


def plain_text(rows: Sequence[TokenRow] = ROWS) -> str:
    """Return the table for a terminal: one line a token, columns aligned, no newline at the end."""
    lines = [HEADINGS, *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(rows: Sequence[TokenRow] = ROWS) -> str:
    """Return the table for docs/sandbox.md: GitHub's Markdown, no newline at the end."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *((f"`{row.token}`", *cells(row)[1:]) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
