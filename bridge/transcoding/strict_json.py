"""Strict JSON, as the wallet's answers must be: RFC 8259 and more, because a misread answer costs money.

The standard library's scanner does the work, for two things that faster ones lack: it shows every member of an object
in order, so that a duplicate name is seen, and it hands over the text of a number, so that nothing becomes a float.
"""

import json
from typing import Any, NoReturn

DEPTH_MAX = 64
"""Levels of nesting. The wallet's objects have one; the bound keeps a hostile answer off the interpreter's stack."""


class Flaw(ValueError):
    """Error in a text, in the bridge's own words: never a part of the text."""

    def inside(self, name: str) -> "Flaw":
        """Return the same flaw with its place: the name of a field of our proto."""
        return Flaw(f"{name}: {self}" if ": " not in str(self) else f"{name}.{self}")


class Number(str):
    """The exact text of a JSON number; its type distinguishes it from a string."""

    __slots__ = ()


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the members of the JSON object that these bytes are; raise Flaw for anything else.

    Numbers come as Number. Refused: what is not UTF-8 or starts with a byte order mark, a duplicate name at any level,
    NaN and Infinity, a lone surrogate, more than DEPTH_MAX levels, anything after the object.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise Flaw("not UTF-8") from None
    # There cannot be more levels than opening brackets; only a suspicious text is measured exactly.
    if text.count("{") + text.count("[") > DEPTH_MAX and _depth(text) > DEPTH_MAX:
        raise Flaw("nested too deep")
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError:
        raise Flaw("not JSON") from None
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


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_members, parse_int=Number, parse_float=Number, parse_constant=_refuse_constant
)


def _refuse_lone_surrogates(value: dict[str, Any]) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Flaw("lone surrogate") from None


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
