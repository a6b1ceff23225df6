"""The running bridge: builds all parts from the settings, serves them, and drains."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor

from bridge.admission import Admission
from bridge.events import Emit, ignore
from bridge.http2.transport import Http2Transport
from bridge.identity import AllowList, CallerCheck
from bridge.server.background import in_background, sample
from bridge.server.engine import ENGINES
from bridge.server.handlers import SERVICES, add_service, routes
from bridge.server.health import NAME as HEALTH_NAME
from bridge.server.health import Health
from bridge.server.listeners import Options, health_options, listening, server_options
from bridge.server.reflection import Reflection
from bridge.server.settlement import NAME as SETTLEMENT_NAME
from bridge.server.settlement import serve_settlement, settlement_beside
from bridge.server.tls import ServerTls
from bridge.service import BridgeService, Watchers
from bridge.settings.certificate_dates import report_dates, reporting_dates
from bridge.settings.file_watch import INTERVAL_S, FileWatch
from bridge.settings.model import Settings, Wallet
from bridge.settings.reload import files_of
from bridge.settling import NO_SETTLING
from bridge.telemetry.fingerprint import Fingerprint
from bridge.tracer import Tracer
from bridge.transcoding.route import Route
from bridge.upstream.client import WalletClient
from bridge.upstream.from_settings import keyring_of, tls_context
from bridge.upstream.key_rotation import Pace, Rotation
from bridge.upstream.retry import RetryPolicy
from bridge.upstream.signing import Keyring

if TYPE_CHECKING:  # not imported where settlement is off
    from bridge.settlement.running import Settlement

REFUSE_AT_LEAST_S = 1.0
"""Time, in seconds, of BRIDGE_DRAINING before the port closes: late calls get a status, not a reset."""

HOLD_S = 0.25
"""Time for which refusals are held back before the port closes: callers near by have retried by then. In seconds."""

STOP_GRACE_S = 2.0
"""Grace for refusals on their way, in seconds. Open streams are ended before, and do not use it up."""


class BridgeServer:
    """A running bridge: its addresses, and the way to end it."""

    def __init__(  # noqa: PLR0913, PLR0917 - made in one place only
        self,
        server: grpc.aio.Server,
        service: BridgeService,
        health: Health,
        reflection: Reflection,
        settlement: "Settlement | None",
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
        self._settlement = settlement
        self._watches = watches

    def look_at_files(self) -> None:
        """Look at all key and certificate files now, and load at once what has changed."""
        for watch in self._watches:
            watch.look_now()

    async def drain(self, drain_s: float) -> None:
        """End in two steps, so that no call fails by it (docs/design/contract.md, "Time"), then close the port.

        First health says NOT_SERVING and calls are still served for `drain_s`; then new calls are refused until those
        in flight have ended. With 0 seconds there is no first step, and no minimum for the second. The listener for
        health alone stays open, and says NOT_SERVING, until `running` ends.
        """
        self._health.leave()
        if self._settlement is not None:
            self._settlement.leave()
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
    retries = RetryPolicy(retry_unknown=settings.wallet.retry_unknown)
    wallet = WalletClient(transport, settings.wallet.url, retries=retries, emit=emit)
    keyring, admission = keyring_of(settings.wallet), _admission(settings)
    compiled = {descriptor.full_name: routes(descriptor, settings) for descriptor in services}
    async with AsyncExitStack() as stack:
        stack.push_async_callback(wallet.aclose)
        all_routes = chain.from_iterable(compiled.values())
        settlement = await stack.enter_async_context(
            settlement_beside(settings, keyring, transport, admission, all_routes, emit)
        )
        watchers = Watchers(emit, tracer, _fingerprint(settings))
        service = _service(settings, keyring, wallet, watchers, admission, settlement)
        names = [*compiled, *(() if settlement is None else (SETTLEMENT_NAME,))]
        health = Health(names)
        reflection = Reflection([*names, HEALTH_NAME])
        server = _server(settings, compiled, service, health, server_options(settings, reuse_port=reuse_port))
        if settings.server.reflection:
            reflection.add_to(server)
        tls = None if settings.server.tls_certificate_file is None else ServerTls(settings.server)
        watches = _wallet_and_tls_watches(settings, keyring, transport, tls, emit, watch_interval_s)
        watches.extend(serve_settlement(server, settlement, settings, emit, watch_interval_s))
        for watch in watches:
            watch.check()  # later changes are compared with the content loaded now
        report_dates(emit, _tls_files(settings, tls))
        credentials = None if tls is None else tls.credentials
        # The listener for health opens first and closes last: probes are answered all the time.
        async with (
            _health_alone(settings, health, health_options(settings, reuse_port=reuse_port)) as health_address,
            listening(server, "server.listen", settings.server.listen, credentials) as address,
            in_background(sample(service, transport, emit), *(watch.run() for watch in watches)),
        ):
            yield BridgeServer(server, service, health, reflection, settlement, watches, address, health_address)


# --- gRPC -------------------------------------------------------------------------------------------------------


def _server(
    settings: Settings,
    compiled: Mapping[str, Sequence[Route]],
    service: BridgeService,
    health: Health,
    options: Options,
) -> grpc.aio.Server:
    server = ENGINES[settings.server.engine](options)
    for name, service_routes in compiled.items():
        add_service(server, service, name, service_routes)
    health.add_to(server)
    return server


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


def _admission(settings: Settings) -> Admission:
    server = settings.server
    return Admission(server.max_in_flight, server.max_queued, server.max_in_flight_per_provider)


def _service(  # noqa: PLR0913, PLR0917 - where the parts come together
    settings: Settings,
    keyring: Keyring,
    wallet: WalletClient,
    watchers: Watchers,
    admission: Admission,
    settlement: "Settlement | None",
) -> BridgeService:
    allowed = settings.server.allowed_identities
    return BridgeService(
        keyring,
        wallet,
        settings.wallet.deadlines,
        watchers,
        admission=admission,
        check_caller=None if allowed is None else _caller_check(allowed),
        settling=NO_SETTLING if settlement is None else settlement.intake,
    )


def _caller_check(allowed: Iterable[str]) -> CallerCheck:
    # With it comes all of `cryptography`: 10 MB that a bridge without a list can do without.
    from bridge.identity.certificate import identities_of  # noqa: PLC0415 - see above

    allow_list = AllowList(allowed)
    return lambda peer: allow_list.check(identities_of(peer))


def _fingerprint(settings: Settings) -> Fingerprint:
    key = settings.telemetry.fingerprint_key
    return Fingerprint(None if key is None else key.get_secret_value().encode())


def _tls_files(settings: Settings, tls: ServerTls | None) -> dict[str, Path]:
    return files_of(("wallet",), settings.wallet) | ({} if tls is None else tls.files)


def _wallet_and_tls_watches(  # noqa: PLR0913, PLR0917 - where the parts come together
    settings: Settings,
    keyring: Keyring,
    transport: Http2Transport,
    tls: ServerTls | None,
    emit: Emit,
    interval_s: float,
) -> list[Rotation | FileWatch]:
    report = reporting_dates(emit, _tls_files(settings, tls))
    rotation = _rotation(settings, keyring, transport, report, interval_s)
    return [rotation] if tls is None else [rotation, FileWatch(tls.files, tls.reload, report, interval_s, [tls.files])]


def _rotation(
    settings: Settings, keyring: Keyring, transport: Http2Transport, emit: Emit, interval_s: float
) -> Rotation:
    def use_tls(wallet: Wallet) -> None:
        transport.use_tls(tls_context(wallet))

    return Rotation(settings.wallet, keyring, use_tls, emit, Pace(interval_s))
