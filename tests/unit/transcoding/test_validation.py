"""What a request needs before anything is sent; every violation is listed, each under its field's path."""

from typing import Any

import pytest

from bridge.errors import InvalidRequest
from bridge.outcome import Violation
from bridge.transcoding.validation import FIELD_BYTES_MAX, parse, validator_of
from tests.support.proto_text import HEADER, compile_proto, message_class
from wallet.v1.wallet_service_pb2 import TerminateRequest

UNSET = "is required"
TOO_LONG = "is longer than 4096 bytes"
NO_DECIMAL = "must be the decimal text of a number of 0 or more, like 12.50"
WIDE = "\U0001f600"  # four bytes of UTF-8

GOOD: dict[str, Any] = {"token": "t", "player_id": 1, "site_id": 1, "provider_id": 1, "game_id": "g", "currency": "EUR"}

FILE = compile_proto(
    HEADER
    + """
enum Mood { MOOD_UNSPECIFIED = 0; MOOD_GOOD = 1; }
message Needs {
  string text = 1 [(google.api.field_behavior) = REQUIRED];
  uint64 number = 2 [(google.api.field_behavior) = REQUIRED];
  bool flag = 3 [(google.api.field_behavior) = REQUIRED];
  Mood mood = 4 [(google.api.field_behavior) = REQUIRED];
  bytes blob = 5 [(google.api.field_behavior) = REQUIRED];
  repeated string tags = 6 [(google.api.field_behavior) = REQUIRED];
  map<string, string> notes = 7 [(google.api.field_behavior) = REQUIRED];
  Free free = 8 [(google.api.field_behavior) = REQUIRED];
  google.type.Decimal amount = 9 [(google.api.field_behavior) = REQUIRED];
  optional uint64 maybe = 10 [(google.api.field_behavior) = IMMUTABLE, (google.api.field_behavior) = REQUIRED];
}
message Free {
  string text = 1;
  bytes blob = 2;
  optional string maybe = 3;
  google.type.Decimal amount = 4;
  repeated google.type.Decimal amounts = 5;
  repeated string tags = 6;
  map<string, string> notes = 7;
  map<uint64, bytes> blobs = 8;
  map<string, Player> players = 9;
  repeated Player friends = 10;
  Player player = 11;
  repeated uint64 numbers = 12;
  map<uint64, uint64> counts = 13;
  oneof choice {
    string left = 14;
    Player right = 15;
  }
}
message Player {
  string name = 1 [(google.api.field_behavior) = REQUIRED];
  Player partner = 2;
  string note = 3 [(google.api.field_behavior) = OPTIONAL];
}
"""
)
Needs, Free, Player = (message_class(FILE, name) for name in ("Needs", "Free", "Player"))
FULL: dict[str, Any] = {
    "text": "x",
    "number": 1,
    "flag": True,
    "mood": 1,
    "blob": b"x",
    "tags": [""],
    "notes": {"": ""},
    "free": {},
    "amount": {"value": "0"},
    "maybe": 0,
}


def violations(message: Any) -> list[tuple[str, str]]:
    """Return what is wrong with a message: (path, text) of each violation, none where it is valid."""
    try:
        validator_of(message.DESCRIPTOR).validate(message)
    except InvalidRequest as error:
        return [(violation.field, violation.description) for violation in error.violations]
    return []


@pytest.mark.parametrize("name", GOOD)
def test_each_field_of_terminate_is_required(name: str) -> None:
    """Unset, or its default: an empty text or an id of 0 is refused."""
    rest = {other: value for other, value in GOOD.items() if other != name}
    default = type(GOOD[name])()
    for request in (TerminateRequest(**rest), TerminateRequest(**rest, **{name: default})):
        assert violations(request) == [(name, UNSET)]


def test_every_unset_field_is_listed() -> None:
    """A caller fixes everything at once: all violations come together, in the proto's order."""
    assert violations(TerminateRequest()) == [(name, UNSET) for name in GOOD]


@pytest.mark.parametrize("name", FULL)
def test_a_field_of_any_kind_can_be_required(name: str) -> None:
    """Without presence the default is unset (AIP-203); with presence only what is absent is."""
    assert violations(Needs(**FULL)) == []
    assert violations(Needs(**{other: value for other, value in FULL.items() if other != name})) == [(name, UNSET)]


