"""bridge.http2.hpack against hpack, both ways and block after block, against RFC 7541, and by tables."""

import contextlib
from collections.abc import Callable, Iterable

import hpack
import pytest
from hpack.hpack import encode_integer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.http2.frames import HEADER_BYTES
from bridge.http2.hpack import HeaderBlockError, HeaderDecoder, HeaderListTooLongError, are_regular, encode, status_of
from bridge.http2.static_table import STATIC, Field
from tests.support.examples import examples
from tests.support.http2 import frames as raw
from tests.support.http2.conversation import REQUEST, conversation, listen
from tests.support.http2.hpack import ANY_BLOCKS, BLOCKS, LISTS, SECRETS, Block, encoded, index

LIST_BYTES_MAX = 16 * 1024
LIST_BYTES_LIMIT = 64 * 1024


def table_of(decoder: HeaderDecoder, size: int) -> list[Field]:
    """Ask a decoder for so many entries of its dynamic table, newest first; there must be no more."""
    entries = [field for at in range(size) for field in decoder.decode(index(len(STATIC) + 1 + at))]
    with pytest.raises(HeaderBlockError):
        decoder.decode(index(len(STATIC) + 1 + size))
    return entries


@given(headers=LISTS)
@example(headers=list(STATIC))
@example(headers=[(b"authorization", b"Basic " + b"x" * 60), (b"x-request-signature", b"0" * 64)])
def test_hpack_reads_what_we_encode(headers: list[Field]) -> None:
    """Our blocks are decoded by hpack to the same fields, and they leave nothing in its table."""
    decoder = hpack.Decoder(max_header_list_size=2**20)
    assert list(decoder.decode(encode(tuple(headers)), raw=True)) == headers
    assert not decoder.header_table.dynamic_entries


@given(name=st.sampled_from(SECRETS), value=st.binary(min_size=1, max_size=200))
def test_secrets_are_never_indexed(name: bytes, value: bytes) -> None:
    """Authorization and signature are marked as never to be put into a table, and nothing else is."""
    fields = hpack.Decoder().decode(encode(((name, value), (b"x", value))), raw=True)
    assert [type(field) for field in fields] == [hpack.NeverIndexedHeaderTuple, hpack.HeaderTuple]


@pytest.mark.parametrize(
    ("field", "block"),
    [
        ((b":method", b"GET"), "82"),  # RFC 7541, C.2.4
        ((b":path", b"/sample/path"), "040c2f73616d706c652f70617468"),  # C.2.2
        ((b"custom", b"value"), "0006637573746f6d0576616c7565"),
        ((b"authorization", b"x"), "1f080178"),
    ],
    ids=["indexed", "name of the static table", "new name", "never indexed"],
)
def test_representation(field: Field, block: str) -> None:
    """A field of the static table is an index, any other a literal without indexing."""
    assert encode((field,)).hex() == block


def test_table_size_is_confirmed() -> None:
    """Our first header block says that we use no table, and so does the first after each SETTINGS_HEADER_TABLE_SIZE."""
    client = conversation()

    def next_block() -> bytes:
        client.begin(REQUEST, has_body=False)
        return client.outgoing()[HEADER_BYTES:]

    assert next_block() == encode(REQUEST)  # the first one was said in `conversation`
    for size_bytes in (0, 1000, 65_536):
        listen(client, raw.settings((1, size_bytes)))
        assert [next_block(), next_block()] == [b"\x20" + encode(REQUEST), encode(REQUEST)]


# Stored literals, literals under a stored name, indices of the table, other sizes of the table: few and short, so
# that they meet.
STEPS = (b"\x82", b"\x88", b"\x40\x01x\x01y", b"\x40\x01x\x01z", b"\x76\x01n", b"\xbe", b"\xbf", b"\xc0", b"\x7e\x01w")
KNOWN_AGAIN = st.builds(
    lambda size, fields: size + b"".join(fields),
    st.sampled_from((b"", b"", b"", b"\x20", b"\x3f\x45")),
    st.lists(st.sampled_from(STEPS), max_size=4),
)

