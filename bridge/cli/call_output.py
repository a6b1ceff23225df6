"""Output of `bridge call`: an answer, a failure with all its details, or a request that was not sent.

Values in, text out. A message is shown by the fields that are set, under their proto names, integers and decimals
exact; what cannot be printed (control characters, marks that reverse the direction of writing) is shown as JSON would
escape it, so that no text of a wallet can steer a terminal.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

import grpc
import msgspec
from google.protobuf import descriptor_pool
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from bridge.call_id import TRAILER as CALL_ID_TRAILER
from bridge.headers import Headers
from bridge.settings.messages import MASK
from bridge.transcoding.decimals import DECIMAL, is_unsigned_decimal
from bridge.transcoding.status import DETAILS_TRAILER, SAFE_TO_REPEAT
from wallet.v1 import wallet_error_pb2

SHOWN_TRAILERS = (CALL_ID_TRAILER, "wallet-request-id", "grpc-retry-pushback-ms", SAFE_TO_REPEAT)
TYPE_DOMAIN = "type.googleapis.com/"

DETAIL_FILES = (error_details_pb2.DESCRIPTOR, wallet_error_pb2.DESCRIPTOR)
"""Files whose messages a status carries. A type is found by its name only once its file has been imported."""

# The keys that protobuf's own JSON form of Any puts beside a message's fields begin with @ too: no field's name can.
TYPE = "@type"
PROBLEM = "@problem"
CALL_ID = "@call_id"

Plain = dict[str, Any]
"""A message as JSON can hold it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A status that came instead of an answer."""

    code: str
    message: str
    details: tuple[Plain, ...]
    trailers: Mapping[str, str]


def call_id_in(trailers: Iterable[tuple[str, str | bytes]]) -> str:
    """Return the call's id from a bridge's trailers; "" where something else has answered."""
    return str(dict(trailers).get(CALL_ID_TRAILER, ""))


def failure_of(error: grpc.RpcError) -> Failure:
    """Return the content of a channel's error; unreadable details are reported, never raised."""
    trailers = dict(cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ()))
    serialized = trailers.get(DETAILS_TRAILER)
    return Failure(
        code=error.code().name,
        message=error.details() or "",
        details=tuple(_details(serialized)) if isinstance(serialized, bytes) else (),
        trailers={name: str(trailers[name]) for name in SHOWN_TRAILERS if name in trailers},
    )


def failure_text(failure: Failure, address: str, hint: str, *, as_json: bool) -> str:
    """Return a failure as lines, or as one JSON object; the hint is for one that no bridge has made."""
    if as_json:
        return _json(failure)
    # A bridge gives details with every status of its own: this one came from the channel.
    if failure.code == grpc.StatusCode.UNAVAILABLE.name and not failure.details:
        return _visible(f"{address}: no answer from a bridge ({failure.message}); {hint}")
    lines = [f"code: {failure.code}", f"message: {failure.message}", *_detail_lines(failure.details)]
    return _text([*lines, *(f"{name}: {value}" for name, value in failure.trailers.items())])


def unreadable_text(address: str, type_name: str, *, as_json: bool) -> str:
    """Return the line, or the JSON object, for an answer that is no message of the type that was to come."""
    problem = f"{address}: the answer is no {type_name}; is it a bridge, and of this version?"
    return _json({PROBLEM: problem}) if as_json else problem


def answer_text(response: Message, call_id: str = "", *, as_json: bool) -> str:
    """Return a response as one `field: value` a line, or as one JSON object, and the call's id where there is one."""
    plain = _plain(response)
    if as_json:
        return _json(plain | ({CALL_ID: call_id} if call_id else {}))
    return _text([*_flat("", plain), *([f"{CALL_ID_TRAILER}: {call_id}"] if call_id else [])])


