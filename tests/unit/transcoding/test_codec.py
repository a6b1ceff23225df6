"""Protobuf <-> JSON: each row of the codec's table in both directions, with all its edges."""

from typing import Any

import pytest
from google.protobuf.message_factory import GetMessageClass

from bridge.transcoding.codec import codec_of
from bridge.transcoding.operation import ContractError
from bridge.transcoding.strict_json import Flaw, parse_object
from tests.support.proto_text import HEADER, compile_proto, message_class

INT32, UINT32 = (-(2**31), 2**31 - 1), (0, 2**32 - 1)
INT64, UINT64 = (-(2**63), 2**63 - 1), (0, 2**64 - 1)
INTEGERS = {
    "int32": INT32,
    "sint32": INT32,
    "sfixed32": INT32,
    "uint32": UINT32,
    "fixed32": UINT32,
    "int64": INT64,
    "sint64": INT64,
    "sfixed64": INT64,
    "uint64": UINT64,
    "fixed64": UINT64,
}

# One field of each type under the type's name; the composites follow. Numbers run against the order on purpose.
PROTO = (
    HEADER
    + "enum Mood { MOOD_UNSPECIFIED = 0; MOOD_GOOD = 1; MOOD_BAD = -2; }"
    + "message All {"
    + "".join(f"optional {name} {name}_field = {40 - index};" for index, name in enumerate(INTEGERS))
    + """
  optional string text = 29;
  optional bool flag = 28;
  optional Mood mood = 27;
  optional bytes blob = 26;
  google.type.Decimal amount = 25;
  All child = 24;
}
message Composite {
  repeated uint64 numbers = 9;
  repeated Composite children = 8;
  repeated google.type.Decimal amounts = 7;
  map<string, Composite> twins = 6;
  map<string, google.type.Decimal> prices = 5;
}
message Plain { string text = 4; uint64 number = 3; bool flag = 2; Mood mood = 1; bytes blob = 5; }
message Choice { oneof choice { string left = 2; uint64 right = 1; } }
message Keys {"""
    + "".join(
        f"map<{name}, string> {name}_keys = {index};" for index, name in enumerate([*INTEGERS, "string", "bool"], 1)
    )
    + "}"
)
FILE = compile_proto(PROTO)
All, Composite, Plain, Choice, Keys = (
    message_class(FILE, name) for name in ("All", "Composite", "Plain", "Choice", "Keys")
)
# The file has a pool, hence a Decimal, of its own.
DECIMAL: Any = GetMessageClass(FILE.pool.FindMessageTypeByName("google.type.Decimal"))


def read(kind: Any, text: str) -> Any:
    """Return the message of this kind that a JSON text means."""
    return codec_of(kind.DESCRIPTOR).from_json(parse_object(text.encode()))


def written(message: Any) -> str:
    """Return the JSON text of a message."""
    return codec_of(message.DESCRIPTOR).encode(message).decode()


EDGES = [(name, edge) for name, edges in INTEGERS.items() for edge in (*edges, 0, 1)]
OUTSIDE = [(name, edge) for name, (low, high) in INTEGERS.items() for edge in (low - 1, high + 1, 2**64, -(2**64))]
NOT_WHOLE = {
    "true": "true",
    "null": "null",
    "1.0": "1.0",
    "1e3": "1e3",
    "-0": "-0",
    "5000 digits": "1" * 5000,
    "array": "[1]",
    "object": "{}",
    "empty": '""',
    "leading zero": '"01"',
    "space before": '" 1"',
    "space after": '"1 "',
    "line end": '"1\\n"',
    "plus sign": '"+1"',
    "underscore": '"1_0"',
    "hexadecimal": '"0x1"',
    "fraction as text": '"1.0"',
    "word": '"one"',
    "Arabic-Indic digit": '"\\u0661"',
    "full-width digit": '"\\uff11"',
}


@pytest.mark.parametrize(("name", "number"), EDGES)
def test_integers_go_both_ways_up_to_their_edges(name: str, number: int) -> None:
    """Written as a bare number; read from a number and from its decimal text."""
    message = All(**{f"{name}_field": number})
    assert written(message) == f'{{"{name}_field":{number}}}'
    assert read(All, f'{{"{name}_field":{number}}}') == message
    assert read(All, f'{{"{name}_field":"{number}"}}') == message


@pytest.mark.parametrize(("name", "number"), OUTSIDE)
def test_one_beyond_the_edge_is_refused(name: str, number: int) -> None:
    """An integer that its type cannot hold is never wrapped or rounded."""
    for text in (f"{number}", f'"{number}"'):
        with pytest.raises(Flaw, match=f"^{name}_field: (number out of range|must be a whole number)$"):
            read(All, f'{{"{name}_field":{text}}}')


@pytest.mark.parametrize("name", ["uint64", "int32"])
@pytest.mark.parametrize("text", NOT_WHOLE.values(), ids=NOT_WHOLE)
def test_what_is_no_whole_number_is_refused(name: str, text: str) -> None:
    """Neither a fraction nor a boolean nor anything that merely looks like a number is an integer."""
    with pytest.raises(Flaw, match=f"^{name}_field: must be a whole number$"):
        read(All, f'{{"{name}_field":{text}}}')


