"""grpc.aio as the host of the service: the only module that knows that server, and where all parts are put together."""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from bridge.config import Settings
from bridge.errors import BridgeError, BridgeFault
from bridge.http2.transport import Http2Transport
from bridge.operation import operations
from bridge.outcome import GrpcCode
from bridge.retry import RetryPolicy
from bridge.service import BridgeService, Route
from bridge.status import wire_status
from bridge.telemetry.events import Draining, Emit, Serving, Stopped, ignore
from bridge.verdict import CodeRule
from bridge.wallet import WalletClient
from wallet.v1 import wallet_service_pb2

SERVICES = (wallet_service_pb2.DESCRIPTOR.services_by_name["WalletService"],)

REQUEST_BYTES_MAX = 64 * 1024
METADATA_BYTES_MAX = 16 * 1024

REFUSE_AT_LEAST_S = 1.0
"""How long a drain answers BRIDGE_DRAINING before the port closes: who still comes gets a status, not a reset."""

OPTIONS = (
    ("grpc.max_receive_message_length", REQUEST_BYTES_MAX),
    ("grpc.max_metadata_size", METADATA_BYTES_MAX),
    ("grpc.absolute_max_metadata_size", METADATA_BYTES_MAX),
    # Two unrelated servers could share the port without a word; only several workers of one bridge may.
    ("grpc.so_reuseport", 0),
)

Context = grpc.aio.ServicerContext[Any, Any]
STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ListenError(Exception):
    """The bridge cannot listen where it should. The text names the address and what to do."""


class BridgeServer:
    """A running bridge: its address, and the way to end it."""

    def __init__(self, server: grpc.aio.Server, service: BridgeService, health: HealthServicer, address: str) -> None:
        self.address = address
        self._server = server
        self._service = service
        self._health = health

    async def drain(self, drain_s: float) -> None:
        """End in two steps, so that nobody sees a failed call (CONTRACT.md, "Time"), then close the port.

        First health says NOT_SERVING and calls are still served for `drain_s`; then new calls are refused until those
        in flight have ended. With 0 seconds there is no first step, and no minimum for the second.
        """
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(drain_s)
        self._service.in_flight.refuse()
        await asyncio.gather(self._service.in_flight.idle(), asyncio.sleep(min(drain_s, REFUSE_AT_LEAST_S)))
        # No grace: what is left are health watches and reflection streams, which would last the whole of it.
        await self._server.stop(grace=None)


@asynccontextmanager
async def running(
    settings: Settings, services: Sequence[ServiceDescriptor] = SERVICES, emit: Emit = ignore
) -> AsyncIterator[BridgeServer]:
    """Run a bridge for as long as the context lasts; raise ContractError or ListenError where it cannot start."""
    wallet = _wallet_client(settings)
    try:
        service = BridgeService(settings.wallet.keyring, wallet, settings.wallet.deadlines, emit)
        server = grpc.aio.server(options=OPTIONS)
        for descriptor in services:
            _add_service(server, service, descriptor.full_name, routes(descriptor, settings))
        health = await _add_health(server, services)
        if settings.server.reflection:
            names = [descriptor.full_name for descriptor in services]
            reflection.enable_server_reflection([*names, reflection.SERVICE_NAME, "grpc.health.v1.Health"], server)
        port = _listen(server, settings.server.listen)
        await server.start()
        try:
            yield BridgeServer(server, service, health, f"{settings.server.listen.rpartition(':')[0]}:{port}")
        finally:
            await server.stop(grace=None)
    finally:
        await wallet.aclose()


def routes(descriptor: ServiceDescriptor, settings: Settings) -> tuple[Route, ...]:
    """Return a service's operations with their steps compiled; raise ContractError for one that cannot work."""
    codes = {
        code: CodeRule(rule.grpc or GrpcCode.OK, rule.reason or "") for code, rule in settings.wallet.codes.items()
    }
    return tuple(Route(operation, codes) for operation in operations(descriptor))


async def serve(settings: Settings, emit: Emit = ignore) -> None:
    """Serve until SIGTERM or SIGINT, then drain."""
    stop = stop_signal()
    async with running(settings, emit=emit) as bridge:
        emit(Serving(address=bridge.address, wallet_url=settings.wallet.url))
        await stop
        emit(Draining(drain_s=settings.server.drain_s))
        await bridge.drain(settings.server.drain_s)
    emit(Stopped())


def stop_signal() -> asyncio.Future[None]:
    """Return what is done at the first SIGTERM or SIGINT. A second one ends the process at once, as it would anyway."""
    loop = asyncio.get_running_loop()
    stop = loop.create_future()

    def ask() -> None:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop.set_result(None)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, ask)
    return stop


# --- gRPC -------------------------------------------------------------------------------------------------------


def _add_service(server: grpc.aio.Server, service: BridgeService, name: str, compiled: Sequence[Route]) -> None:
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        route.operation.method: grpc.unary_unary_rpc_method_handler(
            _behaviour(service, route), response_serializer=_serialize
        )
        for route in compiled
    }
    # Both ways, as generated code does: other engines and method names in telemetry need the second.
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    server.add_registered_method_handlers(name, handlers)


def _behaviour(service: BridgeService, route: Route) -> Callable[[bytes, Context], Awaitable[Message]]:
    # The request arrives as bytes: one that cannot be parsed is then a failure like any other, with details.
    async def behaviour(serialized: bytes, context: Context) -> Message:  # noqa: RET503 - `abort` raises
        try:
            return await service.handle(route, serialized, context.time_remaining())
        except BridgeError as error:
            wire = wire_status(error)
        except Exception:  # noqa: BLE001 - grpc.aio would send its text to the caller
            wire = wire_status(BridgeFault())
        await context.abort(STATUS_CODES[wire.code], wire.message, wire.trailers)

    return behaviour


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()


async def _add_health(server: grpc.aio.Server, services: Sequence[ServiceDescriptor]) -> HealthServicer:
    health = HealthServicer()
    for name in ("", *(descriptor.full_name for descriptor in services)):
        await health.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    return health


def _listen(server: grpc.aio.Server, address: str) -> int:
    try:
        return server.add_insecure_port(address)
    except RuntimeError:
        raise ListenError(
            f"server.listen: cannot listen on {address}; is the port taken, or the address not this machine's?"
        ) from None


# --- settings -> parts ------------------------------------------------------------------------------------------


def _wallet_client(settings: Settings) -> WalletClient:
    wallet = settings.wallet
    context = ssl.create_default_context(cafile=wallet.ca_file)
    if wallet.client_certificate_file is not None:
        context.load_cert_chain(wallet.client_certificate_file, wallet.client_key_file)
    transport = Http2Transport(
        context, connect_timeout_s=wallet.connect_timeout_s, connections_max=wallet.connections_max
    )
    return WalletClient(transport, wallet.url, retries=RetryPolicy(repeat_unknown=wallet.retry_unknown))
