"""Game services that come, make some calls each, and go, now and then in the middle of one.

Each has a channel of its own. What it sees of a call goes into the ledger, and how late it saw it is measured here:
by the deadline + 100 ms (docs/design/faults.md), minus what the soak itself kept from running meanwhile.

gRPC's own deadline hides a bridge that is late, for both ends of gRPC end a call at that moment, without details. So
some calls have none, and some one that is longer than the bridge allows: what ends these is the bridge alone. For the
others, an end without details says that the bridge has missed the margin in which it should have sent them.
"""

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any, cast

import grpc.aio

from benchmarks.soak.ledger import CANCELLED, OK, SILENT, Ledger
from benchmarks.soak.mix import any_plan, new_token
from benchmarks.soak.starvation import Starvation
from bridge.deadline import DETAILS_MARGIN_S
from tests.support.whole_path import End, end_of, terminate_request
from wallet.v1.wallet_error_pb2 import Outcome
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

CALLERS = 40
CALLS_MAX = 60
"""How many calls a caller makes at most before it goes."""
THINK_S_MAX = 0.25
AWAY_S_MAX = 1.0
LEAVES_IN_CALL = 0.1
"""How many of the callers go while a call is under way."""

DEADLINE_DEFAULT_S, DEADLINE_MAX_S = 1.0, 2.0
"""The bridge's settings: short, so that calls which the wallet never answers do not fill the bridge."""
TIMEOUTS_S = (None, None, None, None, 60.0, 60.0, 60.0, 60.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.5, 1.0, 1.0)
CANCELS = 0.1
CANCEL_S_MAX = 0.2

GRACE_S = 0.1
REPORTING_S = 0.04
"""What details may take of the margin that is kept for it: where more than the rest is lost, no one is late."""
NEVER_S = 10.0
"""A call that has not ended this long after its deadline never will."""

LATE, NEVER, BARE = "ended later than its deadline + 100 ms", "never ended", "failed without details"
RULES = (LATE, NEVER)
"""What must never be. That a failure has no details may be, once in very many calls: the machine has its moments."""

