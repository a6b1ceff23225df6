"""Strict JSON, as the wallet's answers must be: RFC 8259 and more, because a misread answer costs money.

Two decoders, with one result. `parse_strictly` is the rule: the standard library's scanner shows every member of an
object in order, so that a duplicate name is seen, and hands over the text of a number, so that nothing becomes a float.
msgspec's decoder takes a sixth of the time but shows neither. It reads the documents in which there is nothing to
show, nearly all of them; every other one is read again by the rule, which alone finds flaws.
"""

import json
import re
from typing import Any, NoReturn

import msgspec

from bridge.places import without_context
from bridge.transcoding.number import Number

DEPTH_MAX = 64
"""Levels of nesting. The wallet's objects have one; the bound keeps a hostile answer off the interpreter's stack."""


class Flaw(ValueError):
    """Error in a text, in the bridge's own words: never a part of the text."""

    def inside(self, name: str) -> "Flaw":
        """Return the same flaw with its place: the name of a field of our proto."""
        return Flaw(f"{name}: {self}" if ": " not in str(self) else f"{name}.{self}")


def parse_object(body: bytes) -> dict[str, Any]:
    """Members of the JSON object that these bytes are; raise Flaw for anything else.

    Whole numbers are ints, any other number is a Number. Refused: what is not UTF-8 or starts with a byte order mark, a
    duplicate name at any level, NaN and Infinity, a lone surrogate, more than DEPTH_MAX levels, anything after the
    object.
    """
    members = parse_fast(body)
    return parse_strictly(body) if members is None else members


def parse_fast(body: bytes) -> dict[str, Any] | None:
    """Members as `parse_strictly` returns them; None for any document that this decoder cannot vouch for."""
    # Arrays could be nested too deep; of escaped characters a surrogate could be alone.
    if b"[" in body or b"\\u" in body:
        return None
    try:
        members = _FAST_DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    # Every member has a colon. Where there are more, a name is there twice, an object is not flat, or a string has one.
    if body.count(b":") != len(members):
        return None
    # The decoder makes -0 the integer 0, which False equals.
    if 0 in members.values() and _MINUS_ZERO.search(body):
        return None
    return members


def parse_strictly(body: bytes) -> dict[str, Any]:
    """Members as `parse_object` returns them, or the Flaw that it raises."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise without_context(Flaw("not UTF-8")) from None
    # There cannot be more levels than opening brackets; only a suspicious text is measured exactly.
    if text.count("{") + text.count("[") > DEPTH_MAX and _depth(text) > DEPTH_MAX:
        raise Flaw("nested too deep")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError:
        raise without_context(Flaw("not JSON")) from None
    if type(value) is not dict:
        raise Flaw("not a JSON object")
    if "\\u" in text:
        _refuse_lone_surrogates(value)
    return value


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    # RFC 8259, section 4: with duplicate names, what a receiver makes of it is unpredictable.
    if len(members) != len(pairs):
        raise Flaw("duplicate key")
    return members


def _refuse_constant(_name: str) -> NoReturn:
    raise Flaw("not JSON")  # NaN, Infinity and -Infinity are not in JSON's grammar


def _whole(text: str) -> int | Number:
    try:
        # The integer 0 has no sign: -0 must not be taken for the one text of it.
        return Number(text) if text == "-0" else int(text)
    except ValueError:  # Python converts no more than 4300 digits
        return Number(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_members, parse_int=_whole, parse_float=Number, parse_constant=_refuse_constant
)
_FAST_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=Number)
_MINUS_ZERO = re.compile(rb"-0(?![.eE])")


def _refuse_lone_surrogates(value: dict[str, Any]) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise without_context(Flaw("lone surrogate")) from None


def _depth(text: str) -> int:
    deepest = level = 0
    in_string = escaped = False
    for character in text:
        if in_string:
            in_string = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_string = True
        elif character in "{[":
            level += 1
            deepest = max(deepest, level)
        elif character in "}]":
            level -= 1
    return deepest