SCALARS: dict[str, tuple[dict[str, Any], str, tuple[str, ...]]] = {
    "empty string": ({"text": ""}, '""', ()),
    "string": ({"text": "example"}, '"example"', ()),
    "string from an integer": ({"text": "123"}, '"123"', ("123",)),
    "string from an integer beyond 64 bits": ({"text": "9" * 5000}, f'"{"9" * 5000}"', ("9" * 5000,)),
    "unicode": ({"text": "żółć 😀 \u2028"}, '"żółć 😀 \u2028"', ('"\\u017c\\u00f3łć \\ud83d\\ude00 \\u2028"',)),
    "escapes": ({"text": '"\\/\0\n\x1f'}, '"\\"\\\\/\\u0000\\n\\u001f"', ()),
    "true": ({"flag": True}, "true", ()),
    "false": ({"flag": False}, "false", ()),
    "enum": ({"mood": 1}, '"MOOD_GOOD"', ("1", '"MOOD_GOOD"')),
    "enum, negative": ({"mood": -2}, '"MOOD_BAD"', ("-2",)),
    "enum, unknown number": ({"mood": 77}, "77", ()),
    "empty bytes": ({"blob": b""}, '""', ()),
    "bytes": ({"blob": b"\xfb\xff\0"}, '"+/8A"', ()),
    "bytes, padded": ({"blob": b"a"}, '"YQ=="', ()),
}
DECIMALS = ("0", "1e2", "0.10", "22085.75", "123456789012345678901234567890", "0.1E+300", "1e-300", "9" * 64)


@pytest.mark.parametrize(("fields", "text", "also"), SCALARS.values(), ids=SCALARS)
def test_scalars_go_both_ways(fields: dict[str, Any], text: str, also: tuple[str, ...]) -> None:
    """Written in one way, without escapes for printable characters; read back equal, also from the looser forms."""
    (name,) = fields
    message = All(**fields)
    assert written(message) == f'{{"{name}":{text}}}'
    for form in (text, *also):
        assert read(All, f'{{"{name}":{form}}}') == message


@pytest.mark.parametrize("text", DECIMALS)
def test_a_decimal_keeps_its_text(text: str) -> None:
    """A decimal is a JSON number, exact to the last digit: nothing is rounded, shortened or padded."""
    message = All(amount={"value": text})
    assert written(message) == f'{{"amount":{text}}}'
    assert read(All, f'{{"amount":{text}}}') == message


WRONG = {
    "text": ("must be a string", ("true", "null", "1.0", "1e3", "[]", "{}")),
    "flag": ("must be true or false", ("0", "1", "null", '"true"', '""', "[]")),
    "mood": ("must be a name of the enum", ('"MOOD_BEST"', '"good"', '""', '"1"')),
    "blob": ("must be base64", ("1", "null", '"YQ"', '"YQ="', '"_-8="', '"YQ==\\n"', '"Y Q="', '"é"', '"=YQ="', "[]")),
    "amount": (
        "must be a number of 0 or more",
        ('"1"', '"NaN"', "-1", "-0", "1E+400", "1e301", "1e-301", "9" * 65, "0." + "0" * 63, "true", "null", "{}"),
    ),
    "child": ("must be an object", ("1", "null", '""', "[]", "true")),
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, (_, texts) in WRONG.items() for text in texts], ids=lambda text: text[:12]
)
def test_another_type_is_refused(name: str, text: str) -> None:
    """Nothing is read loosely but what the wallet's page contradicts itself about."""
    with pytest.raises(Flaw, match=f"^{name}: {WRONG[name][0]}$"):
        read(All, f'{{"{name}":{text}}}')


@pytest.mark.parametrize("text", ["true", "null", "1.0", "2147483648"])
def test_an_enums_number_is_an_int32(text: str) -> None:
    """An enum's number is held to the rules of integers."""
    with pytest.raises(Flaw, match=r"^mood: "):
        read(All, f'{{"mood":{text}}}')


COMPOSITES: dict[str, tuple[Any, str]] = {
    "messages in messages": (All(child=All(child=All(text="x"))), '{"child":{"child":{"text":"x"}}}'),
    "an empty message": (All(child=All()), '{"child":{}}'),
    "arrays and maps": (
        Composite(numbers=[2, 1], children=[Composite()], twins={"b": Composite(), "a": Composite(numbers=[3])}),
        '{"numbers":[2,1],"children":[EMPTY],"amounts":[],"twins":{"a":THREE,"b":EMPTY},"prices":{}}',
    ),
    "decimals in arrays and maps": (
        Composite(amounts=[{"value": "1.50"}], prices={"a": DECIMAL(value="2")}),
        '{"numbers":[],"children":[],"amounts":[1.50],"twins":{},"prices":{"a":2}}',
    ),
    "unset scalars are written": (Plain(), '{"text":"","number":0,"flag":false,"mood":"MOOD_UNSPECIFIED","blob":""}'),
    "unset optionals are left out": (All(), "{}"),
    "optionals set to their default are written": (All(text="", flag=False), '{"text":"","flag":false}'),
    "no choice": (Choice(), "{}"),
    "one choice": (Choice(right=0), '{"right":0}'),
    "the other choice": (Choice(left="a"), '{"left":"a"}'),
}
THREE = '{"numbers":[3],"children":[],"amounts":[],"twins":{},"prices":{}}'
EMPTY = '{"numbers":[],"children":[],"amounts":[],"twins":{},"prices":{}}'