OPTIONS = (
    ("grpc.enable_retries", 0),
    # Channels to one address would otherwise share a connection.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True)
class Wish:
    """What a caller expects of one call."""

    timeout_s: float | None
    cancel_s: float | None
    """After how many seconds it is cancelled; None: never."""

    @classmethod
    def any(cls, chance: random.Random) -> "Wish":
        """Return one at random."""
        cancel_s = chance.uniform(0.0, CANCEL_S_MAX) if chance.random() < CANCELS else None
        return cls(chance.choice(TIMEOUTS_S), cancel_s)

    @property
    def is_promised_details(self) -> bool:
        """Whether there is time to report how the call failed: more than the margin that the bridge keeps for it."""
        return self.timeout_s is None or self.timeout_s > DETAILS_MARGIN_S

    @property
    def deadline_s(self) -> float:
        """When the bridge must have ended the call, in seconds from its beginning."""
        return DEADLINE_DEFAULT_S if self.timeout_s is None else min(self.timeout_s, DEADLINE_MAX_S)


class Callers:
    """Everybody who calls, until `stop`."""

    def __init__(self, address: str, ledger: Ledger, starvation: Starvation, chance: random.Random) -> None:
        self.ends: Counter[str] = Counter()
        """By gRPC code and outcome."""
        self.channels = 0
        self.latest_s = float("-inf")
        """The most by which a call ended after its deadline, the allowance taken off; negative: before it."""
        self.latest_raw_s = float("-inf")
        """The same without the allowance."""
        self.excused = 0
        """Calls that ended too late or without details while the soak itself kept the bridge or them from running."""
        self._address = address
        self._ledger = ledger
        self._starvation = starvation
        self._chance = chance
        self._is_over = False

    async def run(self) -> None:
        """Let all call until `stop`, and return when every call has ended and every channel is closed."""
        self._is_over = False
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CALLERS):
                tasks.create_task(self._come_and_go())

    def stop(self) -> None:
        """Begin no further call."""
        self._is_over = True

    async def _come_and_go(self) -> None:
        while True:
            await self._think(AWAY_S_MAX)
            if self._is_over:
                return
            self.channels += 1
            async with grpc.aio.insecure_channel(self._address, options=OPTIONS) as channel:
                await channel.channel_ready()
                await self._visit(WalletServiceStub(channel), channel)

    async def _visit(self, stub: WalletServiceStub, channel: grpc.aio.Channel) -> None:
        for _ in range(self._chance.randint(1, CALLS_MAX)):
            if self._is_over:
                return
            await self._call(stub, Wish.any(self._chance))
            await self._think(THINK_S_MAX)
        if self._chance.random() < LEAVES_IN_CALL:
            await self._leave(stub, channel)

    async def _think(self, s_max: float) -> None:
        await asyncio.sleep(self._chance.uniform(0.0, s_max))

    async def _leave(self, stub: WalletServiceStub, channel: grpc.aio.Channel) -> None:
        call = asyncio.create_task(self._call(stub, Wish(None, None), leaves=True))
        await self._think(CANCEL_S_MAX)
        await channel.close()
        await call

    async def _call(self, stub: WalletServiceStub, wish: Wish, *, leaves: bool = False) -> None:
        token, loop = new_token(any_plan(self._chance)), asyncio.get_running_loop()
        self._ledger.began(token)
        began_s, starved_s = loop.time(), self._starvation.before()
        # The stub's type is the response's; what it returns is grpc.aio's call, which can be cancelled.
        call: Any = stub.Terminate(terminate_request(token), timeout=wish.timeout_s)
        cancel = None if wish.cancel_s is None else loop.call_later(wish.cancel_s, call.cancel)
        never = loop.call_later(wish.deadline_s + NEVER_S, call.cancel)
        end = await _end_or_none(call)
        now_s = loop.time()
        for timer in (cancel, never):
            if timer is not None:
                timer.cancel()
        said = _said(end, is_given_up=leaves or wish.cancel_s is not None)
        self._ledger.ended(token, said, now_s)
        self.ends[f"{end.code if end else 'CANCELLED'} {said}"] += 1
        late_s = now_s - began_s - wish.deadline_s
        if said == SILENT or (said != CANCELLED and late_s > 0.0):
            self._check(token, wish, said, late_s, max(self._starvation.now() - starved_s, 0.0))

    def _check(self, token: str, wish: Wish, said: str, late_s: float, starved_s: float) -> None:
        self.latest_raw_s = max(self.latest_raw_s, late_s)
        self.latest_s = max(self.latest_s, late_s - starved_s)
        facts = (
            f"asked {wish.timeout_s} s, {late_s * 1000:.0f} ms after the deadline, starved {starved_s * 1000:.0f} ms"
        )
        if late_s >= NEVER_S:
            self._ledger.breaks(NEVER, token, facts)
        elif late_s - starved_s > GRACE_S:
            self._ledger.breaks(LATE, token, facts)
        elif said == SILENT and starved_s < DETAILS_MARGIN_S - REPORTING_S and wish.is_promised_details:
            self._ledger.breaks(BARE, token, facts)
        else:
            self.excused += late_s > GRACE_S or (said == SILENT and wish.is_promised_details)


async def _end_or_none(call: Any) -> End | None:
    """Wait for a call to end; return None for one that was cancelled here."""
    try:
        return await end_of(call)
    except asyncio.CancelledError:
        if cast("asyncio.Task[None]", asyncio.current_task()).cancelling():
            raise
        return None


def _said(end: End | None, *, is_given_up: bool) -> str:
    """Return what the caller knows of the call: OK, the outcome, or that it got none."""
    if end is not None and end.code == "OK":
        return OK
    if end is not None and "WalletError" in end.details:
        return Outcome.Name(end.wallet_error.outcome).removeprefix("OUTCOME_")
    return CANCELLED if is_given_up else SILENT
