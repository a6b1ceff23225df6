"""`bridge call`: a small synchronous client that shows what a bridge answers, or, with --dry-run, what it would send.

The sub-commands and their flags are built from the proto: an rpc Terminate is `terminate`, its field player_id is
--player-id. Nothing is checked here that the bridge checks, so that its refusals can be seen too: a flag that is not
given is an unset field.

    flag's value   for
    text           string, bytes (base64), enum (its name), integers
    JSON           bool, messages, repeated fields, maps: as they stand in the body that goes to the wallet
    @FILE          any of them, read from that file: a token need not stand among the arguments, where `ps` shows it
"""

import argparse
import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import grpc
from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from bridge.address import LISTEN
from bridge.call_id import CALLER_ID_WANTED, REQUEST_ID_METADATA, TRAILER, is_caller_id
from bridge.cli.call_output import (
    answer_text,
    call_id_in,
    dry_run_text,
    failure_of,
    failure_text,
    fitted,
    unreadable_text,
)
from bridge.cli.channel import TLS_FLAGS, Tls, hint_of, open_channel, tls_of
from bridge.cli.listen_flag import listen_address
from bridge.errors import InvalidRequest, ProviderNotConfigured
from bridge.settings.files import read_file
from bridge.settings.model import load
from bridge.transcoding.codec import INTEGER_RANGES, Codec, codec_of
from bridge.transcoding.operation import Operation, Type, operations
from bridge.transcoding.strict_json import Flaw, parse_object
from bridge.transcoding.validation import validator_of
from bridge.upstream.from_settings import keyring_of
from wallet.v1 import wallet_service_pb2

WALLET_SERVICE = wallet_service_pb2.DESCRIPTOR.services_by_name["WalletService"]

DEADLINE_S = 5.0
DEADLINE_MAX_S = 3600.0

FIELD = "field."
"""Before a field's name among the parsed arguments, so that it never meets a name of the command's own."""

HELP = "--help"
"""The flag that argparse itself adds."""

OpenChannel = Callable[[str, Tls | None], grpc.Channel]


def run(
    arguments: argparse.Namespace,
    open_channel: OpenChannel = open_channel,
    out: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
) -> int:
    """Carry out what was asked for and write the result to `out` (None: standard output); return the exit code.

    0: the answer, or the dry run, is there. 1: the call failed or could not be sent. Raise SettingsError when a dry
    run's settings, or the TLS flags of a call, are wrong.
    """
    fields = {name.removeprefix(FIELD): value for name, value in vars(arguments).items() if name.startswith(FIELD)}
    request = GetMessageClass(arguments.operation.request)(**fields)
    if arguments.dry_run:
        exit_code, text = _dry_run(arguments.operation, request, arguments.config, environ)
    else:
        exit_code, text = _call(arguments, request, open_channel)
    out = out or sys.stdout
    out.write(fitted(f"{text}\n", out.encoding or "utf-8"))
    return exit_code


def _call(arguments: argparse.Namespace, request: Message, open_channel: OpenChannel) -> tuple[int, str]:
    operation: Operation = arguments.operation
    response_type = GetMessageClass(operation.response)
    tls = tls_of(arguments)
    with open_channel(arguments.address, tls) as channel:
        # Bytes both ways: grpc would log a traceback for an answer that it cannot parse.
        method: Any = channel.unary_unary(f"/{operation.service}/{operation.method}")
        metadata = () if arguments.call_id is None else ((REQUEST_ID_METADATA, arguments.call_id),)
        try:
            serialized, ended = method.with_call(
                request.SerializeToString(), timeout=arguments.deadline_s, metadata=metadata
            )
            response = response_type.FromString(serialized)
            return 0, answer_text(response, call_id_in(ended.trailing_metadata() or ()), as_json=arguments.json)
        except grpc.RpcError as error:
            failure = failure_of(error)
            hint = hint_of(failure.message, is_tls=tls is not None)
            return 1, failure_text(failure, arguments.address, hint, as_json=arguments.json)
        except DecodeError:
            return 1, unreadable_text(arguments.address, operation.response.full_name, as_json=arguments.json)


def _dry_run(operation: Operation, request: Any, config: Path | None, environ: Mapping[str, str]) -> tuple[int, str]:
    settings = load(config, environ)
    try:
        validator_of(operation.request).validate(request)
        credentials = keyring_of(settings.wallet).credentials(request.provider_id)
    except InvalidRequest as error:
        return 1, "\n".join(f"{violation.field} {violation.description}" for violation in error.violations)
    except ProviderNotConfigured:
        return 1, f"provider_id {request.provider_id} has no credentials: add [wallet.providers.{request.provider_id}]"
    body = codec_of(operation.request).encode(request)
    headers = credentials.headers(body)
    return 0, dry_run_text(settings.wallet.url + operation.path, headers, body)


# --- arguments --------------------------------------------------------------------------------------------------


