"""HPACK's dynamic table of a decoder: fields that later header blocks may name by an index. RFC 7541, section 2.3.2.

Many servers store the same fields with every answer and never name them. So what a known block stores waits until the
table is read, or until so much waits that most of it would be evicted at once.
"""

from collections import deque
from collections.abc import Iterable
from itertools import chain
from typing import Final

from bridge.http2.static_table import Field

TABLE_BYTES_MAX: Final = 4096
"""SETTINGS_HEADER_TABLE_SIZE as every connection begins; we do not change ours."""
ENTRY_BYTES: Final = 32  # what an entry counts beside its text (section 4.1)
WAITING_MAX: Final = 64
"""Number of blocks whose fields may wait: those of a dozen usual answers fill the table."""


class DynamicTable:
    """Entries of one connection, the newest first, as many as fit."""

    def __init__(self) -> None:
        self.changes = 0
        """Number of changes so far: while it stays the same, an index means the same field."""
        self._entries: deque[Field] = deque()
        self._bytes = 0
        self._bytes_max = TABLE_BYTES_MAX
        self._waiting: list[tuple[Field, ...]] = []
        """Fields that were added after `_entries`, the oldest first."""

    def entry(self, index: int) -> Field:
        """Return an entry, the newest one at 0; raise IndexError where there is none."""
        self._settle()
        return self._entries[index]

    def add(self, field: Field) -> None:
        """Add one field now (section 4.4)."""
        self._settle()
        self.changes += 1
        self._entries.appendleft(field)
        self._bytes += _size_bytes(field)
        self._evict()

    def add_later(self, fields: tuple[Field, ...]) -> None:
        """Add the fields of one block, the oldest first, before the table is read again."""
        self.changes += len(fields)
        self._waiting.append(fields)
        if len(self._waiting) > WAITING_MAX:
            self._settle()

    def resize(self, size_bytes: int) -> None:
        """Keep no more than so many bytes from now on (section 4.3)."""
        self._settle()
        self.changes += 1
        self._bytes_max = size_bytes
        self._evict()

    def _settle(self) -> None:
        """Add what waits: the newest entries that fit are what adding one after the other would leave."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        newest_first: Iterable[Field] = chain.from_iterable(map(reversed, reversed(waiting)))
        kept: deque[Field] = deque()
        kept_bytes = 0
        for field in chain(newest_first, self._entries):
            size_bytes = _size_bytes(field)
            if kept_bytes + size_bytes > self._bytes_max:
                break
            kept.append(field)
            kept_bytes += size_bytes
        self._entries, self._bytes = kept, kept_bytes

    def _evict(self) -> None:
        while self._bytes > self._bytes_max:
            self._bytes -= _size_bytes(self._entries.pop())


def _size_bytes(field: Field) -> int:
    return len(field[0]) + len(field[1]) + ENTRY_BYTES
