"""Reads the annotations of a service's protos into Operation values: the protos are the contract.

    rpc Terminate(TerminateRequest) returns (TerminateResponse) {
      option idempotency_level = IDEMPOTENT;                                   -> idempotent
      option (settle) = true;                                                  -> settles
      option (google.api.http) = { post: "/api/wallet/terminate" body: "*" };  -> path; without it: no operation
    }
    string token = 1 [(google.api.field_behavior) = REQUIRED];                 -> refused when unset (validation.py)
    string token = 4 [(echo) = true];                                          -> echoes

What the engine cannot carry out is refused here, when the bridge starts, and not when the first call arrives.
"""

import re
from dataclasses import dataclass
from typing import Any

from google.api.annotations_pb2 import http
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

from bridge.start_error import StartError
from wallet.v1 import options_pb2

HTTP: Any = http  # its stub calls the extension a plain field
Type = descriptor_pb2.FieldDescriptorProto.Type

IDEMPOTENT_LEVELS = frozenset(
    {
        descriptor_pb2.MethodOptions.IdempotencyLevel.IDEMPOTENT,
        descriptor_pb2.MethodOptions.IdempotencyLevel.NO_SIDE_EFFECTS,
    }
)

# The envelope that every answer of the wallet has beside its own fields (docs/design/wallet.md, "Codes"); `status` is
# checked and not passed on, these three are.
ENVELOPE = {
    "code": Type.TYPE_UINT64,
    "message": Type.TYPE_STRING,
    "request_id": Type.TYPE_STRING,
}


# No templates: the wallet's operations have fixed paths, and a field in a path would not be signed. No query either.
_FIXED_PATH = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")


class ContractError(StartError):
    """A proto asks for something that the engine cannot do. The text names the place and what is wanted there."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One rpc and the REST call that it maps to."""

    service: str
    """The full name of the service: wallet.v1.WalletService."""
    method: str
    """The rpc's own name: Terminate."""
    path: str
    """The path of the POST: /api/wallet/terminate."""
    idempotent: bool
    """Whether a call of unknown outcome may be retried, if the operator allows that too."""
    echoes: tuple[str, ...]
    """Fields of the response that must equal the request's fields of the same name."""
    settles: bool
    """Whether the bridge may go on with a call of unknown outcome by itself, at any later time (settlement)."""
    secret: str
    """The request's first field that is marked `debug_redact`, a string; "" where there is none. It is never logged."""
    request: Descriptor
    response: Descriptor

    @property
    def full_name(self) -> str:
        """Its name in gRPC: wallet.v1.WalletService/Terminate."""
        return f"{self.service}/{self.method}"


def operations(service: ServiceDescriptor) -> tuple[Operation, ...]:
    """Return the operations of a service in the order of its proto; raise ContractError for one that cannot work.

    An rpc without `google.api.http` is no operation of the wallet: who adds the service to a server serves it.
    """
    return tuple(_operation(method) for method in service.methods if _is_operation(method))


def _is_operation(method: MethodDescriptor) -> bool:
    options = method.GetOptions()
    if options.HasExtension(HTTP):
        return True
    if options.Extensions[options_pb2.settle]:
        raise ContractError(f"{method.full_name}: is settled but is no operation; add option (google.api.http)")
    return False


def _operation(method: MethodDescriptor) -> Operation:
    if method.client_streaming or method.server_streaming:
        raise ContractError(f"{method.full_name}: a wallet call is unary; remove `stream`")
    request, response = method.input_type, method.output_type
    _require_field(request, "provider_id", Type.TYPE_UINT64)
    for name, kind in ENVELOPE.items():
        _require_field(response, name, kind)
    idempotent = method.GetOptions().idempotency_level in IDEMPOTENT_LEVELS
    settles = method.GetOptions().Extensions[options_pb2.settle]
    if settles and not idempotent:
        raise ContractError(f"{method.full_name}: is settled, so it must have option idempotency_level = IDEMPOTENT")
    return Operation(
        service=method.containing_service.full_name,
        method=method.name,
        path=_path(method),
        idempotent=idempotent,
        echoes=_echoes(request, response),
        settles=settles,
        secret=_secret(request),
        request=request,
        response=response,
    )


def _path(method: MethodDescriptor) -> str:
    rule = method.GetOptions().Extensions[HTTP]
    path: str = rule.post
    has_more = rule.response_body or rule.additional_bindings
    if not _FIXED_PATH.fullmatch(path) or rule.body != "*" or has_more:
        raise ContractError(
            f'{method.full_name}: must have option (google.api.http) = {{ post: "/a/fixed/path" body: "*" }}'
        )
    return path


def _require_field(message: Descriptor, name: str, kind: Type.ValueType) -> None:
    field = message.fields_by_name.get(name)
    if field is None or field.type != kind or field.is_repeated:
        wanted = Type.Name(kind).removeprefix("TYPE_").lower()
        raise ContractError(f"{message.full_name}: must have a field `{wanted} {name}`")


def _echoes(request: Descriptor, response: Descriptor) -> tuple[str, ...]:
    echoes = [field for field in response.fields if field.GetOptions().Extensions[options_pb2.echo]]
    for field in echoes:
        asked = request.fields_by_name.get(field.name)
        if asked is None or _shape(asked) != _shape(field):
            raise ContractError(
                f"{field.full_name}: echoes a field that {request.full_name} has not, or not as this type"
            )
    return tuple(field.name for field in echoes)


def _secret(request: Descriptor) -> str:
    marked = (field for field in request.fields if field.GetOptions().debug_redact)
    return next((field.name for field in marked if field.type == Type.TYPE_STRING and not field.is_repeated), "")


def _shape(field: FieldDescriptor) -> tuple[object, ...]:
    return field.type, field.is_repeated, field.message_type, field.enum_type
