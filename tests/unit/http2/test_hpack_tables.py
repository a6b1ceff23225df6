"""bridge.http2.huffman against hpack's, and by the examples of RFC 7541.

HPACK's dynamic table, in which fields may wait: read at any time, it is as if each had been added at once.
"""

from collections import deque
from itertools import accumulate

import hpack.table
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.http2.dynamic_table import ENTRY_BYTES, TABLE_BYTES_MAX, WAITING_MAX, DynamicTable
from bridge.http2.huffman import HuffmanError, decode
from bridge.http2.static_table import STATIC, Field

ENCODER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
        ("a8eb10649cbf", "no-cache"),
        ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("", ""),
    ],
)
def test_examples_of_the_rfc(code: str, text: str) -> None:
    """The examples of RFC 7541, C.4 and C.6, are decoded."""
    assert decode(bytes.fromhex(code)) == text.encode()


@given(text=st.binary(max_size=300))
@example(text=bytes(range(256)))
def test_what_is_encoded_is_decoded(text: bytes) -> None:
    """Every string comes back from the code that hpack makes of it."""
    assert decode(ENCODER.encode(text)) == text


@given(data=st.binary(max_size=40))
@example(data=b"\xff\xff\xff\xff")
@example(data=b"\xff")
@example(data=b"\x1f\xff")
def test_any_octets_mean_what_hpack_reads(data: bytes) -> None:
    """Whatever the octets, the result is hpack's: the same string, or an error where hpack has one."""
    try:
        expected = decode_huffman(data)
    except hpack.HPACKDecodingError:
        with pytest.raises(HuffmanError):
            decode(data)
    else:
        assert decode(data) == expected


@pytest.mark.parametrize("data", ["fffffffc", "ffff", "00", "1c"], ids=["EOS", "long padding", "zeros", "not ones"])
def test_bad_endings_are_errors(data: str) -> None:
    """EOS in a string, padding of more than seven bits, or other than ones: an error (RFC 7541, section 5.2)."""
    with pytest.raises(HuffmanError):
        decode(bytes.fromhex(data) + (b"\xff" if data == "fffffffc" else b""))


def test_static_table_is_the_one_of_the_rfc() -> None:
    """The static table equals hpack's, entry by entry."""
    assert hpack.table.HeaderTable.STATIC_TABLE == STATIC


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


HALF = (b"", bytes(TABLE_BYTES_MAX // 2 - ENTRY_BYTES))


@given(STEPS)
@example([("add_later", (HALF, HALF))])  # no byte is left free
@example([("add_later", ((b"date", b"today"),)), ("resize", 0), ("resize", TABLE_BYTES_MAX)])  # nothing comes back
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
