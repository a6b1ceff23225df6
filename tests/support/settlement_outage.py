"""A wallet that is out for an hour, and a bridge that settles what was left behind: in virtual time, on real SQL.

Settlement is the bridge's own, from its store to the attempt; a wallet that takes ANSWER_S for each answer stands in
for signing and HTTP. Every attempt is noted.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bridge.admission import Admission
from bridge.errors import WalletTimeout, WalletUnavailable, WalletUnreachable
from bridge.events import ignore
from bridge.outcome import BridgeError
from bridge.settlement.entry import Entry, NewCall, State
from bridge.settlement.running import Rules, Settlement, settling
from tests.support.inline_store import InlineStore
from tests.support.settlement_calls import KEYS, OPERATIONS, new_call

OUTAGE_S = 3600.0
ANSWER_S = 0.05
LIMIT = 10
"""settle_in_flight."""
PART = 500
OUTAGES: dict[str, tuple[Callable[[], BridgeError], float]] = {
    "unreachable": (WalletUnreachable, 0.001),
    "silent": (WalletTimeout, 10.0),
    "503": (WalletUnavailable, ANSWER_S),
}
"""How the wallet is out: the end of an attempt, and how long it takes."""


@dataclass(slots=True)
class Sent:
    """One attempt as the wallet sees it."""

    provider_id: int
    began_s: float
    ended_s: float = float("inf")
    is_certain: bool = False


class Wallet:
    """Is out for OUTAGE_S, then confirms everything. Stands in for `Attempt`."""

    operations = OPERATIONS
    keys = KEYS

    def __init__(self, outage: str) -> None:
        self.failure, self.failure_s = OUTAGES[outage]
        self.sent: list[Sent] = []
        self._clock = asyncio.get_running_loop().time

    async def __call__(self, entry: Entry) -> None:
        """Take one attempt."""
        sent = Sent(entry.provider_id, self._clock())
        self.sent.append(sent)
        try:
            if sent.began_s < OUTAGE_S:
                await asyncio.sleep(self.failure_s)
                raise self.failure()
            await asyncio.sleep(ANSWER_S)
            sent.is_certain = True
        finally:
            sent.ended_s = self._clock()


@dataclass(frozen=True)
class Aftermath:
    """What the wallet saw, and what became of the entries."""

    sent: Sequence[Sent]
    states: dict[State, int]

    def of(self, provider_id: int) -> list[Sent]:
        """Return a provider's attempts, in the order in which they began."""
        return [one for one in self.sent if one.provider_id == provider_id]

    @property
    def providers(self) -> list[int]:
        """Return the providers that were asked."""
        return sorted({one.provider_id for one in self.sent})

    def first_certain_s(self, provider_id: int) -> float:
        """Return when a provider was given its first certain answer."""
        return min(one.ended_s for one in self.of(provider_id) if one.is_certain)

    def rates(self, provider_id: int) -> list[int]:
        """Return how many attempts began in each second after the first certain answer."""
        since_s = self.first_certain_s(provider_id)
        begun = Counter(int(one.began_s - since_s) for one in self.of(provider_id) if one.began_s >= since_s)
        return [begun[second] for second in range(max(begun, default=-1) + 1)]


def in_flight(sent: Sequence[Sent]) -> Iterator[tuple[Sent, int]]:
    """Yield each attempt with how many were under way when it had begun."""
    under_way: list[Sent] = []
    for one in sent:
        under_way = [other for other in under_way if other.ended_s > one.began_s]
        under_way.append(one)
        yield one, len(under_way)


async def after_an_outage(outage: str, entries: int, providers: int) -> Aftermath:
    """Leave so many entries behind while the wallet is out, wait until they are settled; return what was seen."""
    loop = asyncio.get_running_loop()
    wallet, store = Wallet(outage), InlineStore(loop.time)
    ids = range(1, providers + 1)
    rules = Rules(in_flight_max=LIMIT, providers=frozenset(ids))
    settlement = Settlement(store, wallet, Admission(1000, 0), rules, ignore)  # type: ignore[arg-type]  # stands in
    async with settling(settlement):
        for first in range(0, entries, PART):
            await store.write([_left_behind(number, providers) for number in range(first, min(first + PART, entries))])
            await asyncio.sleep(OUTAGE_S * PART / entries / 2)
        await asyncio.sleep(OUTAGE_S - loop.time())
        while (await store.counts()).by_state[State.PENDING]:  # noqa: ASYNC110 - virtual time, nothing to wait for
            await asyncio.sleep(1.0)
        return Aftermath(wallet.sent, dict((await store.counts()).by_state))


def _left_behind(number: int, providers: int) -> NewCall:
    return new_call(str(number), call_id=str(number), provider_id=1 + number % providers)