@pytest.mark.parametrize(("message", "text"), COMPOSITES.values(), ids=COMPOSITES)
def test_composites_go_both_ways(message: Any, text: str) -> None:
    """Fields stand in the proto's order; only what the proto can distinguish from empty is left out."""
    text = text.replace("THREE", THREE).replace("EMPTY", EMPTY)
    assert written(message) == text
    assert read(type(message), text) == message


KEYS = [(name, edge) for name, edges in INTEGERS.items() for edge in edges] + [("bool", True), ("bool", False)]


@pytest.mark.parametrize(("name", "key"), [*KEYS, ("string", ""), ("string", 'a "quoted" ż')])
def test_maps_take_every_type_of_key(name: str, key: Any) -> None:
    """A key is written as the string that JSON requires, and read back by the rules of its type."""
    message = Keys(**{f"{name}_keys": {key: "value"}})
    text = {True: "true", False: "false"}[key] if name == "bool" else str(key).replace('"', '\\"')
    assert f'"{name}_keys":{{"{text}":"value"}}' in written(message)
    assert read(Keys, written(message)) == message


@pytest.mark.parametrize(
    ("name", "key"),
    [("uint64", "-1"), ("uint64", "01"), ("int64", "-0"), ("int32", "a"), ("bool", "True"), ("bool", "1")],
)
def test_a_key_of_another_type_is_refused(name: str, key: str) -> None:
    """Two texts never mean the same key."""
    with pytest.raises(Flaw, match=f"^{name}_keys: "):
        read(Keys, f'{{"{name}_keys":{{"{key}":""}}}}')


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"numbers":1}', "numbers: must be an array"),
        ('{"numbers":{}}', "numbers: must be an array"),
        ('{"numbers":[null]}', "numbers: must be a whole number"),
        ('{"children":[{},{"children":[1]}]}', "children.children: must be an object"),
        ('{"twins":[]}', "twins: must be an object"),
        ('{"twins":{"a":{"numbers":["x"]}}}', "twins.numbers: must be a whole number"),
    ],
)
def test_a_flaw_inside_names_the_fields_around_it(text: str, why: str) -> None:
    """The path of a flaw is made of the proto's names, never of the answer's."""
    with pytest.raises(Flaw) as flaw:
        read(Composite, text)
    assert str(flaw.value) == why


def test_members_that_the_proto_does_not_know_are_ignored() -> None:
    """The wallet may add fields."""
    assert read(Plain, '{"new":{"a":[1]},"text":"x"}') == Plain(text="x")


def test_the_fields_are_named_in_the_protos_order() -> None:
    """Reports about missing fields come in a fixed order."""
    assert list(codec_of(Plain.DESCRIPTOR).field_names) == ["text", "number", "flag", "mood", "blob"]


REFUSED = {
    "double": ("double f = 1;", "nothing may pass through a float; use google.type.Decimal"),
    "float": ("float f = 1;", "nothing may pass through a float; use google.type.Decimal"),
    "map of floats": ("map<string, double> f = 1;", "nothing may pass through a float; use google.type.Decimal"),
    "repeated float": ("repeated float f = 1;", "nothing may pass through a float; use google.type.Decimal"),
    "timestamp": ("google.protobuf.Timestamp f = 1;", "of Google's messages only google.type.Decimal has a JSON form"),
    "wrapper": ("google.protobuf.UInt64Value f = 1;", "of Google's messages only google.type.Decimal has a JSON form"),
    "any": ("repeated google.protobuf.Any f = 1;", "of Google's messages only google.type.Decimal has a JSON form"),
}
IMPORTS = "".join(f'import "google/protobuf/{name}.proto";' for name in ("timestamp", "wrappers", "any"))


@pytest.mark.parametrize(("field", "why"), REFUSED.values(), ids=REFUSED)
def test_a_field_without_an_exact_form_is_refused(field: str, why: str) -> None:
    """Such a proto stops the bridge at its start, also deep inside; the text names the field and what to do."""
    file = compile_proto(f"{HEADER}{IMPORTS} message Outer {{ repeated Inner inner = 1; }} message Inner {{ {field} }}")
    with pytest.raises(ContractError, match=rf"^wallet\.test\.Inner\.(f|FEntry\.value): {why}"):
        codec_of(file.message_types_by_name["Outer"])
