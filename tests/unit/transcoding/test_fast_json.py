"""The fast JSON decoder beside the strict one: what it vouches for, the strict one reads the same, to the type.

`make fast-json` compares 100,000 documents that Hypothesis makes, `make test` some of them.
"""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.sandbox.answers import Silence, envelope
from bridge.sandbox.operations import TERMINATE, TERMINATE_REQUEST
from bridge.sandbox.recipes import Call
from bridge.sandbox.rows import ROWS
from bridge.transcoding.number import Number
from bridge.transcoding.strict_json import DEPTH_MAX, Flaw, parse_fast, parse_object, parse_strictly
from tests.path.test_answers import ACCEPTED, INVALID, success
from tests.support.examples import examples
from tests.unit.transcoding.test_strict_json import IN_STRINGS, NUMBERS, REFUSALS, TEXTS, arrays, objects

EXAMPLES = int(os.environ.get("EXAMPLES", "1000"))
HANGS_AFTER_S = 300 + EXAMPLES // 20


def with_types(value: Any) -> Any:
    """Return a value with the types of all its parts in plain sight, and the order of its members."""
    if isinstance(value, dict):
        return [(with_types(name), with_types(member)) for name, member in value.items()]
    if isinstance(value, list):
        return [with_types(member) for member in value]
    return type(value), value


def end_of(parse: Callable[[bytes], Any], body: bytes) -> Any:
    """Return what a decoder makes of a document: its members, or the text of its flaw."""
    try:
        return with_types(parse(body))
    except Flaw as flaw:
        return str(flaw)


def check(body: bytes) -> None:
    """Check that both decoders together end as the strict one alone, and that the fast one does not contradict it."""
    strict = end_of(parse_strictly, body)
    assert end_of(parse_object, body) == strict
    members = parse_fast(body)
    assert members is None or with_types(members) == strict


CALL = Call(
    TERMINATE_REQUEST["token"], {**envelope(status=True, code=1, message=""), **TERMINATE.success(TERMINATE_REQUEST)}
)
PLANS = {row.token: row.plan(CALL) for row in ROWS}

FIXED: dict[str, bytes] = {
    **{f"refused: {name}": body for name, (body, _) in REFUSALS.items()},
    **{f"text: {name}": body for name, (body, _) in TEXTS.items()},
    **{f"number: {text[:24]}": f'{{"a":{text}}}'.encode() for text in NUMBERS},
    "-0 after white space": b'{"a": \t-0}',
    **{f"brackets {name}": json.dumps({"a": text, text: [1]}).encode() for name, text in IN_STRINGS.items()},
    **{f"invalid answer: {name}": body for name, (body, _) in INVALID.items()},
    **{f"accepted answer: {name}": body for name, (body, _) in ACCEPTED.items()},
    **{f"sandbox: {token}": plan.answer.body for token, plan in PLANS.items() if not isinstance(plan, Silence)},
}
"""Every document of the tests of faults, and the answer of every test token of the sandbox."""