NESTED: dict[str, tuple[Any, list[tuple[str, str]]]] = {
    "message": (Free(player=Player()), [("player.name", UNSET)]),
    "message in message": (
        Free(player=Player(name="a", partner=Player(name="b", partner=Player()))),
        [("player.partner.partner.name", UNSET)],
    ),
    "message of a choice": (Free(right=Player()), [("right.name", UNSET)]),
    "repeated": (
        Free(friends=[Player(), Player(name="a"), Player(partner=Player())]),
        [("friends[0].name", UNSET), ("friends[2].name", UNSET), ("friends[2].partner.name", UNSET)],
    ),
    "map": (Free(players={"secret-b": Player(), "secret-a": Player(name="a")}), [("players[1].name", UNSET)]),
    "not there": (Free(), []),
    "two fields": (
        Free(text="x" * 4097, player=Player(note="x" * 4097)),
        [("text", TOO_LONG), ("player.name", UNSET), ("player.note", TOO_LONG)],
    ),
}


@pytest.mark.parametrize(("message", "wanted"), NESTED.values(), ids=NESTED)
def test_messages_inside_are_checked_where_they_are_set(message: Any, wanted: list[tuple[str, str]]) -> None:
    """The path leads to the field; an entry of a map is numbered, for its key may be a secret."""
    assert violations(message) == wanted


JUST = {"ASCII": "x" * 4096, "4-byte characters": WIDE * 1024, "mixed": WIDE * 1023 + "\u017c\u017c"}
PLACES = {
    "string": (lambda text: Free(text=text), "text"),
    "optional string": (lambda text: Free(maybe=text), "maybe"),
    "string of a choice": (lambda text: Free(left=text), "left"),
    "repeated string": (lambda text: Free(tags=["a", text]), "tags[1]"),
    "value of a map": (lambda text: Free(notes={"b": text, "a": ""}), "notes[1]"),
    "key of a map": (lambda text: Free(notes={text: "", "a": ""}), "notes[1]"),
    "bytes": (lambda text: Free(blob=text.encode()), "blob"),
    "bytes in a map": (lambda text: Free(blobs={7: text.encode()}), "blobs[0]"),
}


@pytest.mark.parametrize("text", JUST.values(), ids=JUST)
@pytest.mark.parametrize(("message", "path"), PLACES.values(), ids=PLACES)
def test_texts_are_measured_in_bytes(message: Any, path: str, text: str) -> None:
    """4096 bytes of UTF-8 are sent, 4097 are not, wherever the text stands."""
    assert len(text.encode()) == FIELD_BYTES_MAX
    assert violations(message(text)) == []
    assert violations(message(text + "x")) == [(path, TOO_LONG)]


def test_numbers_have_no_length() -> None:
    """Nothing is asked of what cannot be wrong."""
    assert violations(Free(numbers=[0, 2**64 - 1], counts={0: 0})) == []


BAD_DECIMALS = ("", "-1", "+1", "1.", ".5", "01", "1e", "1e301", "NaN", "Infinity", "1 ", "1,5", "\u0661", "9" * 65)


@pytest.mark.parametrize("text", BAD_DECIMALS)
def test_a_decimal_must_be_a_number_of_json(text: str) -> None:
    """Its text goes into the body as it stands: what is no unsigned number of JSON is refused."""
    assert violations(Free(amount={"value": text})) == [("amount", NO_DECIMAL)]
    assert violations(Free(amounts=[{"value": "1.50"}, {"value": text}])) == [("amounts[1]", NO_DECIMAL)]


@pytest.mark.parametrize("text", ["0", "0.10", "22085.75", "1e2", "9" * 64])
def test_a_good_decimal_is_sent(text: str) -> None:
    """Every text that the codec can write is valid."""
    assert violations(Free(amount={"value": text})) == []


@pytest.mark.parametrize(
    "serialized",
    [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe", b"\x0a\x03\xed\xa0\x80"],
    ids=["no field", "cut short", "not UTF-8", "surrogate in UTF-8"],
)
def test_bytes_that_are_no_request_are_refused(serialized: bytes) -> None:
    """Malformed protobuf and invalid UTF-8 in a string are the caller's to fix; the text names the message only."""
    with pytest.raises(InvalidRequest) as refusal:
        parse(TerminateRequest, serialized)
    text = "the request is no wallet.v1.TerminateRequest: it is malformed, or a string in it is not UTF-8"
    assert refusal.value.violations == (Violation("", text),)
    assert refusal.value.__suppress_context__