DATES = (b"Mon, 21 Oct 2013 20:13:21 GMT", b"Mon, 21 Oct 2013 20:13:22 GMT")
LOCATION = (b"location", b"https://www.example.com")
RFC_ANSWERS: list[list[Field]] = [
    [(b":status", b"302"), (b"cache-control", b"private"), (b"date", DATES[0]), LOCATION],
    [(b":status", b"307"), (b"cache-control", b"private"), (b"date", DATES[0]), LOCATION],
    [
        (b":status", b"200"),
        (b"cache-control", b"private"),
        (b"date", DATES[1]),
        LOCATION,
        (b"content-encoding", b"gzip"),
        (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"),
    ],
]
TABLE_OF_256 = "3fe101"  # the appendix takes a table of this size for granted
RFC_BLOCKS = {
    "plain, C.5": (
        TABLE_OF_256 + "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
        "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
        "88c1" + "611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04"
        "677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
    ),
    "Huffman, C.6": (
        TABLE_OF_256 + "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff"
        "6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c1" + "6196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7"
        "f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ),
}


@pytest.mark.parametrize("blocks", RFC_BLOCKS.values(), ids=RFC_BLOCKS)
def test_rfc_7541_appendix_c(blocks: tuple[str, ...]) -> None:
    """The answers of RFC 7541, appendix C: three blocks that share a table, with evictions."""
    decoder = HeaderDecoder(LIST_BYTES_MAX, LIST_BYTES_LIMIT)
    assert [decoder.decode(bytes.fromhex(block)) for block in blocks] == [tuple(answer) for answer in RFC_ANSWERS]
    newest = [(b"set-cookie", RFC_ANSWERS[2][5][1]), (b"content-encoding", b"gzip"), (b"date", DATES[1])]
    assert table_of(decoder, 3) == newest


@settings(max_examples=examples(200))
@given(blocks=st.lists(BLOCKS, max_size=8))
def test_we_read_what_hpack_encodes(blocks: list[Block]) -> None:
    """Blocks of hpack's are decoded to the same fields, one after another, and both tables hold the same."""
    encoder, decoder = hpack.Encoder(), HeaderDecoder(2**20, 2**20)
    for block in blocks:
        assert decoder.decode(encoded(encoder, block)) == tuple(field for field, _ in block.fields)
        entries = [tuple(entry) for entry in encoder.header_table.dynamic_entries]
        assert table_of(decoder, len(entries)) == entries


@settings(max_examples=examples(500))
@given(blocks=ANY_BLOCKS)
@example(blocks=[b"\x82\x20"])
@example(blocks=[b"\x20", b"\x3f\xe2\x1f"])
def test_any_blocks(blocks: list[bytes]) -> None:
    """Any bytes mean the same to hpack and to us, fields or an error, but for integers that are longer than we read."""
    ours, theirs = HeaderDecoder(LIST_BYTES_MAX, LIST_BYTES_LIMIT), hpack.Decoder(max_header_list_size=LIST_BYTES_MAX)
    for block in blocks:
        got, wanted = attempt(ours.decode, block), attempt(lambda data: theirs.decode(data, raw=True), block)
        if got == "an integer without end":
            return  # see test_integer_limit
        assert isinstance(got, str) == isinstance(wanted, str)
        if isinstance(got, str):
            return
        assert got == wanted


@settings(max_examples=examples(300))
@given(blocks=st.lists(KNOWN_AGAIN, min_size=1, max_size=4), picks=st.lists(st.integers(0, 3), max_size=12))
@example(blocks=[b"\x40\x01x\x01y", b"\xbe"], picks=[0, 1, 1, 0, 1])
@example(blocks=[b"\x40\x01x\x01y", b"\x20\x82", b"\xbe"], picks=[0, 2, 1, 2])
@example(blocks=[b"\x40\x01x\x01y", b"\x7e\x01z", b"\xbf"], picks=[0, 1, 1, 2])
@example(blocks=[b"\x20\x82", b"\x3f\x45\x88", b"\x40\x01x\x01y", b"\xbe"], picks=[0, 1, 0, 2, 3])
def test_a_block_that_comes_again(blocks: list[bytes], picks: list[int]) -> None:
    """A block means what the table makes of it at that moment, also when the very same bytes came before."""
    ours, theirs = HeaderDecoder(LIST_BYTES_MAX, LIST_BYTES_LIMIT), hpack.Decoder(max_header_list_size=LIST_BYTES_MAX)
    for pick in picks:
        block = blocks[pick % len(blocks)]
        got, wanted = attempt(ours.decode, block), attempt(lambda data: theirs.decode(data, raw=True), block)
        assert isinstance(got, str) == isinstance(wanted, str)
        if isinstance(got, str):
            return
        assert got == wanted
        entries = [tuple(entry) for entry in theirs.header_table.dynamic_entries]
        assert table_of(ours, len(entries)) == entries


def attempt(decode: Callable[[bytes], Iterable[Field]], block: bytes) -> list[Field] | str:
    """Return the fields, or what the decoder says against them."""
    try:
        return list(decode(block))
    except (HeaderBlockError, HeaderListTooLongError, hpack.HPACKError) as error:
        return str(error)


INTEGERS = {
    # An integer may be coded with zeros behind it (RFC 7541, section 5.1): there each side has its limit. Ours is one
    # byte below hpack's, at 2^28: no string or index could be so large.
    "five bytes": (b"\x7f\x80\x80\x80\x00", True, True),
    "six bytes": (b"\x7f\x80\x80\x80\x80\x00", False, True),
    "seven bytes": (b"\x7f\x80\x80\x80\x80\x80\x00", False, False),
}


@pytest.mark.parametrize(("length", "for_us", "for_hpack"), INTEGERS.values(), ids=INTEGERS)
def test_integer_limit(length: bytes, *, for_us: bool, for_hpack: bool) -> None:
    """An integer of five bytes is read, a longer one is an error: the one difference between hpack and us."""
    block = b"\x00\x01x" + length + b"v" * 127
    ours = attempt(HeaderDecoder(LIST_BYTES_MAX, LIST_BYTES_LIMIT).decode, block)
    theirs = attempt(lambda data: hpack.Decoder().decode(data, raw=True), block)
    assert [fields == [(b"x", b"v" * 127)] for fields in (ours, theirs)] == [for_us, for_hpack]


@pytest.mark.parametrize("prefix", [b"\x00", b"\x10", b"\x40"], ids=["not stored", "never indexed", "stored"])
@pytest.mark.parametrize("size", [0, 126, 127, 128, 254, 255, 16_383, 16_510, 16_511])
def test_lengths(prefix: bytes, size: int) -> None:
    """A value has every byte of its length, also at the edges of the integer that says it."""
    block = prefix + b"\x01x" + encode_integer(size, 7) + b"v" * size
    assert HeaderDecoder(2**20, 2**20).decode(block) == ((b"x", b"v" * size),)


@pytest.mark.parametrize("representation", [b"\x00\x01x", b"\x40\x01x"], ids=["not stored", "stored"])
def test_list_limit(representation: bytes) -> None:
    """A list is counted with 32 bytes for each field, and one byte above the limit is an error."""
    size = LIST_BYTES_MAX - 2 * (32 + 1)
    for extra, is_read in ((0, True), (1, False)):
        value = encode_integer(size + extra, 7) + b"v" * (size + extra)
        block = representation + b"\x00" + representation + value
        got = attempt(HeaderDecoder(LIST_BYTES_MAX, LIST_BYTES_LIMIT).decode, block)
        assert (got == [(b"x", b""), (b"x", b"v" * (size + extra))]) is is_read


def test_list_limit_of_indexed_fields() -> None:
    """A long entry that is named again and again counts each time."""
    stored = b"\x40\x01x" + encode_integer(3967, 7) + b"v" * 3967  # 4000 bytes with its name and 32
    decoder = HeaderDecoder(LIST_BYTES_MAX, LIST_BYTES_LIMIT)
    assert len(decoder.decode(stored + index(62) * 3)) == 4
    with pytest.raises(HeaderListTooLongError):
        decoder.decode(index(62) * 5)


@pytest.mark.parametrize("count", [6, 16])
def test_list_that_is_dropped(count: int) -> None:
    """What a list over the limit has stored is in the table, also what came behind the limit."""
    stored = b"\x40\x01x" + encode_integer(3967, 7) + b"v" * 3967
    decoder = HeaderDecoder(LIST_BYTES_MAX, LIST_BYTES_LIMIT)
    with pytest.raises(HeaderListTooLongError):
        decoder.decode(stored * (count - 1) + b"\x40\x01y\x01z")
    assert decoder.decode(index(62)) == ((b"y", b"z"),)


def test_list_that_is_not_decoded_to_its_end() -> None:
    """A bomb, a long entry that is named thousands of times, costs the work of its first 64 KiB at most."""
    decoder = HeaderDecoder(LIST_BYTES_MAX, LIST_BYTES_LIMIT)
    decoder.decode(b"\x40\x01x" + encode_integer(3967, 7) + b"v" * 3967)  # 4000 bytes with its name and 32
    with pytest.raises(HeaderListTooLongError):
        decoder.decode(index(62) * 16)
    with pytest.raises(HeaderBlockError, match="far too long"):
        decoder.decode(index(62) * 18)


@pytest.mark.parametrize(
    ("count", "error"), [(512, None), (513, HeaderListTooLongError), (2050, HeaderBlockError)], ids=str
)
def test_table_sizes_without_end(count: int, error: type[Exception] | None) -> None:
    """Another size of the table counts as a field does, or else a block of them would be work without a bound."""
    decoder = HeaderDecoder(LIST_BYTES_MAX, LIST_BYTES_LIMIT)
    with pytest.raises(error) if error else contextlib.nullcontext():
        assert decoder.decode(b"\x20" * count) == ()


STATUSES: dict[str, tuple[list[Field], int]] = {
    "200": ([(b":status", b"200")], 200),
    "100": ([(b":status", b"100")], 100),
    "599": ([(b":status", b"599"), (b"a", b"b")], 599),
    "nothing": ([], 0),
    "none": ([(b"a", b"b")], 0),
    "late": ([(b"a", b"b"), (b":status", b"200")], 0),
    "twice": ([(b":status", b"200"), (b":status", b"200")], 0),
    "101": ([(b":status", b"101")], 0),
    "099": ([(b":status", b"099")], 0),
    "600": ([(b":status", b"600")], 0),
    "two digits": ([(b":status", b"20")], 0),
    "four digits": ([(b":status", b"2000")], 0),
    "a line feed": ([(b":status", b"200\n")], 0),
    "no ASCII digits": ([(b":status", "²00".encode())], 0),
    "empty": ([(b":status", b"")], 0),
    "request field": ([(b":status", b"200"), (b":path", b"/")], 0),
    "bad field": ([(b":status", b"200"), (b"A", b"b")], 0),
}


@pytest.mark.parametrize(("fields", "status"), STATUSES.values(), ids=STATUSES)
def test_status_of(fields: list[Field], status: int) -> None:
    """An answer has exactly one :status, first, of three digits, 100 to 599 but 101, and regular fields after it."""
    assert status_of(tuple(fields)) == status


FIELD_CASES: dict[str, tuple[Field, bool]] = {
    "plain": ((b"content-type", b"application/json"), True),
    "empty value": ((b"x", b""), True),
    "one character": ((b"x", b"y"), True),
    "white space inside": ((b"x", b"a \t b"), True),
    "any bytes": ((b"x", bytes(range(0x80, 0x100))), True),
    "every character of a name": ((b"!#$%&'*+-.^_`|~09az", b"y"), True),
    "empty name": ((b"", b"y"), False),
    "upper case": ((b"X", b"y"), False),
    "upper case inside": ((b"aZb", b"y"), False),
    "colon first": ((b":status", b"200"), False),
    "colon inside": ((b"a:b", b"y"), False),
    "space in name": ((b"a b", b"y"), False),
    "DEL in name": ((b"a\x7f", b"y"), False),
    "no ASCII in name": ((b"a\x80", b"y"), False),
    "line feed behind name": ((b"a\n", b"y"), False),
    "NUL": ((b"x", b"a\0b"), False),
    "carriage return": ((b"x", b"a\rb"), False),
    "line feed": ((b"x", b"a\nb"), False),
    "line feed at the end": ((b"x", b"a\n"), False),
    "space first": ((b"x", b" a"), False),
    "tab first": ((b"x", b"\ta"), False),
    "space last": ((b"x", b"a "), False),
    "tab last": ((b"x", b"a\t"), False),
    "only a space": ((b"x", b" "), False),
    **{
        name: ((name.encode(), b"x"), False)
        for name in ("connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "te")
    },
    "te: trailers": ((b"te", b"trailers"), False),
}


@pytest.mark.parametrize(("field", "is_regular"), FIELD_CASES.values(), ids=FIELD_CASES)
def test_are_regular(field: Field, *, is_regular: bool) -> None:
    """A field is well-formed by RFC 9113, sections 8.2.1 and 8.2.2, wherever it stands in its list."""
    good = (b"a", b"b")
    assert [are_regular(fields) for fields in ((field,), (good, field), (field, good))] == [is_regular] * 3
    assert are_regular(())  # as trailers can be
