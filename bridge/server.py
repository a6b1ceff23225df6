"""grpc.aio as the host of the service, and where all parts are put together."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from bridge.admission import Admission
from bridge.background import in_background, sample
from bridge.call_id import call_id_of
from bridge.certificate_dates import tell_dates, telling_dates
from bridge.config import Settings, Wallet
from bridge.descriptors import raise_limit
from bridge.engine import ENGINES
from bridge.errors import BridgeError, BridgeFault
from bridge.file_watch import INTERVAL_S, FileWatch
from bridge.fingerprint import Fingerprint
from bridge.http2.transport import Http2Transport
from bridge.identity import AllowList
from bridge.memory import give_back_memory
from bridge.operation import operations
from bridge.outcome import GrpcCode
from bridge.process_signals import on_reload, stop_signal
from bridge.retry import RetryPolicy
from bridge.rotation import Pace, Rotation
from bridge.server_health import NAME as HEALTH_NAME
from bridge.server_health import Health
from bridge.server_ports import Options, health_options, listening, server_options
from bridge.server_reflection import Reflection
from bridge.server_tls import ServerTls
from bridge.service import BridgeService, Route, Watchers
from bridge.settings_again import files_of
from bridge.signing import Keyring
from bridge.status import ok_trailers, wire_status
from bridge.telemetry.events import Draining, Emit, Serving, Stopped, ignore
from bridge.telemetry.spans import Tracer
from bridge.verdict import CodeRule
from bridge.wallet import WalletClient
from bridge.wallet_tls import tls_context
from wallet.v1 import wallet_service_pb2

SERVICES = (wallet_service_pb2.DESCRIPTOR.services_by_name["WalletService"],)

REFUSE_AT_LEAST_S = 1.0
"""How long a drain answers BRIDGE_DRAINING before the port closes: who still comes gets a status, not a reset."""

GC_OBJECTS = 20_000
"""How many objects are made, above those freed, before the garbage collector looks at the young: those of some hundred
calls."""

HOLD_S = 0.25
"""How long refusals are held back before the port closes: callers near by have come again by then."""

STOP_GRACE_S = 2.0
"""Grace for refusals on their way, in seconds. Streams are told to end before, and do not use it up."""

Context = grpc.aio.ServicerContext[Any, Any]
STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


class BridgeServer:
    """A running bridge: its addresses, and the way to end it."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place only
        self,
        server: grpc.aio.Server,
        service: BridgeService,
        health: Health,
        reflection: Reflection,
        watches: Sequence[Rotation | FileWatch],
        address: str,
        health_address: str,
    ) -> None:
        self.address = address
        self.health_address = health_address
        """Of the listener for health alone; "" without one."""
        self._server = server
        self._service = service
        self._health = health
        self._reflection = reflection
        self._watches = watches

    def look_at_files(self) -> None:
        """Look at all key and certificate files now, and take up at once what has changed."""
        for watch in self._watches:
            watch.look_now()

    async def drain(self, drain_s: float) -> None:
        """End in two steps, so that nobody sees a failed call (docs/design/contract.md, "Time"), then close the port.

        First health says NOT_SERVING and calls are still served for `drain_s`; then new calls are refused until those
        in flight have ended. With 0 seconds there is no first step, and no minimum for the second. The listener for
        health alone stays open, and says NOT_SERVING, until `running` ends.
        """
        self._health.leave()
        await asyncio.sleep(drain_s)
        self._service.admission.refuse()
        await asyncio.gather(self._service.admission.idle(), asyncio.sleep(min(drain_s, REFUSE_AT_LEAST_S)))
        self._service.admission.hold()
        await asyncio.sleep(min(drain_s, HOLD_S))
        self._service.admission.release()
        # Open streams would use up the whole grace, which is for refusals that are just on their way.
        self._health.close()
        self._reflection.close()
        await self._server.stop(grace=STOP_GRACE_S if drain_s else None)


@asynccontextmanager
async def running(  # noqa: PLR0913 - the composition root
    settings: Settings,
    services: Sequence[ServiceDescriptor] = SERVICES,
    emit: Emit = ignore,
    *,
    tracer: Tracer | None = None,
    reuse_port: bool = False,
    watch_interval_s: float = INTERVAL_S,
) -> AsyncIterator[BridgeServer]:
    """Run a bridge for as long as the context lasts; raise ContractError or ListenError where it cannot start.

    `reuse_port` is for the workers of one bridge, which share its ports. TLS files are looked at for something newer
    every `watch_interval_s`.
    """
    transport = _transport(settings)
    retries = RetryPolicy(repeat_unknown=settings.wallet.retry_unknown)
    wallet = WalletClient(transport, settings.wallet.url, retries=retries, emit=emit)
    keyring = settings.wallet.keyring
    try:
        service = _service(settings, keyring, wallet, Watchers(emit, tracer, _fingerprint(settings)))
        health = Health(descriptor.full_name for descriptor in services)
        options = server_options(settings, reuse_port=reuse_port)
        reflection = Reflection([*(descriptor.full_name for descriptor in services), HEALTH_NAME])
        server = _server(settings, services, service, health, options)
        if settings.server.reflection:
            reflection.add_to(server)
        tls = None if settings.server.tls_certificate_file is None else ServerTls(settings.server)
        tls_files = files_of(("wallet",), settings.wallet) | ({} if tls is None else tls.files)
        tell = telling_dates(emit, tls_files)
        watches: list[Rotation | FileWatch] = [_rotation(settings, keyring, transport, tell, watch_interval_s)]
        if tls is not None:
            watches.append(FileWatch(tls.files, tls.reload, tell, watch_interval_s, [tls.files]))
        for watch in watches:
            watch.check()  # what was loaded is what later changes are compared with
        tell_dates(emit, tls_files)
        credentials = None if tls is None else tls.credentials
        # The listener for health opens first and closes last: who asks there is answered all the time.
        async with (
            _health_alone(settings, health, health_options(settings, reuse_port=reuse_port)) as health_address,
            listening(server, "server.listen", settings.server.listen, credentials) as address,
            in_background(sample(service, transport, emit), give_back_memory(), *(watch.run() for watch in watches)),
        ):
            yield BridgeServer(server, service, health, reflection, watches, address, health_address)
    finally:
        await wallet.aclose()


