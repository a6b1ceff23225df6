"""Protobuf message <-> JSON, both directions side by side, compiled once per message type.

    proto type                    written as               read from
    uint64 int64 ... sfixed32     a bare number            a whole number, or its decimal text
    string                        a string                 a string, or a whole number
    bool                          true, false              true, false
    enum                          its name (else number)   its name or number
    bytes                         base64 (RFC 4648, 4)     base64
    google.type.Decimal           a number, exact          a number >= 0, exact
    message, map                  an object                an object
    repeated field                an array                 an array

The two looser rules on the right are where the wallet's page contradicts its own samples (docs/design/wallet.md);
nothing else is read loosely. Nothing passes through a float. Fields are written under their proto names in the order of
the proto; one without a value is left out only if the proto knows "unset" (optional, oneof, message).
"""

import base64
import binascii
import re
from collections.abc import Callable, KeysView, Mapping
from operator import attrgetter
from typing import Any

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from bridge.places import without_context
from bridge.transcoding.decimals import DECIMAL, is_unsigned_decimal
from bridge.transcoding.number import Number
from bridge.transcoding.operation import ContractError
from bridge.transcoding.strict_json import Flaw

# Without -0: one number has one text, so that no two keys of a map are the same.
_WHOLE = re.compile(r"0|-?[1-9][0-9]*")
_INTEGER_CHARACTERS_MAX = 20  # -9223372036854775808 and 18446744073709551615: longer text is out of every range

NUMBERS = frozenset({int, Number})
"""Types of a JSON number; bool, which Python counts among the integers, is none of them."""

Write = Callable[[Any], Any]
Read = Callable[[Any], Any]


# --- integers ---------------------------------------------------------------------------------------------------

_INT32, _UINT32 = (-(2**31), 2**31 - 1), (0, 2**32 - 1)
_INT64, _UINT64 = (-(2**63), 2**63 - 1), (0, 2**64 - 1)

INTEGER_RANGES = {
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_UINT64: _UINT64,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
}


def _integer_reader(low: int, high: int) -> Read:
    def read(value: Any) -> int:
        if type(value) is int:  # not isinstance: true and false are no numbers
            if low <= value <= high:
                return value
            raise Flaw("number out of range")
        # isinstance(str) covers both a Number and a string: the text is held to the same grammar in both.
        if not isinstance(value, str) or len(value) > _INTEGER_CHARACTERS_MAX or not _WHOLE.fullmatch(value):
            raise Flaw("must be a whole number")
        number = int(value)
        if not low <= number <= high:
            raise Flaw("number out of range")
        return number

    return read


read_uint64 = _integer_reader(*_UINT64)


# --- the other scalars ------------------------------------------------------------------------------------------


def _as_is(value: Any) -> Any:
    return value


def read_string(value: Any) -> str:
    """Return the text of a JSON string or of a whole number; raise Flaw for anything else."""
    if type(value) is str:
        return value
    if type(value) is int or (type(value) is Number and _WHOLE.fullmatch(value)):
        return str(value)
    raise Flaw("must be a string")


def read_bool(value: Any) -> bool:
    """Return true or false; raise Flaw for anything else, also for 0, 1 and "true"."""
    if value is True or value is False:
        return value
    raise Flaw("must be true or false")


