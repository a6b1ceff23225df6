"""Cursors of pages: the position of the last entry that was shown, in the order in which entries were made."""

import re

from bridge.settlement.store import CursorError

NEWEST = 2**63 - 1
_CURSOR = re.compile(r"[1-9][0-9]{0,17}")


def position_of(cursor: str) -> int:
    """Return the position below which a page begins; raise CursorError for a text that no store made."""
    if not cursor:
        return NEWEST
    if _CURSOR.fullmatch(cursor) is None:
        raise CursorError
    return int(cursor)


def cursor_of(position: int) -> str:
    """Return the cursor of the page that follows an entry's position."""
    return str(position)
