"""Decimal numbers: their message type, and which texts of one JSON can carry."""

import re

DECIMAL = "google.type.Decimal"

# A JSON number (RFC 8259, section 6) without a minus sign: the wallet's only decimal type is an "unsigned float".
# The bounds keep it one: no more digits than any currency needs, and inside the range of a double.
_UNSIGNED_DECIMAL = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE]([+-]?[0-9]{1,3}))?")
DECIMAL_CHARACTERS_MAX = 64
_EXPONENT_MAX = 300


def is_unsigned_decimal(text: str) -> bool:
    """Say whether this is the text of a number of 0 or more that JSON and google.type.Decimal can both carry."""
    if len(text) > DECIMAL_CHARACTERS_MAX or not (match := _UNSIGNED_DECIMAL.fullmatch(text)):
        return False
    return abs(int(match[1] or 0)) <= _EXPONENT_MAX
