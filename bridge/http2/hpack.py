"""Header blocks: HPACK (RFC 7541), and which fields an answer may have (RFC 9113, section 8).

Our own blocks use no dynamic table: a field always has the same bytes, which are made once. They are some 200 bytes
longer for that; it saves a table on both sides and most of the work. hpack, which tests compare with, is not used.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from bridge.headers import Headers
from bridge.http2.dynamic_table import ENTRY_BYTES, TABLE_BYTES_MAX, DynamicTable
from bridge.http2.frames import ErrorCode
from bridge.http2.huffman import HuffmanError
from bridge.http2.huffman import decode as decode_huffman
from bridge.http2.static_table import STATIC, Field
from bridge.places import without_context

Fields = tuple[Field, ...]

# From behind, so that of several entries the first one counts.
INDEX_OF: Final[dict[Field, int]] = {field: at for at, field in reversed([*enumerate(STATIC, 1)])}
INDEX_OF_NAME: Final[dict[bytes, int]] = {name: at for at, (name, _) in reversed([*enumerate(STATIC, 1)])}

# The first bits of a field's first byte say what it is (section 6). Beside that, and in section 5:
INDEXED, STORED, RESIZED = 0x80, 0x40, 0x20
NEVER = 0x10
MORE: Final = 0x80  # another byte of the integer follows
HUFFMAN: Final = 0x80

INTEGER_BYTES_MAX: Final = 5
"""Longest integer: enough for 2^28, and so for every length that could be meant."""

# Fields that a proxy must not put into a table: guesses of their value would show in the size (section 7.1.3).
NEVER_INDEXED: Final = frozenset({b"authorization", b"x-request-signature"})

UNIQUE: Final = frozenset({b"x-request-signature", b"traceparent", b"tracestate"})
"""Another value in every request: nothing to keep."""

NO_TABLE: Final = b"\x20"
"""The announcement that the encoder's table has size 0 (section 6.3)."""


KNOWN_MAX: Final = 16
"""Size of the cache of header blocks. Each is up to 16 KiB long."""

ANY_TABLE: Final = -1
"""A block that refers to no entry of the table means the same whatever is in it."""


class HeaderBlockError(Exception):
    """A header block cannot be decoded: by RFC 9113, section 4.3, the connection is lost, as its tables are."""

    def __init__(self, what: str, error_code: ErrorCode = ErrorCode.COMPRESSION_ERROR) -> None:
        super().__init__(what)
        self.error_code = error_code


class HeaderListTooLongError(Exception):
    """A header block was decoded whole, so that the tables are as they should be, but has more fields than are read."""


# --- encoding ---------------------------------------------------------------------------------------------------


def encode(headers: Headers) -> bytes:
    """Return the header block of these fields; names must be in lower case."""
    # Fields of a request's own stand last. All before them are the same for a provider and a length of the body.
    constant = len(headers)
    while constant and headers[constant - 1][0] in UNIQUE:
        constant -= 1
    return _encode_prefix(headers[:constant]) + b"".join(map(encode_field, headers[constant:]))


@lru_cache(maxsize=256)
def _encode_prefix(headers: Headers) -> bytes:
    return b"".join(encode_field(field) if field[0] in UNIQUE else _encode_once(field) for field in headers)


def encode_field(field: Field) -> bytes:
    """Return one field: its static index, or a literal without indexing (sections 6.1, 6.2.2 and 6.2.3)."""
    if index := INDEX_OF.get(field):
        return _integer(index, 7, INDEXED)
    name, value = field
    pattern = NEVER if name in NEVER_INDEXED else 0
    index = INDEX_OF_NAME.get(name, 0)
    return _integer(index, 4, pattern) + (b"" if index else _string(name)) + _string(value)


_encode_once = lru_cache(maxsize=256)(encode_field)


def _string(text: bytes) -> bytes:
    return _integer(len(text), 7, 0) + text


def _integer(value: int, prefix_bits: int, pattern: int) -> bytes:
    """Encode an integer (section 5.1) whose first byte begins with a pattern."""
    highest = (1 << prefix_bits) - 1
    if value < highest:
        return bytes((pattern | value,))
    rest, encoded = value - highest, bytearray((pattern | highest,))
    while rest >= MORE:
        encoded.append(rest & 0x7F | MORE)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)


# --- decoding ---------------------------------------------------------------------------------------------------


class _Decoded(NamedTuple):
    """Result of a decoded header block."""

    fields: Fields
    stored: Fields
    """Those among them that went into the table."""
    changes: int
    """Number of changes of the table before: while it has not again, the block means the same. Or ANY_TABLE."""


