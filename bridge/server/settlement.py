"""Settlement beside the calls: run for as long as the server runs, and asked about by SettlementService.

Nothing of bridge/settlement/ is imported where the section [settlement] is absent.
"""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc.aio

from bridge.admission import Admission
from bridge.events import Emit
from bridge.http2.transport import Http2Transport
from bridge.settings.file_watch import FileWatch
from bridge.settings.model import Settings
from bridge.transcoding.route import Route
from bridge.upstream.signing import Keyring

if TYPE_CHECKING:
    from bridge.settlement.running import Settlement

NAME = "wallet.v1.SettlementService"
"""Of the service, for health and reflection."""


@asynccontextmanager
async def settlement_beside(  # noqa: PLR0913, PLR0917 - what it shares with the calls
    settings: Settings,
    keyring: Keyring,
    transport: Http2Transport,
    admission: Admission,
    routes: Iterable[Route],
    emit: Emit,
) -> "AsyncIterator[Settlement | None]":
    """Run settlement beside the calls, if it is on; raise SettingsError where its key file is wrong."""
    if settings.settlement is None:
        yield None
        return
    from bridge.settlement.from_settings import Shared, settlement_running  # noqa: PLC0415 - off costs nothing

    shared = Shared(keyring, transport, admission, routes, emit)
    async with settlement_running(settings, settings.settlement, shared) as settlement:
        yield settlement


def serve_settlement(
    server: grpc.aio.Server, settlement: "Settlement | None", settings: Settings, emit: Emit, interval_s: float
) -> list[FileWatch]:
    """Serve SettlementService, if settlement is on; return the watch of the key file, which is to be run."""
    if settlement is None or settings.settlement is None:
        return []
    from bridge.server.settlement_service import add_settlement_service  # noqa: PLC0415 - likewise
    from bridge.settlement.from_settings import key_watch  # noqa: PLC0415 - likewise

    add_settlement_service(server, settlement.store, settings.server.allowed_identities, settings.settlement)
    return [key_watch(settlement, settings.settlement, emit, interval_s)]