def dry_run_text(url: str, headers: Headers, body: bytes) -> str:
    """Return a request as it would be sent, its headers in their order, with the secret of `authorization` masked."""
    text = body.decode()
    exact = "" if text.isprintable() else " before what cannot be printed was escaped"
    header_lines = (_header_line(name, value) for name, value in headers)
    return _text([f"POST {url}", *header_lines, "", text, f"body: {len(body)} bytes{exact}"])


def fitted(text: str, encoding: str) -> str:
    """Return the text with an escape for each character that an encoding lacks: not every terminal speaks UTF-8."""
    return "".join(character if character.encode(encoding, "ignore") else _escaped(character) for character in text)


def _header_line(name: bytes, value: bytes) -> str:
    scheme, _, _ = value.decode().partition(" ")
    return f"{name.decode()}: {f'{scheme} {MASK}' if name == b'authorization' else value.decode()}"


# --- details ----------------------------------------------------------------------------------------------------


def _details(serialized: bytes) -> Iterator[Plain]:
    try:
        status = Status.FromString(serialized)
    except DecodeError:
        yield _problem(TYPE_DOMAIN + Status.DESCRIPTOR.full_name, f"{DETAILS_TRAILER} is malformed")
        return
    yield from map(_detail, status.details)


def _detail(packed: AnyMessage) -> Plain:
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(packed.TypeName())
        message = GetMessageClass(descriptor).FromString(packed.value)
    except KeyError:
        return _problem(packed.type_url, f"{len(packed.value)} bytes of a type that is not known here")
    except DecodeError:
        return _problem(packed.type_url, "malformed")
    return {TYPE: packed.type_url, **_plain(message)}


def _problem(type_url: str, text: str) -> Plain:
    return {TYPE: type_url, PROBLEM: text}


def _detail_lines(details: Iterable[Plain]) -> Iterator[str]:
    for detail in details:
        fields = {name: value for name, value in detail.items() if not name.startswith("@")}
        yield f"{detail[TYPE].removeprefix(TYPE_DOMAIN)}: {detail.get(PROBLEM, '')}".rstrip()
        yield from (f"  {line}" for line in _flat("", fields))
    if not details:
        yield "details: none, so this status is not of the bridge's making"


# --- messages ---------------------------------------------------------------------------------------------------


def _plain(message: Message) -> Plain:
    return {field.name: _plain_field(field, value) for field, value in message.ListFields()}


def _plain_field(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name["value"]
        return {str(key): _plain_value(entry, value[key]) for key in sorted(value)}
    return [_plain_value(field, one) for one in value] if field.is_repeated else _plain_value(field, value)


def _plain_value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return _plain_decimal(value.value) if field.message_type.full_name == DECIMAL else _plain(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return value if known is None else known.name
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _plain_decimal(text: str) -> msgspec.Raw | str:
    # Its own text as a bare number, if that is what it is: no float could hold it.
    return msgspec.Raw(text.encode()) if is_unsigned_decimal(text) else text


# --- text -------------------------------------------------------------------------------------------------------


def _flat(path: str, value: Any) -> Iterator[str]:
    """Yield a line for each value, its path before it: "metadata.attempts: 1", "field_violations[0].field: token"."""
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _flat(f"{path}.{name}".removeprefix("."), member)
    elif isinstance(value, list):
        for index, element in enumerate(value):
            yield from _flat(f"{path}[{index}]", element)
    else:
        yield f"{path}: {value if isinstance(value, str) else msgspec.json.encode(value).decode()}"


def _text(lines: Iterable[str]) -> str:
    return "\n".join(map(_visible, lines))


def _json(value: Any) -> str:
    # Only a string can hold a character that needs an escape, and there JSON means the same by it.
    return _visible(msgspec.json.encode(value).decode())


def _visible(text: str) -> str:
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    # RFC 8259, section 7: two escapes, a surrogate pair, for a character beyond U+FFFF. json.dumps spares U+007F.
    units = character.encode("utf-16-be", "surrogatepass").hex(" ", 2).split()
    return "".join(f"\\u{unit}" for unit in units)
