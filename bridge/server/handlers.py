"""gRPC handler of an operation: bytes in; a message, or a status with details, out."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from bridge.call_id import call_id_of
from bridge.errors import BridgeFault
from bridge.outcome import BridgeError, GrpcCode
from bridge.service import BridgeService
from bridge.settings.model import Settings
from bridge.transcoding.operation import operations
from bridge.transcoding.route import Route
from bridge.transcoding.status import ok_trailers, wire_status
from bridge.transcoding.verdict import CodeRule
from wallet.v1 import wallet_service_pb2

SERVICES = (wallet_service_pb2.DESCRIPTOR.services_by_name["WalletService"],)

Context = grpc.aio.ServicerContext[Any, Any]
STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


def routes(descriptor: ServiceDescriptor, settings: Settings) -> tuple[Route, ...]:
    """Return a service's operations with their steps compiled; raise ContractError for one that cannot work."""
    codes = {
        code: CodeRule(rule.grpc or GrpcCode.OK, rule.reason or "") for code, rule in settings.wallet.codes.items()
    }
    return tuple(Route(operation, codes) for operation in operations(descriptor))


def add_service(server: grpc.aio.Server, service: BridgeService, name: str, compiled: Sequence[Route]) -> None:
    """Serve a service's operations."""
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        route.operation.method: grpc.unary_unary_rpc_method_handler(
            # The class's own method, as in generated code: no call of ours around it.
            behaviour_of(service, route),
            response_serializer=GetMessageClass(route.operation.response).SerializeToString,
        )
        for route in compiled
    }
    # Both ways, as generated code does: other engines and method names in telemetry need the second.
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    server.add_registered_method_handlers(name, handlers)


def behaviour_of(service: BridgeService, route: Route) -> Callable[[bytes | None, Context], Awaitable[Message]]:
    """Return what grpc.aio calls for each call of an operation."""

    # The request arrives as bytes, None where there is no message: what cannot be parsed is then a failure like any
    # other, with details.
    async def behaviour(serialized: bytes | None, context: Context) -> Message:
        metadata = context.invocation_metadata() or ()
        call_id = call_id_of(metadata)
        context.set_trailing_metadata(ok_trailers(call_id))
        try:
            return await service.handle(
                route, serialized, context.time_remaining(), context, call_id=call_id, metadata=metadata
            )
        except BridgeError as error:
            wire = wire_status(error, call_id)
        except Exception:  # noqa: BLE001 - grpc.aio would send its text to the caller
            wire = wire_status(BridgeFault(), call_id)
        try:
            await context.abort(STATUS_CODES[wire.code], wire.message, wire.trailers)
        except grpc.aio.InternalError:
            # The call has just ended in gRPC's core: the client cancelled. gRPC would log that as an error.
            raise asyncio.CancelledError from None

    return behaviour
