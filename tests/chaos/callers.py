"""Callers of a run, and the result of each of their calls."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import grpc.aio

from tests.chaos.processes import BridgeProcess
from tests.support.whole_path import CHANNEL_OPTIONS, End, end_of, terminate_request
from wallet.v1.wallet_error_pb2 import SETTLEMENT_PENDING
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

DEADLINES_S = (0.5, 1.0, 2.0, 3.0)
PAUSE_S = (0.0, 0.2)
AGAIN = 0.2
"""The share of calls whose request is an earlier one's."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one call ended for its caller."""

    call_id: str
    token: str
    code: str
    """Status code."""
    reason: str
    """As in WalletError; "" without one: OK, or the bridge was killed."""
    is_pending: bool


class Callers:
    """So many callers at once, each one call after the other, each call at any bridge that is up."""

    def __init__(self, bridges: Sequence[BridgeProcess], chance: random.Random) -> None:
        self.results: list[Result] = []
        self._bridges = bridges
        self._chance = chance
        self._numbers = itertools.count(1)
        self._tokens: list[str] = []
        self._is_over = False

    @property
    def pending(self) -> list[Result]:
        """The calls whose answer said that the bridge goes on."""
        return [one for one in self.results if one.is_pending]

    @property
    def once(self) -> frozenset[str]:
        """The tokens that one call alone was about."""
        counts = Counter(self._tokens)
        return frozenset(token for token, count in counts.items() if count == 1)

    async def run(self, count: int) -> None:
        """Call until `end`."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(self._go_on())

    def end(self) -> None:
        """Begin no call any more."""
        self._is_over = True

    async def _go_on(self) -> None:
        while not self._is_over:
            up = [bridge for bridge in self._bridges if bridge.is_ready]
            if up:
                await self._call(self._chance.choice(up).address)
            await asyncio.sleep(self._chance.uniform(*PAUSE_S))

    async def _call(self, address: str) -> None:
        number = next(self._numbers)
        is_again = self._tokens and self._chance.random() < AGAIN
        token = self._chance.choice(self._tokens) if is_again else f"canary-token-{number}"
        self._tokens.append(token)
        call_id = f"call-{number}"
        async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
            end = await end_of(
                WalletServiceStub(channel).Terminate(
                    terminate_request(token),
                    timeout=self._chance.choice(DEADLINES_S),
                    metadata=(("x-request-id", call_id),),
                )
            )
        self.results.append(_result(call_id, token, end))


def _result(call_id: str, token: str, end: End) -> Result:
    # Without details the client gave up first, or the bridge was killed.
    error = end.details.get("WalletError")
    reason = "" if error is None else error.reason
    return Result(call_id, token, end.code, reason, error is not None and error.settlement == SETTLEMENT_PENDING)
