"""Strict JSON: what is read, what is refused, and that nothing else ever comes out of it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.transcoding.number import Number
from bridge.transcoding.strict_json import DEPTH_MAX, Flaw, parse_object
from tests.support.examples import examples

NOT_JSON = "not JSON"
NOT_AN_OBJECT = "not a JSON object"
DUPLICATE = "duplicate key"
SURROGATE = "lone surrogate"
TOO_DEEP = "nested too deep"

# docs/design/faults.md, "Answer", as far as it is about the text.
REFUSALS = {
    "empty body": (b"", NOT_JSON),
    "white space only": (b" \n", NOT_JSON),
    "byte order mark": (b'\xef\xbb\xbf{"a":1}', NOT_JSON),
    "UTF-16": ('{"a":1}'.encode("utf-16"), "not UTF-8"),
    "invalid UTF-8": (b'{"a":"\xff"}', "not UTF-8"),
    "overlong UTF-8": (b'{"a":"\xc0\xaf"}', "not UTF-8"),
    "surrogate in UTF-8": (b'{"a":"\xed\xa0\x80"}', "not UTF-8"),
    "HTML": (b"<html>502 Bad Gateway</html>", NOT_JSON),
    "trailing bytes": (b'{"a":1}x', NOT_JSON),
    "two objects": (b"{}{}", NOT_JSON),
    "trailing NUL": (b"{}\0", NOT_JSON),
    "cut short": (b'{"a":1', NOT_JSON),
    "trailing comma": (b'{"a":1,}', NOT_JSON),
    "comment": (b'{"a":1} // no', NOT_JSON),
    "single quotes": (b"{'a':1}", NOT_JSON),
    "name without quotes": (b"{a:1}", NOT_JSON),
    "no-break space": ('{"a":\u00a01}'.encode(), NOT_JSON),
    "raw newline in a string": (b'{"a":"\n"}', NOT_JSON),
    "bad escape": (b'{"a":"\\x41"}', NOT_JSON),
    "NaN": (b'{"a":NaN}', NOT_JSON),
    "Infinity": (b'{"a":Infinity}', NOT_JSON),
    "-Infinity": (b'{"a":-Infinity}', NOT_JSON),
    "leading zero": (b'{"a":01}', NOT_JSON),
    "plus sign": (b'{"a":+1}', NOT_JSON),
    "point without digits": (b'{"a":1.}', NOT_JSON),
    "Arabic-Indic digit": ('{"a":\u0661}'.encode(), NOT_JSON),
    "mixed digits": ('{"a":1\u0661}'.encode(), NOT_JSON),
    "hexadecimal": (b'{"a":0x1}', NOT_JSON),
    "array": (b"[{}]", NOT_AN_OBJECT),
    "string": (b'"{}"', NOT_AN_OBJECT),
    "number": (b"1", NOT_AN_OBJECT),
    "null": (b"null", NOT_AN_OBJECT),
    "true": (b"true", NOT_AN_OBJECT),
    "duplicate key": (b'{"a":1,"b":2,"a":1}', DUPLICATE),
    "duplicate key, one escaped": (b'{"a":1,"\\u0061":1}', DUPLICATE),
    "duplicate key inside": (b'{"a":[{"b":{"c":1,"c":2}}]}', DUPLICATE),
    "lone high surrogate": (b'{"a":"\\ud83d"}', SURROGATE),
    "lone low surrogate": (b'{"a":"\\ude00"}', SURROGATE),
    "surrogates the wrong way round": (b'{"a":"\\ude00\\ud83d"}', SURROGATE),
    "lone surrogate in a name": (b'{"\\ud83d":1}', SURROGATE),
    "lone surrogate inside": (b'{"a":[{"b":"\\ud83d"}]}', SURROGATE),
    "nested 100 000 deep": (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", TOO_DEEP),
    "100 000 objects deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, TOO_DEEP),
    "100 000 brackets that never close": (b"[" * 100_000, TOO_DEEP),
    "brackets that close before they open": (b"]" * 100 + b"[" * 100, NOT_JSON),
}

TEXTS = {
    "escapes": (rb'{"a":"\"\\\/\b\f\n\r\t"}', '"\\/\b\f\n\r\t'),
    "escaped letter": (rb'{"a":"\u017c"}', "ż"),
    "surrogate pair": (rb'{"a":"\ud83d\ude00"}', "😀"),
    "escaped NUL": (rb'{"a":"\u0000"}', "\0"),
    "an escaped backslash before u": (rb'{"a":"\\ud83d"}', "\\ud83d"),
    "raw UTF-8": ('{"a":"ż😀\u2028\x7f"}'.encode(), "ż😀\u2028\x7f"),
}

NUMBERS = ("-0", "0.10", "1.0", "1e2", "1E+400", "-1.5e-3", "9" * 5000)
WHOLE_NUMBERS = (0, 1, -1, 2**64 - 1, 2**64, 10**30, -(10**30))

BRACKETS = "[{" * DEPTH_MAX

IN_STRINGS = {
    "plain": BRACKETS,
    "after a quote": f'"{BRACKETS}',
    "after a backslash": f"\\{BRACKETS}",
    "after backslash and quote": f'\\"{BRACKETS}',
    "before a backslash": f"{BRACKETS}\\",
}


@pytest.mark.parametrize(("body", "why"), REFUSALS.values(), ids=REFUSALS)
def test_what_is_no_object_in_strict_json_is_a_flaw(body: bytes, why: str) -> None:
    """Each row of docs/design/faults.md that is about the text is refused, and the flaw says why in words of ours."""
    with pytest.raises(Flaw) as flaw:
        parse_object(body)
    assert str(flaw.value) == why


@pytest.mark.parametrize(("body", "text"), TEXTS.values(), ids=TEXTS)
def test_strings_are_read_as_they_are_meant(body: bytes, text: str) -> None:
    """Escapes and surrogate pairs become their characters; a string is a plain str."""
    value = parse_object(body)["a"]
    assert value == text
    assert type(value) is str


@pytest.mark.parametrize("number", WHOLE_NUMBERS)
def test_whole_numbers_are_ints(number: int) -> None:
    """A whole number is an int, whatever its size; nothing becomes a float."""
    value = parse_object(f'{{"a":{number}}}'.encode())["a"]
    assert value == number
    assert type(value) is int


@pytest.mark.parametrize("text", NUMBERS, ids=lambda text: text[:24])
def test_other_numbers_keep_their_text(text: str) -> None:
    """Any other number is its exact text, of a type of its own; so is -0, which is not the number 0."""
    value = parse_object(f'{{"a":{text}}}'.encode())["a"]
    assert value == text
    assert type(value) is Number


def test_the_other_values_are_pythons_own() -> None:
    """Members keep their order; true, false, null, objects and arrays are what json makes of them."""
    members = parse_object(b' {"b" : true, "a" : [false, null, {}, []] }\r\n\t')
    assert list(members.items()) == [("b", True), ("a", [False, None, {}, []])]


def arrays(levels: int) -> str:
    """Return an object whose nesting is this deep, made of arrays."""
    return '{"a":' + "[" * (levels - 1) + "]" * (levels - 1) + "}"


def objects(levels: int) -> str:
    """Return an object whose nesting is this deep, made of objects."""
    return '{"a":' * (levels - 1) + "{}" + "}" * (levels - 1)


@pytest.mark.parametrize("nested", [arrays, objects])
def test_the_depth_is_bounded_exactly(nested: Callable[[int], str]) -> None:
    """64 levels are read, 65 are refused."""
    parse_object(nested(64).encode())
    with pytest.raises(Flaw, match=TOO_DEEP):
        parse_object(nested(65).encode())


def test_what_was_closed_no_longer_counts() -> None:
    """64 levels with neighbours before and after are still 64 levels; one more inside is one too many."""
    neighbours = '{"a":[[]],"b":{},"c":%s,"d":[{}]}'
    parse_object((neighbours % objects(63)).encode())
    with pytest.raises(Flaw, match=TOO_DEEP):
        parse_object((neighbours % objects(64)).encode())


@pytest.mark.parametrize("text", IN_STRINGS.values(), ids=IN_STRINGS)
def test_brackets_inside_strings_do_not_count(text: str) -> None:
    """Only structure is depth, whatever quotes and backslashes stand around the brackets."""
    assert parse_object(json.dumps({"a": text, text: [1]}).encode()) == {"a": text, text: [1]}


def test_a_flaw_says_its_place() -> None:
    """The names of the fields around a flaw become a path before its text."""
    assert str(Flaw("must be a string").inside("name")) == "name: must be a string"
    assert str(Flaw("must be a string").inside("name").inside("player")) == "player.name: must be a string"


def test_two_flaws_of_one_value_are_two_values() -> None:
    """A flaw with its place is a new one: the first stays as it was."""
    flaw = Flaw("must be a string")
    assert flaw.inside("name") is not flaw
    assert str(flaw) == "must be a string"


FLAWS = frozenset({why for _, why in REFUSALS.values()})


@given(st.binary() | st.text().map(str.encode) | st.text('{}[]":,\\u0d8a1e-.NIntruefals ').map(str.encode))
@settings(max_examples=examples(500))
def test_arbitrary_bytes_are_an_object_or_a_flaw(body: bytes) -> None:
    """No bytes make it raise anything else, and no flaw has another text."""
    try:
        found: object = parse_object(body)
    except Flaw as flaw:
        found = str(flaw)
    assert type(found) is dict or found in FLAWS


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def as_read(value: Any) -> Any:
    """Return what reading must make of a value that json wrote, with the types of its texts in plain sight."""
    if isinstance(value, dict):
        return {name: as_read(member) for name, member in value.items()}
    if isinstance(value, list):
        return [as_read(member) for member in value]
    if isinstance(value, Number) or type(value) in (int, float):
        return ("number", str(value))
    return value


@given(members=st.dictionaries(st.text(), VALUES), ascii_only=st.booleans(), indent=st.sampled_from([None, 2]))
def test_any_object_is_read_back(*, members: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    """Whatever object json can write is read back equal, numbers as their text."""
    written = json.dumps(members, ensure_ascii=ascii_only, indent=indent)
    assert as_read(parse_object(written.encode())) == as_read(members)