class HeaderDecoder:
    """Decodes the header blocks of one connection, each of them and in order: they share a table.

    A list of more than `list_bytes_max` bytes, each field with ENTRY_BYTES more, is decoded and dropped. One of more
    than `list_bytes_limit` is not decoded to its end: a block of a few bytes can name a long entry thousands of times.
    """

    def __init__(self, list_bytes_max: int, list_bytes_limit: int) -> None:
        self._list_bytes_max = list_bytes_max
        self._list_bytes_limit = list_bytes_limit
        self._known: dict[bytes, _Decoded] = {}
        self._reads_table = False
        """The block that is being decoded refers to an entry of the table."""
        self._table = DynamicTable()

    def decode(self, block: bytes) -> Fields:
        """Return the fields of a header block; raise HeaderBlockError or HeaderListTooLongError."""
        # Many answers of one second have the very same block, and to know one again is a sixth of the work.
        known = self._known.get(block)
        if known is not None and known.changes in (ANY_TABLE, self._table.changes):
            if known.stored:
                self._table.add_later(known.stored)
            return known.fields
        try:
            return self._decode(block)
        except (IndexError, HuffmanError):
            raise without_context(HeaderBlockError("cut short, or no such entry")) from None

    def _decode(self, block: bytes) -> Fields:
        fields: list[Field] = []
        stored: list[Field] = []
        self._reads_table, changes = False, self._table.changes
        at, list_bytes, is_begin = 0, 0, True
        while at < len(block):
            if list_bytes > self._list_bytes_limit:
                raise HeaderBlockError("far too long", ErrorCode.ENHANCE_YOUR_CALM)
            first = block[at]
            if first & INDEXED:
                index, at = _read_integer(block, at, 0x7F)
                field = self._entry(index)
            elif first & RESIZED and not first & STORED:
                at = self._resize(block, at, is_first=is_begin)
                list_bytes += ENTRY_BYTES  # it has no field, but costs time likewise
                continue
            else:
                field, at = self._literal(block, at, 0x3F if first & STORED else 0x0F)
                if first & STORED:
                    self._table.add(field)
                    stored.append(field)
            is_begin = False
            list_bytes += len(field[0]) + len(field[1]) + ENTRY_BYTES
            if list_bytes <= self._list_bytes_max:
                fields.append(field)
        if list_bytes > self._list_bytes_max:
            raise HeaderListTooLongError
        decoded = _Decoded(tuple(fields), tuple(stored), changes if self._reads_table else ANY_TABLE)
        if len(self._known) >= KNOWN_MAX:
            self._known.clear()
        # Not one that begins with another size of the table: that is more than fields.
        if fields and changes == self._table.changes - len(stored) and len(block) <= self._list_bytes_max:
            self._known[block] = decoded
        return decoded.fields

    def _entry(self, index: int) -> Field:
        if index > len(STATIC):
            self._reads_table = True
            return self._table.entry(index - len(STATIC) - 1)
        if not index:
            raise HeaderBlockError("index 0")
        return STATIC[index - 1]

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[Field, int]:
        index, at = _read_integer(block, at, mask)
        if index:
            name = self._entry(index)[0]
        else:
            name, at = _read_string(block, at)
        value, at = _read_string(block, at)
        return (name, value), at

    def _resize(self, block: bytes, at: int, *, is_first: bool) -> int:
        size_bytes, at = _read_integer(block, at, 0x1F)
        if size_bytes > TABLE_BYTES_MAX or not is_first:
            raise HeaderBlockError("table size")  # sections 4.2 and 6.3
        self._table.resize(size_bytes)
        return at


def _read_integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """Return an integer (section 5.1) and where it ends."""
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    for shift in range(0, 7 * (INTEGER_BYTES_MAX - 1), 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < MORE:
            return value, at
    raise HeaderBlockError("an integer without end")


def _read_string(block: bytes, at: int) -> tuple[bytes, int]:
    """Return a string (section 5.2) and where it ends."""
    is_huffman = block[at] & HUFFMAN
    length, at = _read_integer(block, at, 0x7F)
    end = at + length
    text = block[at:end]
    if end > len(block):
        raise HeaderBlockError("a string cut short")
    return (_decode_huffman(text) if is_huffman else text), end


# Servers say the same few values all the time, the date for a second. Tiny, so that old dates soon make room.
_decode_huffman = lru_cache(maxsize=8)(decode_huffman)


# --- what an answer may have ------------------------------------------------------------------------------------

STATUS: Final = re.compile(rb"[1-5][0-9]{2}")
NAME: Final = re.compile(rb"[!-9;-@\[-~]+")  # section 8.2.1: visible ASCII without capitals and ":"
VALUE: Final = re.compile(rb"(?![ \t])[^\0\r\n]*(?<![ \t])")  # likewise: no NUL, CR, LF, no white space at its ends
CONNECTION_FIELDS: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade", b"te"}
)
"""Fields of HTTP/1.1 only (section 8.2.2)."""

FINAL_STATUS_MIN: Final = 200  # below it an answer is informational (RFC 9110, section 15.2)
SWITCHING_PROTOCOLS: Final = 101  # does not exist in HTTP/2 (section 8.6)


@lru_cache(maxsize=KNOWN_MAX)
def status_of(fields: Fields) -> int:
    """Return the status of an answer, 100 to 599; 0 where its fields make it malformed (sections 8.2 and 8.3.2)."""
    if not fields or fields[0][0] != b":status" or not STATUS.fullmatch(fields[0][1]):
        return 0
    status = int(fields[0][1])
    return status if status != SWITCHING_PROTOCOLS and are_regular(fields[1:]) else 0


def are_regular(fields: Fields) -> bool:
    """Say whether all fields are well-formed, none of them a pseudo-header field."""
    return all(map(_is_regular, fields))


def _is_regular(field: Field) -> bool:
    name, value = field
    return _is_regular_name(name) and VALUE.fullmatch(value) is not None


@lru_cache(maxsize=256)
def _is_regular_name(name: bytes) -> bool:
    return name not in CONNECTION_FIELDS and NAME.fullmatch(name) is not None
