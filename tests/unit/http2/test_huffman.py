"""bridge.http2.huffman against hpack's, and by the examples of RFC 7541."""

import hpack.table
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.http2.huffman import HuffmanError, decode
from bridge.http2.static_table import STATIC

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