NUMBER_TEXTS = (
    *(str(bound + off) for bound in (0, 2**31, 2**53, 2**63, 2**64, -(2**63), -(2**64)) for off in (-1, 0, 1)),
    *("7" * count for count in (19, 20, 21, 64, 65, 4299, 4300, 4301)),
    *(form.format("7" * count) for form in ("-{}", "0.{}", "{}.0", "{}e1") for count in (1, 20, 65, 4301)),
    *("-0", "-0.0", "-0e1", "00", "-01", "1e5", "1E+400", "1e-400", "1.", ".5", "+1", "0x1", "-", "\u0661"),
)
STRINGS = (
    *('""', '"a"', '"a:b"', '"-0"', '"x-0"', '"[{"', '"}]"', '"\\""', '"\\\\"', '"\\/"', '"ż😀"', '"\x7f"', '"\u2028"'),
    *('"\\u0061"', '"\\ud800"', '"\\ude00\\ud83d"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\\\ud800"'),
    *('"\\x"', '"\n"', '"\0"', '"', '"\\', "'a'", '"\ud800"'),
)
WORDS = ("true", "false", "null", "NaN", "Infinity", "-Infinity", "nul", "True", "")
SCALARS = NUMBER_TEXTS + STRINGS + WORDS
NESTED = (
    *("{}", "[]", "[[]]", "[{}]", '{"a":{}}', '{"a":1}', '{"a":1,"a":1}', '{"a":1,"b":1}', "[-0]", '{"a":-0}', "[1,]"),
    *(nest(levels) for nest in (arrays, objects) for levels in range(DEPTH_MAX - 2, DEPTH_MAX + 2)),
)
NAMES = ('"a"', '"b"', '"status"', '"\\u0061"', '"a:b"', '""', '"ż"', "a", "")
MEMBERS = tuple(f"{name}{colon}{value}" for name in NAMES for colon in (":", " : ") for value in SCALARS + NESTED)
COMMAS = (",", ",", ",", " , ", ",\n", ",,", "")
AROUND = (*3 * ("{%s}",), "\n {%s}\t\r", "[{%s}]", "{%s", "%s", "{%s}x", "{%s}{}", "\ufeff{%s}", "\0{%s}", "{%s,}")
JSON_CHARACTERS = '{}[]":,\\u0d8a1e-.+ \ntruefalsn'
"""What JSON is made of, so that a text of these is sometimes a value."""
PIECES = (b"", b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b'"', b":", b",", b"-", b"0", b"}", b"[", b"\\u")


WHOLE = st.one_of(
    st.builds(
        lambda members, comma, around: (around % comma.join(members)).encode("utf-8", "surrogatepass"),
        st.lists(st.sampled_from(MEMBERS), max_size=4),
        st.sampled_from(COMMAS),
        st.sampled_from(AROUND),
    ),
    st.builds(
        lambda name, value: success(**{name: value.encode("utf-8", "replace").decode()}),
        st.sampled_from(["status", "code", "message", "balance", "more"]),
        st.sampled_from(SCALARS + NESTED),
    ),
    st.text(JSON_CHARACTERS, max_size=12).map(lambda text: f'{{"a":{text}}}'.encode()),
    st.text(max_size=12).map(lambda text: json.dumps({"a": text, text: 1}, ensure_ascii=False).encode()),
)
SPOILED = st.builds(
    lambda body, at, piece, length: body[:at] + piece + body[at + length :],
    WHOLE,
    st.integers(0, 120),
    st.sampled_from(PIECES),
    st.integers(0, 2),
)
DOCUMENTS = WHOLE | SPOILED


@pytest.mark.parametrize("body", FIXED.values(), ids=FIXED)
def test_every_document_of_the_fault_tests_is_read_alike(body: bytes) -> None:
    """No document that a test of a fault uses is read in two ways."""
    check(body)


@pytest.mark.timeout(HANGS_AFTER_S)
@settings(max_examples=examples(EXAMPLES))
@given(DOCUMENTS)
def test_any_document_is_read_alike(body: bytes) -> None:
    """Whatever the document is, the fast decoder reads it as the strict one does, or leaves it to that."""
    check(body)


VOUCHED = {
    "the wallet's page": success(),
    "with white space": success().replace(b",", b",\n  ").replace(b":", b" : "),
    "with 30 digits": success(balance="123456789012345678901234567.891"),
    "with the largest id": success(player_id=str(2**64 - 1)),
    "with balance 0": success(balance="0"),
    "with a fraction of 0": success(balance="0.00"),
    "with an unknown member": success(more="null"),
    "with text beyond ASCII": success(message='"ż😀"'),
    "a failure": b'{"status":false,"code":7,"message":"no","request_id":"1"}',
}


@pytest.mark.parametrize("body", VOUCHED.values(), ids=VOUCHED)
def test_what_a_wallet_says_every_day_is_read_fast(body: bytes) -> None:
    """The fast decoder reads the documents that wallets send: it is no trick that applies to none."""
    assert parse_fast(body) == parse_strictly(body)


def test_whole_numbers_are_exact_whatever_their_size() -> None:
    """A whole number is an int up to 4300 digits in both decoders, and its text beyond that."""
    assert parse_object(b'{"a":' + b"9" * 4300 + b"}") == {"a": 10**4300 - 1}
    assert type(parse_object(b'{"a":' + b"9" * 4301 + b"}")["a"]) is Number