def routes(descriptor: ServiceDescriptor, settings: Settings) -> tuple[Route, ...]:
    """Return a service's operations with their steps compiled; raise ContractError for one that cannot work."""
    codes = {
        code: CodeRule(rule.grpc or GrpcCode.OK, rule.reason or "") for code, rule in settings.wallet.codes.items()
    }
    return tuple(Route(operation, codes) for operation in operations(descriptor))


async def serve(settings: Settings, emit: Emit = ignore, tracer: Tracer | None = None) -> None:
    """Serve until a signal to stop, then drain. At SIGHUP all files are looked at."""
    stop = stop_signal()
    spare_the_collector()
    raise_limit()
    async with running(settings, emit=emit, tracer=tracer) as bridge:
        on_reload(bridge.look_at_files)
        emit(Serving(address=bridge.address, wallet_url=settings.wallet.url))
        await stop
        emit(Draining(drain_s=settings.server.drain_s))
        await bridge.drain(settings.server.drain_s)
    emit(Stopped())


def spare_the_collector() -> None:
    """Let the garbage collector look at calls seldom, and at what was there before them never again.

    By default it looks whenever 700 objects more were made than freed: with many calls in flight, again and again at
    calls that are still under way. What a call leaves is freed without the collector, but for the rare cycle.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_OBJECTS)


# --- gRPC -------------------------------------------------------------------------------------------------------


def _server(
    settings: Settings, services: Sequence[ServiceDescriptor], service: BridgeService, health: Health, options: Options
) -> grpc.aio.Server:
    server = ENGINES[settings.server.engine](options)
    for descriptor in services:
        _add_service(server, service, descriptor.full_name, routes(descriptor, settings))
    health.add_to(server)
    return server


def _add_service(server: grpc.aio.Server, service: BridgeService, name: str, compiled: Sequence[Route]) -> None:
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        route.operation.method: grpc.unary_unary_rpc_method_handler(
            # The class's own method, as in generated code: no call of ours around it.
            _behaviour(service, route),
            response_serializer=GetMessageClass(route.operation.response).SerializeToString,
        )
        for route in compiled
    }
    # Both ways, as generated code does: other engines and method names in telemetry need the second.
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    server.add_registered_method_handlers(name, handlers)


def _behaviour(service: BridgeService, route: Route) -> Callable[[bytes | None, Context], Awaitable[Message]]:
    # The request arrives as bytes, None where there is no message: what cannot be parsed is then a failure like any
    # other, with details.
    async def behaviour(serialized: bytes | None, context: Context) -> Message:
        call_id = call_id_of(context.invocation_metadata() or ())
        context.set_trailing_metadata(ok_trailers(call_id))
        try:
            return await service.handle(route, serialized, context.time_remaining(), context, call_id=call_id)
        except BridgeError as error:
            wire = wire_status(error, call_id)
        except Exception:  # noqa: BLE001 - grpc.aio would send its text to the caller
            wire = wire_status(BridgeFault(), call_id)
        try:
            await context.abort(STATUS_CODES[wire.code], wire.message, wire.trailers)
        except grpc.aio.InternalError:
            # The call has just ended in gRPC's core, whose caller has left. gRPC would log that as an error.
            raise asyncio.CancelledError from None

    return behaviour


@asynccontextmanager
async def _health_alone(settings: Settings, health: Health, options: Options) -> AsyncIterator[str]:
    """Serve health and nothing else, in plaintext, where an address is set for it; yield that with its port."""
    if not settings.server.health_listen:
        yield ""
        return
    server = ENGINES[settings.server.engine](options)
    health.add_to(server)
    async with listening(server, "server.health_listen", settings.server.health_listen) as address:
        yield address


# --- settings -> parts ------------------------------------------------------------------------------------------


def _transport(settings: Settings) -> Http2Transport:
    wallet = settings.wallet
    return Http2Transport(
        tls_context(wallet), connect_timeout_s=wallet.connect_timeout_s, connections_max=wallet.connections_max
    )


def _service(settings: Settings, keyring: Keyring, wallet: WalletClient, watchers: Watchers) -> BridgeService:
    server = settings.server
    return BridgeService(
        keyring,
        wallet,
        settings.wallet.deadlines,
        watchers,
        admission=Admission(server.max_in_flight, server.max_queued, server.max_in_flight_per_provider),
        allow_list=None if server.allowed_identities is None else AllowList(server.allowed_identities),
    )


def _fingerprint(settings: Settings) -> Fingerprint:
    key = settings.telemetry.fingerprint_key
    return Fingerprint(None if key is None else key.get_secret_value().encode())


def _rotation(
    settings: Settings, keyring: Keyring, transport: Http2Transport, emit: Emit, interval_s: float
) -> Rotation:
    def use_tls(wallet: Wallet) -> None:
        transport.use_tls(tls_context(wallet))

    return Rotation(settings.wallet, keyring, use_tls, emit, Pace(interval_s))