def add_arguments(parser: argparse.ArgumentParser, service: ServiceDescriptor = WALLET_SERVICE) -> None:
    """Add a sub-command for each operation of a service; raise ContractError for one that cannot work."""
    commands = parser.add_subparsers(required=True, metavar="OPERATION")
    for operation in operations(service):
        command = commands.add_parser(
            _kebab(operation.method),
            help=f"{operation.service}/{operation.method}, POST {operation.path}",
            epilog="@FILE for a value reads it from that file, so that `ps` shows no token (@/dev/stdin: pipe it in).",
            allow_abbrev=False,
        )
        command.set_defaults(operation=operation)
        for flag, settings in OWN_FLAGS.items():
            command.add_argument(flag, **settings)
        _add_fields(command.add_argument_group(operation.request.full_name), operation)


def _add_fields(group: Any, operation: Operation) -> None:
    codec = codec_of(operation.request)
    for field in operation.request.fields:
        flag = f"--{_kebab(field.name)}"
        group.add_argument(
            f"--field-{flag.removeprefix('--')}" if flag in (HELP, *OWN_FLAGS) else flag,
            dest=FIELD + field.name,
            default=argparse.SUPPRESS,
            type=_reader(field, codec),
            metavar="JSON" if _is_json(field) else _type_name(field),
            help=f"{field.name}: {_wanted(field)}",
        )


def _kebab(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", "-", name).lower()


def _is_json(field: FieldDescriptor) -> bool:
    return field.is_repeated or field.message_type is not None or field.type == Type.TYPE_BOOL


def _type_name(field: FieldDescriptor) -> str:
    return Type.Name(Type.ValueType(field.type)).removeprefix("TYPE_")


def _wanted(field: FieldDescriptor) -> str:
    named = field.message_type or field.enum_type
    text = named.full_name if named else _type_name(field).lower()
    if field.type in INTEGER_RANGES:
        text += ", {} to {}".format(*INTEGER_RANGES[field.type])
    return f"JSON of {'repeated ' * field.is_repeated}{text}" if _is_json(field) else text


def _reader(field: FieldDescriptor, codec: Codec) -> Callable[[str], Any]:
    def read(argument: str) -> Any:
        try:
            member = _member(_text(argument), is_json=_is_json(field))
            return codec.read_fields({field.name: member})[field.name]
        except Flaw as flaw:
            # The value stays out: it may be a token.
            raise argparse.ArgumentTypeError(f"must be {_wanted(field)} ({flaw})") from None

    return read


def _member(text: str, *, is_json: bool) -> Any:
    members = parse_object(f'{{"value":{text}}}'.encode()) if is_json else {"value": text}
    if len(members) != 1:
        raise Flaw("not JSON")  # `1,"other":2` makes an object of two
    return members["value"]


def _text(argument: str) -> str:
    try:
        # The interpreter lets in what is not UTF-8 as lone surrogates; gRPC would not let it out.
        return _content(argument).decode()
    except UnicodeError:
        raise Flaw("not UTF-8") from None


def _content(argument: str) -> bytes:
    if not argument.startswith("@"):
        return argument.encode(errors="surrogateescape")
    content, problem = read_file(Path(argument[1:]))
    if problem:
        raise argparse.ArgumentTypeError(f"the file cannot be read: {problem}")
    return re.sub(rb"\r?\n\Z", b"", content)  # an editor ends the last line


def _call_id(text: str) -> str:
    if not is_caller_id(text):
        raise argparse.ArgumentTypeError(f"must be {CALLER_ID_WANTED}")
    return text


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= DEADLINE_MAX_S:
        raise argparse.ArgumentTypeError(f"must be seconds, more than 0, at most {DEADLINE_MAX_S:g}")
    return seconds


OWN_FLAGS: dict[str, dict[str, Any]] = {
    "--address": {
        "type": listen_address,
        "default": LISTEN,
        "metavar": "HOST:PORT",
        "help": "where the bridge listens; default: %(default)s",
    },
    "--deadline-s": {
        "type": _seconds,
        "default": DEADLINE_S,
        "metavar": "SECONDS",
        "help": "how long to wait for the bridge; default: %(default)g",
    },
    "--call-id": {
        "type": _call_id,
        "metavar": "ID",
        "help": f"your name for the call, sent as {REQUEST_ID_METADATA} and logged by the bridge: {CALLER_ID_WANTED}; "
        f"without it the bridge makes a UUID. It is printed as {TRAILER}",
    },
    "--json": {"action": "store_true", "help": "print one JSON object"},
    "--dry-run": {"action": "store_true", "help": "send nothing; print what the bridge would send to the wallet"},
    "--config": {
        "type": Path,
        "metavar": "FILE",
        "help": "the bridge.toml of a dry run; BRIDGE_SECTION__KEY overrides it",
    },
    **TLS_FLAGS,
}
"""The flags of every operation. A request's field of the same name gets --field-<name>."""
