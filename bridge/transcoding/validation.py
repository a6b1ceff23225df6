"""Checks of a request before anything is sent: REQUIRED fields set, texts not too long, decimals in JSON's grammar.

A field without presence is unset when it holds its default: 0, "", false (AIP-203). So an id of 0 is refused too.
Compiled once per message type, like the codec; nested messages are checked where they are set.
"""

from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import Any

from google.api.field_behavior_pb2 import REQUIRED, field_behavior
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from bridge.errors import InvalidRequest
from bridge.outcome import Violation
from bridge.places import without_context
from bridge.transcoding.decimals import DECIMAL, is_unsigned_decimal

FIELD_BEHAVIOR: Any = field_behavior  # its stub calls the extension a plain field

FIELD_BYTES_MAX = 4096
"""The longest string or bytes field, in bytes of UTF-8: room for a signed token, far below a message's 64 KiB."""

PLAINLY_SHORT = FIELD_BYTES_MAX // 4
"""Length up to which a text is within the limit without being encoded: a character has four bytes at most."""

NO_MESSAGE = "the call has no message, or it did not arrive in time"
UNSET = "is required"
TOO_LONG = f"is longer than {FIELD_BYTES_MAX} bytes"
NO_DECIMAL = "must be the decimal text of a number of 0 or more, like 12.50"

# A check reads one value and yields each violation: path below the value, and text.
Check = Callable[[Any], Iterable[tuple[str, str]]]


def parse(message_type: type[Message], serialized: bytes | None) -> Message:
    """Return the message that a caller sent; raise InvalidRequest when the bytes are no such message, or None."""
    if serialized is None:
        raise InvalidRequest(violations=(Violation("", NO_MESSAGE),), cause="no_message")
    try:
        return message_type.FromString(serialized)
    except DecodeError:
        name = message_type.DESCRIPTOR.full_name
        violation = Violation("", f"the request is no {name}: it is malformed, or a string in it is not UTF-8")
        raise without_context(InvalidRequest(violations=(violation,))) from None


class Validator:
    """The checks of one message type. Build one with `validator_of`; it holds no state of any call."""

    def __init__(self) -> None:
        self._required: tuple[tuple[str, bool], ...] = ()
        self._checks: tuple[tuple[str, bool, Check], ...] = ()
        self._is_plainly_valid: Callable[[Message], bool] = _never
        """Says quickly that nothing is wrong with a message; False: look at each field."""

    def compile(self, message: Descriptor, known: "dict[str, Validator]") -> None:
        """Fill in the checks; `known` holds the validators begun so far, so that a message may contain itself."""
        self._required = tuple((field.name, field.has_presence) for field in message.fields if _is_required(field))
        checks = [(field, _field_check(field, known)) for field in message.fields]
        self._checks = tuple((field.name, field.has_presence, check) for field, check in checks if check is not None)
        self._is_plainly_valid = _plainly_valid(self._required, self._checks)

    def validate(self, request: Message) -> None:
        """Raise InvalidRequest with every violation there is, each under its field's path."""
        if self._is_plainly_valid(request):
            return
        if violations := self.violations(request):
            raise InvalidRequest(violations=tuple(Violation(path.removeprefix("."), text) for path, text in violations))

    def violations(self, message: Message) -> list[tuple[str, str]]:
        """Return the path and the text of every violation in a message, paths relative to it (".player.name")."""
        found = [
            (f".{name}", UNSET)
            for name, has_presence in self._required
            if not (message.HasField(name) if has_presence else getattr(message, name))
        ]
        for name, has_presence, check in self._checks:
            if not has_presence or message.HasField(name):
                found += [(f".{name}{path}", text) for path, text in check(getattr(message, name))]
        return found


def _never(_message: Message) -> bool:
    return False


def _plainly_valid(
    required: tuple[tuple[str, bool], ...], checks: tuple[tuple[str, bool, Check], ...]
) -> Callable[[Message], bool]:
    """Return a function that is True where all required fields are set and no text is near its limit."""
    is_flat = all(check in (_check_string, _check_bytes) for _, _, check in checks)
    has_presence = any(presence for _, presence, *_ in (*required, *checks))
    # With one name alone, attrgetter returns no tuple.
    if not is_flat or has_presence or len(required) <= 1 or len(checks) <= 1:
        return _never
    needed, texts = attrgetter(*(name for name, _ in required)), attrgetter(*(name for name, _, _ in checks))
    return lambda message: all(needed(message)) and max(map(len, texts(message))) <= PLAINLY_SHORT


def validator_of(message: Descriptor, known: dict[str, Validator] | None = None) -> Validator:
    """Compile the validator of a message type."""
    known = {} if known is None else known
    if message.full_name not in known:
        known[message.full_name] = Validator()
        known[message.full_name].compile(message, known)
    return known[message.full_name]


def _is_required(field: FieldDescriptor) -> bool:
    return REQUIRED in field.GetOptions().Extensions[FIELD_BEHAVIOR]


def _field_check(field: FieldDescriptor, known: dict[str, Validator]) -> Check | None:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = (_value_check(field.message_type.fields_by_name[name], known) for name in ("key", "value"))
        return _map_check(key, value) if key or value else None
    check = _value_check(field, known)
    return _array_check(check) if check and field.is_repeated else check


def _value_check(field: FieldDescriptor, known: dict[str, Validator]) -> Check | None:
    if field.type == FieldDescriptor.TYPE_STRING:
        return _check_string
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _check_bytes
    if field.message_type is None:
        return None
    return (
        _check_decimal
        if field.message_type.full_name == DECIMAL
        else validator_of(field.message_type, known).violations
    )


def _check_string(value: str) -> Iterable[tuple[str, str]]:
    # Four bytes a character at most: a short text need not be encoded to be measured.
    is_long = len(value) * 4 > FIELD_BYTES_MAX and len(value.encode()) > FIELD_BYTES_MAX
    return (("", TOO_LONG),) if is_long else ()


def _check_bytes(value: bytes) -> Iterable[tuple[str, str]]:
    return (("", TOO_LONG),) if len(value) > FIELD_BYTES_MAX else ()


def _check_decimal(value: Any) -> Iterable[tuple[str, str]]:
    return () if is_unsigned_decimal(value.value) else (("", NO_DECIMAL),)


def _array_check(check: Check) -> Check:
    def check_array(values: Any) -> Iterator[tuple[str, str]]:
        for index, value in enumerate(values):
            for path, text in check(value):
                yield f"[{index}]{path}", text

    return check_array


def _map_check(check_key: Check | None, check_value: Check | None) -> Check:
    # A key may be a secret of the caller's: the path numbers the entries in the order of their keys.
    def check_map(entries: Any) -> Iterator[tuple[str, str]]:
        for index, key in enumerate(sorted(entries)):
            for check, value in ((check_key, key), (check_value, entries[key])):
                for path, text in check(value) if check else ():
                    yield f"[{index}]{path}", text

    return check_map
