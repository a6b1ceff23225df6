"""Content-Length of an answer as a number. RFC 9110, section 8.6; RFC 9113, section 8.1.1."""

from functools import lru_cache
from typing import Final

from bridge.http2.hpack import KNOWN_MAX, Fields

NAME: Final = b"content-length"
DIGITS_MAX: Final = 19
"""Enough for 2^63. No body is longer, and Python refuses to convert numbers of thousands of digits."""


# Many answers have the very same header fields.
@lru_cache(maxsize=KNOWN_MAX)
def content_length(fields: Fields) -> int | None:
    """Length in bytes that these fields declare; None where they declare none.

    Raise ValueError where it is no number, or where several differ. Equal values, as several fields or as one list,
    count as one (RFC 9110, section 8.6).
    """
    lengths = [_length(value) for name, value in fields if name == NAME]
    return _only(lengths) if lengths else None


def _length(value: bytes) -> int:
    return _only([_number(each.strip(b" \t")) for each in value.split(b",")])


def _only(lengths: list[int]) -> int:
    if lengths.count(lengths[0]) < len(lengths):
        raise ValueError("content-length: several that differ")
    return lengths[0]


def _number(digits: bytes) -> int:
    # bytes.isdigit knows ASCII digits only, and neither signs nor white space.
    if not digits.isdigit() or len(significant := digits.lstrip(b"0")) > DIGITS_MAX:
        raise ValueError("content-length: not a length")
    return int(significant or b"0")
