"""One of several bridges that settle: started, killed, stopped for a while, left in order, started again."""

import asyncio
import random
import ssl
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from bridge.admission import Admission
from bridge.deadline import DeadlineLimits
from bridge.events import Event
from bridge.http2.transport import Http2Transport
from bridge.outcome import BridgeError
from bridge.service import BridgeService, Watchers
from bridge.settlement.attempt import Attempt
from bridge.settlement.entry import Entry, State
from bridge.settlement.running import Rules, Settlement, settling
from bridge.settlement.sealing import Keys
from bridge.transcoding.verdict import Verdict
from bridge.upstream.client import WalletClient
from bridge.upstream.retry import NoRetries, RetryPolicy
from bridge.upstream.signing import Credentials, Keyring
from tests.simulation.network import Address, Link, Network
from tests.simulation.run import CONNECTIONS_MAX, PROVIDER_ID, ROUTE
from tests.simulation.scenario import KEYS, Settled
from tests.simulation.settled_store import Handle, SharedStore

KEY = Keys([bytes(range(32))])
OWNER: ContextVar["Bridge | None"] = ContextVar("OWNER", default=None)
"""Whose code runs now: a bridge that was killed reaches no one any more."""


@dataclass(slots=True, eq=False)
class Span:
    """One attempt of a settler."""

    bridge: "Bridge"
    entry: Entry
    token: str
    began_s: float
    wrong: str = ""
    """Why it should not have begun."""
    ended_s: float | None = None
    error: BridgeError | None = None
    is_confirmed: bool = False

    @property
    def is_certain(self) -> bool:
        """Whether the wallet has answered for certain."""
        return self.is_confirmed or (self.error is not None and self.error.reason in FINAL)


FINAL = frozenset({"WALLET_REJECTED", "WALLET_ECHO_MISMATCH"})


class BridgesNetwork(Network):
    """A network that a killed bridge has no part in."""

    async def reach(self, host: str) -> Address:
        """Connect, for a bridge that lives."""
        address = await super().reach(host)
        _alive()
        return address

    def link(self, address: Address, factory: Callable[[], asyncio.Protocol]) -> tuple[Link, asyncio.Protocol]:
        """Open a connection that ends with its bridge."""
        link, protocol = super().link(address, factory)
        owner = OWNER.get()
        if owner is not None:
            owner.links.append(link)
        return link, protocol


def _alive() -> None:
    owner = OWNER.get()
    if owner is not None and owner.is_dead:
        raise ConnectionRefusedError


class _Watched(Attempt):
    """Attempts that are noted when they begin and end."""

    def __init__(self, bridge: "Bridge", wallet: WalletClient) -> None:
        super().__init__({ROUTE.operation.full_name: ROUTE}, KEY, bridge.keyring, wallet)
        self._bridge = bridge

    async def __call__(self, entry: Entry) -> Verdict:
        """Send an entry once."""
        bridge = self._bridge
        span = Span(bridge, entry, token_of(entry), bridge.loop.time(), bridge.unowned(entry))
        bridge.spans.append(span)
        try:
            verdict = await super().__call__(entry)
        except BridgeError as error:
            span.error = error
            raise
        else:
            span.is_confirmed = True
            return verdict
        finally:
            span.ended_s = bridge.loop.time()


class Bridge:
    """One process."""

    def __init__(self, name: str, settled: Settled, rules: Rules, shared: SharedStore, chance: random.Random) -> None:
        self.loop = asyncio.get_running_loop()
        self.name = name
        self.shared = shared
        self.handle = Handle(shared, chance, is_redis=settled.is_redis)
        self.is_dead = False
        self.is_leaving = False
        self.killed_s = float("inf")
        self.left_early = False
        """It ended in order while things failed: what it could not write by then is logged, not written."""
        self.links: list[Link] = []
        self.spans: list[Span] = []
        self.callers: list[asyncio.Task[Any]] = []
        self.events: list[Event] = []
        self.settles = asyncio.Event()
        self._rules = rules
        self._end = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Be started."""
        self._life = asyncio.create_task(self._live())

    async def ready(self) -> None:
        """Wait until it serves."""
        await self.settles.wait()

    async def _live(self) -> None:
        OWNER.set(self)
        self.transport = Http2Transport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), connections_max=CONNECTIONS_MAX)
        self.keyring = Keyring([Credentials(PROVIDER_ID, *KEYS[0])])
        client = WalletClient(self.transport, "http://wallet.test", retries=RetryPolicy())
        attempt = _Watched(self, WalletClient(self.transport, "http://wallet.test", retries=NoRetries()))
        admission = Admission(100, 50)
        store: Any = self.handle  # all that settlement asks of one
        settlement = Settlement(store, attempt, admission, self._rules, self._emit)
        async with settling(settlement):
            self.settlement = settlement
            self.service = BridgeService(
                *(self.keyring, client, DeadlineLimits(), Watchers(emit=self._emit)),
                admission=admission,
                settling=settlement.intake,
            )
            self.settles.set()
            await self._end.wait()
            settlement.leave()
            admission.refuse()
            if not self.is_dead:
                await admission.idle()
        await client.aclose()

    async def leave(self) -> None:
        """End as a drain does."""
        self.is_leaving = True
        self._end.set()
        if self._life is not None:
            await self._life

    async def cut_calls_off(self) -> None:
        """End every call in flight, as a server does whose time to stop is over.

        The first cancel frees a call or lets it go on without its caller, the second one ends it.
        """
        for _ in range(2):
            for task in self.callers:
                task.cancel()
            await asyncio.sleep(0)

    def kill(self) -> None:
        """End at once: SIGKILL. What it has sent is on its way; the kernel closes its connections."""
        self.is_dead = self.handle.is_dead = True
        self.killed_s = self.loop.time()
        for link in self.links:
            link.close()
        for task in self.callers:
            task.cancel()
        self._end.set()

    def _emit(self, event: Event) -> None:
        if not self.is_dead:
            self.events.append(event)

    def unowned(self, entry: Entry) -> str:
        """Return why an attempt must not begin now; "" where it may."""
        if entry.entry_id in self.handle.settled - self.shared.reopened and not self.shared.lost:
            return "this bridge has settled it"
        left_s = self.handle.lease_ends[entry.entry_id] - self.shared.now()
        if left_s < LEASE_LEFT_S:
            return f"{left_s:.3f} s are left of its lease"
        stands = self.shared.entry_of(entry.entry_id)
        if stands is None:
            return "the store has no such entry"
        if stands.state is State.SETTLED and stands.ended <= entry.read_at:
            return "it was SETTLED when it was taken"
        if stands.state is State.PENDING and stands.fence != entry.fence:
            return "another has taken it"
        return ""  # it may have ended after it was taken


LEASE_LEFT_S = 14.9
"""What must be left of a lease when an attempt begins, less what the answer of the store took."""


def token_of(entry: Entry) -> str:
    """Return the token that an entry is about; "" where its request is deleted."""
    if not entry.ciphertext:
        return ""
    request = ROUTE.parse(KEY.open(entry))
    return str(request.token)  # type: ignore[attr-defined]  # every Terminate has one
