"""Bridges that are busy: with more calls than they may have, to wait, refuse and leave; with callers who never stop."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from bridge.sandbox.record import Pulse
from bridge.sandbox.server import FaultServer
from bridge.service import BridgeService
from tests.support.reported import Reported
from tests.support.whole_path import NO_SETTINGS, PATIENCE_S, Caller, bridge_to, terminate_request, until
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


class Load:
    """Callers each of whom makes one call after the other, with a token of its own each time."""

    def __init__(self) -> None:
        self.ends: Counter[str] = Counter()
        """How many calls ended with each gRPC code."""
        self.tokens: list[str] = []
        """Of all calls, in the order of their beginning."""
        self._rounds: list[int] = []
        self._ended = Pulse()
        self._is_over = False

    @classmethod
    @asynccontextmanager
    async def running(cls, caller: Caller, callers: int = 12) -> AsyncIterator["Load"]:
        """Let so many callers call until the end of the block, and then end their last call."""
        load = cls()
        load._rounds = [0] * callers
        async with asyncio.TaskGroup() as tasks:
            for number in range(callers):
                tasks.create_task(load._call(caller, number))
            await load.goes_on()
            yield load
            await load.goes_on()
            load._is_over = True

    async def goes_on(self) -> None:
        """Wait until every caller has ended a call that it began since now: the bridge knows what that taught it."""
        target = [ended + 2 for ended in self._rounds]
        async with asyncio.timeout(PATIENCE_S):
            await self._ended.until(lambda: all(map(int.__ge__, self._rounds, target)))

    async def _call(self, caller: Caller, number: int) -> None:
        for turn in count():
            if self._is_over:
                return
            self.tokens.append(f"{number}-{turn}")
            self.ends[(await caller.terminate(self.tokens[-1])).code] += 1
            self._rounds[number] += 1
            self._ended.beat()
