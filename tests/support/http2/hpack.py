"""Header fields, and blocks as hpack encodes them or as no encoder should, as Hypothesis strategies."""

from typing import NamedTuple

import hpack
from hpack.hpack import encode_integer
from hypothesis import strategies as st

from bridge.http2.dynamic_table import TABLE_BYTES_MAX
from bridge.http2.static_table import STATIC, Field
from tests.support.http2.strategies import mutated

SECRETS = (b"authorization", b"x-request-signature")
NAMES = st.one_of(
    st.sampled_from([name for name, _ in STATIC]),
    st.sampled_from((*SECRETS, b"traceparent", b"x", b"x-" + b"n" * 200)),
    st.binary(max_size=5),
)
# The edges of integers with 7 bits, and values long enough to drive others out of a table.
SIZES = st.sampled_from((0, 1, 126, 127, 128, 254, 255, 256, 1000, 4063, 4064))
VALUES = st.one_of(
    st.sampled_from([value for _, value in STATIC]), st.binary(max_size=20), SIZES.map(lambda size: b"v" * size)
)
FIELDS = st.tuples(NAMES, VALUES) | st.sampled_from(STATIC)
LISTS = st.lists(FIELDS, max_size=6)
TABLE_SIZES = st.sampled_from((0, 31, 32, 64, 100, 1000, TABLE_BYTES_MAX)) | st.integers(0, TABLE_BYTES_MAX)


class Block(NamedTuple):
    """What an encoder does for one block."""

    table_sizes_bytes: list[int]
    """What size its table gets before, one after another."""
    huffman: bool
    fields: list[tuple[Field, bool]]
    """The fields, and whether each is a secret."""


BLOCKS = st.builds(
    Block, st.lists(TABLE_SIZES, max_size=2), st.booleans(), st.lists(st.tuples(FIELDS, st.booleans()), max_size=6)
)


def encoded(encoder: hpack.Encoder, block: Block) -> bytes:
    """Let an encoder of hpack's make a block."""
    for size_bytes in block.table_sizes_bytes:
        if encoder.header_table_size != size_bytes:  # given the same size twice, hpack forgets to announce it
            encoder.header_table_size = size_bytes
    fields = [
        (hpack.NeverIndexedHeaderTuple if secret else hpack.HeaderTuple)(*field) for field, secret in block.fields
    ]
    return bytes(encoder.encode(fields, huffman=block.huffman))


def integer(pattern: int, value: int, prefix_bits: int) -> bytes:
    """Encode an integer (RFC 7541, section 5.1) behind the bits of a pattern."""
    first, *rest = encode_integer(value, prefix_bits)
    return bytes((pattern << prefix_bits & 0xFF | first, *rest))


def index(number: int) -> bytes:
    """Make an indexed field (RFC 7541, section 6.1)."""
    return integer(1, number, 7)


PIECES = st.one_of(
    st.integers(0, 255).map(lambda byte: bytes((byte,))),
    st.sampled_from((b"\x82", b"\xbe", b"\xbf", b"\x20", b"\x3f\xe1\x1f", b"\x40\x01a\x01b", b"\x00\x81\x1f\x01b")),
    st.builds(integer, st.integers(0, 15), st.integers(0, 2**32), st.sampled_from((4, 5, 6, 7))),
    st.binary(max_size=10),
)


ANY_BLOCKS = st.lists(
    st.lists(PIECES, max_size=8).map(b"".join) | mutated(BLOCKS.map(lambda block: encoded(hpack.Encoder(), block))),
    min_size=1,
    max_size=4,
)
"""Any bytes as the blocks of one connection, some of them almost right."""
