"""Draws the sequence diagrams of docs/pictures/: each .txt there is the source of the .svg beside it.

    python tools/draw.py             draw all
    python tools/draw.py --check     fail where a picture is not what its source gives

A source, line by line:

    # The title
    Caller | Bridge | Wallet                 who takes part, from left to right
    Caller -> Bridge: what is sent           an arrow
    Bridge: what happens there               a note
    -- what begins here                      a line across
"""

import argparse
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"

COLUMN, MARGIN, TOP, ROW = 300, 150, 100, 46
NOTE_WIDTH, NOTE_HEIGHT = 280, 30
FONT = 'font-family="Helvetica, Arial, sans-serif" font-size="14"'
INK, LINE, BLUE, NOTE = "#1f2933", "#9aa5b1", "#1a56db", "#fdf6e3"
PAPER = "#ffffff"
STYLES = {
    "title": (INK, PAPER, 18),
    "head": (PAPER, INK, 14),
    "arrow": (INK, PAPER, 14),
    "note": (INK, NOTE, 14),
    "section": (BLUE, PAPER, 14),
}
"""Kinds of text: the colour of the letters, that of what is behind them, and the size in pixels."""


class SourceError(ValueError):
    """A line of a source that means nothing, or names a party that takes no part."""


def drawn(source: str) -> str:
    """Return the SVG of a source; raise SourceError, whose text names the line."""
    title, taking_part, *steps = [line.strip() for line in source.splitlines() if line.strip()]
    names = [name.strip() for name in taking_part.split("|")]
    at = {name: MARGIN + COLUMN * number for number, name in enumerate(names)}
    width, height = 2 * MARGIN + COLUMN * (len(names) - 1), TOP + ROW * len(steps) + 20
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            f'role="img" {FONT}>'
        ),
        f"<title>{escape(title.lstrip('# '))}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        _text(width / 2, 28, title.lstrip("# "), "title"),
        *(part for name in names for part in _head(at[name], name, height)),
        *(part for number, step in enumerate(steps) for part in _step(at, step, TOP + ROW * number, width)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _head(x: int, name: str, height: int) -> Iterator[str]:
    yield f'<line x1="{x}" y1="70" x2="{x}" y2="{height - 10}" stroke="{LINE}" stroke-dasharray="4 4"/>'
    yield f'<rect x="{x - 75}" y="44" width="150" height="30" rx="6" fill="{INK}"/>'
    yield _text(x, 64, name, "head")


def _step(at: dict[str, int], step: str, y: int, width: int) -> Iterator[str]:
    if step.startswith("--"):
        yield f'<line x1="10" y1="{y + 6}" x2="{width - 10}" y2="{y + 6}" stroke="{LINE}"/>'
        yield _text(width / 2, y + 24, step.lstrip("- "), "section")
        return
    who, _, text = step.partition(":")
    names = [name.strip() for name in who.split("->")]
    if not text or any(name not in at for name in names):
        raise SourceError(f"neither an arrow nor a note: {step}")
    yield from _note(at[names[0]], text, y) if len(names) == 1 else _arrow(at[names[0]], at[names[-1]], text, y)


def _note(x: int, text: str, y: int) -> Iterator[str]:
    yield (
        f'<rect x="{x - NOTE_WIDTH / 2:g}" y="{y}" width="{NOTE_WIDTH}" height="{NOTE_HEIGHT}" rx="4" fill="{NOTE}" '
        f'stroke="{LINE}"/>'
    )
    yield _text(x, y + 20, text, "note")


def _arrow(start: int, end: int, text: str, y: int) -> Iterator[str]:
    tip = 8 if end > start else -8
    yield _text((start + end) / 2, y + 12, text)
    yield f'<line x1="{start}" y1="{y + 22}" x2="{end - tip}" y2="{y + 22}" stroke="{BLUE}" stroke-width="2"/>'
    yield f'<path d="M {end} {y + 22} l {-tip} -5 l 0 10 z" fill="{BLUE}"/>'


def _text(x: float, y: int, text: str, style: str = "arrow") -> str:
    colour, behind, size = STYLES[style]
    # The background's colour around the letters, so that no line crosses them.
    outline = f'stroke="{behind}" stroke-width="5" stroke-linejoin="round" paint-order="stroke"'
    place = f'x="{x:g}" y="{y}" text-anchor="middle"'
    return f'<text {place} fill="{colour}" font-size="{size}" {outline}>{escape(text.strip())}</text>'


def main() -> int:
    """Draw every picture, or compare; return the exit code."""
    parser = argparse.ArgumentParser(description="Draw the diagrams of docs/pictures/ from their sources.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a picture is out of date")
    is_check = parser.parse_args().check
    stale = []
    for source in sorted(FOLDER.glob("*.txt")):
        picture, svg = source.with_suffix(".svg"), drawn(source.read_text(encoding="utf-8"))
        if is_check and (not picture.exists() or picture.read_text(encoding="utf-8") != svg):
            stale.append(picture.name)
        elif not is_check:
            picture.write_text(svg, encoding="utf-8")
    if stale:
        print(f"docs/pictures: out of date: {', '.join(stale)}; run `make pictures`", file=sys.stderr)
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
