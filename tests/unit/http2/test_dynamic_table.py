"""HPACK's dynamic table, in which fields may wait: read at any time, it is as if each had been added at once."""

from collections import deque
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.http2.dynamic_table import ENTRY_BYTES, TABLE_BYTES_MAX, WAITING_MAX, DynamicTable
from bridge.http2.static_table import Field


class EagerTable:
    """The table as RFC 7541, section 4.4, describes it: after each addition as many entries as fit."""

    def __init__(self) -> None:
        self.entries: deque[Field] = deque()
        self.bytes_max = TABLE_BYTES_MAX
        self.changes = 0

    def add(self, field: Field) -> None:
        """Add a field and evict the oldest ones until the rest fits."""
        self.entries.appendleft(field)
        self._evict()

    def resize(self, size_bytes: int) -> None:
        """Change the size and evict likewise."""
        self.bytes_max = size_bytes
        self._evict()

    def _evict(self) -> None:
        self.changes += 1
        sizes = accumulate(len(name) + len(value) + ENTRY_BYTES for name, value in self.entries)
        fitting = sum(size <= self.bytes_max for size in sizes)
        self.entries = deque(list(self.entries)[:fitting])


FIELDS = st.tuples(st.binary(max_size=3), st.sampled_from([0, 1, 60, 1000, 5000]).map(bytes))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), FIELDS),
        st.tuples(st.just("add_later"), st.lists(FIELDS, max_size=4).map(tuple)),
        st.tuples(st.just("resize"), st.sampled_from([0, 31, 32, 33, 100, 1100, TABLE_BYTES_MAX])),
        st.tuples(st.just("read"), st.none()),
    ),
    max_size=30,
)


def entries_of(table: DynamicTable) -> list[Field]:
    """Return all entries, the newest first, as indices give them."""
    found: list[Field] = []
    try:
        while True:
            found.append(table.entry(len(found)))
    except IndexError:
        return found


@given(STEPS)
def test_a_table_that_waits_is_as_one_that_does_not(steps: list[tuple[str, object]]) -> None:
    """Whatever is added at once or later, resized and read: entries and their number of changes are the same."""
    table, eager = DynamicTable(), EagerTable()
    for step, value in steps:
        if step == "read":
            assert entries_of(table) == list(eager.entries)
            continue
        getattr(table, step)(value)
        for each in value if step == "add_later" else (value,):  # type: ignore[attr-defined] # the fields of a block
            eager.resize(each) if step == "resize" else eager.add(each)
        assert table.changes == eager.changes
    assert entries_of(table) == list(eager.entries)


@pytest.mark.parametrize("blocks", [WAITING_MAX - 1, WAITING_MAX, WAITING_MAX + 1, 10 * WAITING_MAX])
def test_blocks_that_are_never_read_leave_the_newest_fields(blocks: int) -> None:
    """After any number of blocks the table holds the newest fields that fit, and no more."""
    table = DynamicTable()
    for number in range(blocks):
        table.add_later(((b"date", b"%05d" % number), (b"server", b"s")))
    entries = entries_of(table)
    assert entries[:3] == [(b"server", b"s"), (b"date", b"%05d" % (blocks - 1)), (b"server", b"s")]
    sizes = [len(name) + len(value) + ENTRY_BYTES for name, value in entries]
    assert TABLE_BYTES_MAX - max(sizes) < sum(sizes) <= TABLE_BYTES_MAX


def test_fields_that_fill_the_table_exactly_stay() -> None:
    """An entry that leaves no byte free is kept, also beside others and also after waiting."""
    table = DynamicTable()
    half = (b"", bytes(TABLE_BYTES_MAX // 2 - ENTRY_BYTES))
    table.add_later((half, half))
    assert entries_of(table) == [half, half]


def test_what_waited_before_a_change_of_size_does_not_come_back() -> None:
    """A table of size 0 is empty, and stays so when it may grow again."""
    table = DynamicTable()
    table.add_later(((b"date", b"today"),))
    table.resize(0)
    table.resize(TABLE_BYTES_MAX)
    assert entries_of(table) == []