def _write_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _read_bytes(value: Any) -> bytes:
    if type(value) is not str:
        raise Flaw("must be base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise without_context(Flaw("must be base64")) from None


def _write_decimal(value: Any) -> msgspec.Raw:
    return msgspec.Raw(value.value.encode())


def _decimal_reader(message: Descriptor) -> Read:
    decimal = GetMessageClass(message)

    def read(value: Any) -> Message:
        if type(value) not in NUMBERS or not is_unsigned_decimal(text := str(value)):
            raise Flaw("must be a number of 0 or more")
        return decimal(value=text)

    return read


def _enum_writer(enum: EnumDescriptor) -> Write:
    names: dict[int, str | int] = {number: value.name for number, value in enum.values_by_number.items()}
    # A number that the proto does not name stands for itself.
    return lambda number: names.get(number, number)


def _enum_reader(enum: EnumDescriptor) -> Read:
    numbers = {name: value.number for name, value in enum.values_by_name.items()}
    read_number = _integer_reader(*_INT32)

    def read(value: Any) -> Any:
        if type(value) is not str:
            return read_number(value)
        if value not in numbers:
            raise Flaw("must be a name of the enum")
        return numbers[value]

    return read


# --- composites -------------------------------------------------------------------------------------------------


class Codec:
    """Writes and reads one message type. Build one with `codec_of`; it holds no state of any call."""

    def __init__(self, message: Descriptor) -> None:
        self.message_type = GetMessageClass(message)
        self._writers: tuple[tuple[str, bool, Write], ...] = ()
        self._readers: dict[str, Read] = {}
        self._values: Callable[[Message], tuple[Any, ...]] | None = None
        """Returns all fields' values, where all are there and written as they are."""

    def compile(self, message: Descriptor, known: dict[str, "Codec"]) -> None:
        """Fill in the fields; `known` holds the codecs begun so far, so that a message may contain itself."""
        fields = [(field, *_field_codec(field, known)) for field in message.fields]
        self._writers = tuple((field.name, field.has_presence, write) for field, write, _ in fields)
        self._readers = {field.name: read for field, _, read in fields}
        is_plain = all(write is _as_is and not has_presence for _, has_presence, write in self._writers)
        # With one name alone, attrgetter returns no tuple.
        self._values = attrgetter(*self._readers) if is_plain and len(self._readers) > 1 else None

    @property
    def field_names(self) -> KeysView[str]:
        """The names of the message's fields, in the order of the proto."""
        return self._readers.keys()

    def to_json(self, message: Message) -> dict[str, Any]:
        """Return the message as an object that `encode` can write."""
        if self._values is not None:
            return dict(zip(self._readers, self._values(message), strict=True))
        return {
            name: write(getattr(message, name))
            for name, has_presence, write in self._writers
            if not has_presence or message.HasField(name)
        }

    def encode(self, message: Message) -> bytes:
        """Return the message as compact JSON: UTF-8, no escapes for printable characters."""
        return msgspec.json.encode(self.to_json(message))

    def from_json(self, value: Any) -> Message:
        """Return the message that a parsed JSON object means; raise Flaw as `read_fields` does."""
        if type(value) is not dict:
            raise Flaw("must be an object")
        return self.message_type(**self.read_fields(value))

    def read_fields(self, members: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that these members of a JSON object set; raise Flaw where one is not of its field's type.

        Members that the message does not know are ignored.
        """
        fields, readers = {}, self._readers
        name = ""
        try:
            for name, member in members.items():
                if name in readers:
                    fields[name] = readers[name](member)
        except Flaw as flaw:
            raise without_context(flaw.inside(name)) from None
        return fields


def codec_of(message: Descriptor, known: dict[str, Codec] | None = None) -> Codec:
    """Compile the codec of a message type; raise ContractError for a field that the wallet's JSON cannot carry."""
    known = {} if known is None else known
    if message.full_name not in known:
        known[message.full_name] = Codec(message)
        known[message.full_name].compile(message, known)
    return known[message.full_name]


def _field_codec(field: FieldDescriptor, known: dict[str, Codec]) -> tuple[Write, Read]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map_codec(field.message_type, known)
    write, read = _value_codec(field, known)
    return _array_codec(write, read) if field.is_repeated else (write, read)


def _value_codec(field: FieldDescriptor, known: dict[str, Codec]) -> tuple[Write, Read]:
    if field.type in INTEGER_RANGES:
        return _as_is, _integer_reader(*INTEGER_RANGES[field.type])
    if field.message_type is not None:
        return _message_codec(field, field.message_type, known)
    if field.enum_type is not None:
        return _enum_writer(field.enum_type), _enum_reader(field.enum_type)
    if field.type not in _SCALARS:
        raise ContractError(f"{field.full_name}: nothing may pass through a float; use {DECIMAL}")
    return _SCALARS[field.type]


_SCALARS: dict[int, tuple[Write, Read]] = {
    FieldDescriptor.TYPE_STRING: (_as_is, read_string),
    FieldDescriptor.TYPE_BOOL: (_as_is, read_bool),
    FieldDescriptor.TYPE_BYTES: (_write_bytes, _read_bytes),
}


def _message_codec(field: FieldDescriptor, message: Descriptor, known: dict[str, Codec]) -> tuple[Write, Read]:
    if message.full_name == DECIMAL:
        return _write_decimal, _decimal_reader(message)
    # The well-known types have JSON forms of their own, which no page of the wallet mentions: refused, not guessed.
    if message.full_name.startswith("google."):
        raise ContractError(f"{field.full_name}: of Google's messages only {DECIMAL} has a JSON form here")
    nested = codec_of(message, known)
    return nested.to_json, nested.from_json


def _array_codec(write: Write, read: Read) -> tuple[Write, Read]:
    def read_array(values: Any) -> list[Any]:
        if type(values) is not list:
            raise Flaw("must be an array")
        return [read(value) for value in values]

    return lambda values: [write(value) for value in values], read_array


def _map_codec(entry: Descriptor, known: dict[str, Codec]) -> tuple[Write, Read]:
    key, value = (entry.fields_by_name[name] for name in ("key", "value"))
    write_value, read_value = _value_codec(value, known)
    write_key, read_key = _KEYS.get(key.type) or (str, _value_codec(key, known)[1])

    def write_map(entries: Mapping[Any, Any]) -> dict[str, Any]:
        return {write_key(name): write_value(entries[name]) for name in sorted(entries)}

    def read_map(members: Any) -> dict[Any, Any]:
        if type(members) is not dict:
            raise Flaw("must be an object")
        return {read_key(name): read_value(member) for name, member in members.items()}

    return write_map, read_map


def _read_bool_key(name: str) -> bool:
    if name not in _BOOL_KEYS:
        raise Flaw("must be true or false")
    return _BOOL_KEYS[name]


_BOOL_KEYS = {"true": True, "false": False}
_KEYS: dict[int, tuple[Write, Read]] = {
    FieldDescriptor.TYPE_STRING: (_as_is, _as_is),
    FieldDescriptor.TYPE_BOOL: (lambda flag: "true" if flag else "false", _read_bool_key),
}
