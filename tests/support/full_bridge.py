"""A bridge that has more calls than it may: for tests of waiting, refusing and leaving."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bridge.sandbox.server import FaultServer
from bridge.service import BridgeService
from tests.support.reported import Reported
from tests.support.whole_path import NO_SETTINGS, Caller, bridge_to, terminate_request, until
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub


@dataclass(frozen=True)
class FullBridge:
    """A bridge with a caller, and what it reports."""

    wallet: FaultServer
    caller: Caller
    ends: Reported

    @property
    def service(self) -> BridgeService:
        """The service inside: nothing else shows at the very moment how many calls it has."""
        return self.caller.bridge._service

    def start(self, token: str, timeout_s: float | None = None) -> Any:
        """Begin a call, which `end_of` can wait for and which can be cancelled."""
        stub = WalletServiceStub(self.caller.channel)
        return stub.Terminate(terminate_request(token), timeout=timeout_s)

    async def hold(self, count: int, timeout_s: float | None = None) -> list[Any]:
        """Begin so many calls, called held-0 and so on, one after the other; return when the wallet has them all."""
        calls = []
        for number in range(count):
            calls.append(self.start(f"held-{number}", timeout_s))
            await self.wallet.until(lambda: len(self.wallet.requests) == len(calls))
        return calls

    async def queue(self, *tokens: str) -> list[Any]:
        """Begin these calls, one after the other; return when all are in line behind those that were there."""
        calls = []
        for token in tokens:
            queued = self.service.admission.queued
            calls.append(self.start(token))
            await until(lambda before=queued: self.service.admission.queued > before)  # type: ignore[misc]
        return calls

    @property
    def tokens(self) -> list[str]:
        """Of the requests that have reached the wallet, in that order."""
        return [request.token for request in self.wallet.requests]


@asynccontextmanager
async def full_bridge(server: FaultServer, settings: Mapping[str, str] = NO_SETTINGS) -> AsyncIterator[FullBridge]:
    """Run a bridge with these settings before this wallet, which is started for it; see that no task is left."""
    tasks, complaints = asyncio.all_tasks(), list[Mapping[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _loop, complaint: complaints.append(complaint))
    ends = Reported()
    async with server as wallet:
        async with bridge_to(wallet.url, settings, emit=ends) as caller:
            yield FullBridge(wallet, caller, ends)
        await wallet.until(lambda: not wallet.open_connections)
    await until(lambda: asyncio.all_tasks() == tasks)
    assert complaints == []
