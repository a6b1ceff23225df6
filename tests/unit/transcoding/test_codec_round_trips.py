"""What goes out can be read back: by a parser that is not ours, and by our own."""

import json
from typing import Any

from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from bridge.transcoding.codec import codec_of
from bridge.transcoding.strict_json import parse_object
from tests.support.proto_text import HEADER, compile_proto, message_class
from wallet.v1.wallet_service_pb2 import TerminateRequest

FILE = compile_proto(
    HEADER
    + """
enum Mood { MOOD_UNSPECIFIED = 0; MOOD_GOOD = 1; MOOD_BAD = 2; }
message Rich {
  string text = 1;
  uint64 id = 2;
  int64 delta = 3;
  sint32 small = 4;
  bool flag = 5;
  Mood mood = 6;
  bytes blob = 7;
  google.type.Decimal amount = 8;
  Rich child = 9;
  repeated string tags = 10;
  repeated uint64 ids = 11;
  repeated Rich children = 12;
  map<string, uint64> counts = 13;
  map<int64, Mood> moods = 14;
  map<bool, Rich> twins = 15;
  optional uint64 maybe = 16;
  oneof choice {
    string left = 17;
    bytes right = 18;
  }
}
"""
)
RICH = message_class(FILE, "Rich")
DECIMAL: Any = GetMessageClass(FILE.pool.FindMessageTypeByName("google.type.Decimal"))

UINT64 = st.integers(0, 2**64 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
DIGITS = st.from_regex(r"(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)


def rich(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for messages around these."""
    fields: dict[str, st.SearchStrategy[Any]] = {
        "text": st.text(),
        "id": UINT64,
        "delta": INT64,
        "small": INT32,
        "flag": st.booleans(),
        "mood": st.integers(0, 2) | INT32,
        "blob": st.binary(),
        "amount": st.builds(DECIMAL, value=DIGITS),
        "child": children,
        "tags": st.lists(st.text(), max_size=3),
        "ids": st.lists(UINT64, max_size=3),
        "children": st.lists(children, max_size=2),
        "counts": st.dictionaries(st.text(), UINT64, max_size=3),
        "moods": st.dictionaries(INT64, st.integers(0, 2), max_size=3),
        "twins": st.dictionaries(st.booleans(), children),
        "maybe": UINT64,
        "left": st.text(),
    }
    right = {name: strategy for name, strategy in fields.items() if name != "left"} | {"right": st.binary()}
    choices = (st.fixed_dictionaries({}, optional=optional) for optional in (fields, right))
    return st.one_of(*choices).map(lambda chosen: RICH(**chosen))


MESSAGES = st.recursive(st.just(RICH()), rich, max_leaves=6)
REQUESTS = {
    "token": st.text(min_size=1),
    "player_id": UINT64,
    "site_id": UINT64,
    "provider_id": UINT64,
    "game_id": st.text(min_size=1),
    "currency": st.text(min_size=1),
}


@given(values=st.tuples(*REQUESTS.values()))
def test_an_independent_parser_gives_the_request_back(values: tuple[Any, ...]) -> None:
    """Every request is compact JSON that Python's own parser reads back: the proto's order, ids as numbers."""
    fields = dict(zip(REQUESTS, values, strict=True))
    body = codec_of(TerminateRequest.DESCRIPTOR).encode(TerminateRequest(**fields))
    read = json.loads(body, parse_int=int)
    assert list(read.items()) == list(fields.items())
    assert body == json.dumps(read, ensure_ascii=False, separators=(",", ":")).encode()


@given(MESSAGES)
def test_any_message_is_read_back(message: Any) -> None:
    """Every field of every kind survives the way out and back, presence included."""
    codec = codec_of(RICH.DESCRIPTOR)
    assert codec.from_json(parse_object(codec.encode(message))) == message
