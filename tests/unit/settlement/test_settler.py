"""The settler in virtual time: who owns an entry, when it is sent, and what becomes of it."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.admission import Admission
from bridge.deadline import Deadline
from bridge.errors import (
    BridgeFault,
    ProviderNotConfigured,
    WalletAuthRejected,
    WalletConnectionLost,
    WalletEchoMismatch,
    WalletEndpoint,
    WalletFailed,
    WalletGatewayError,
    WalletInconsistent,
    WalletNotProcessed,
    WalletRejected,
    WalletResponseInvalid,
    WalletThrottled,
    WalletTimeout,
    WalletUnavailable,
    WalletUnknownError,
    WalletUnreachable,
)
from bridge.events import Event, SettlementChanged, SettlementPaused
from bridge.outcome import BridgeError, GrpcCode, WalletFacts
from bridge.settlement.entry import Call, Entry, Last, NewCall, State, new_ticket
from bridge.settlement.pace import PAUSE_S, Pace
from bridge.settlement.results import CANNOT_OPEN, DAMAGED
from bridge.settlement.sealing import Damaged, KeyMissing, Keys
from bridge.settlement.settler import APART_S, LEASE_S, LEFT_MIN_S, Settler
from bridge.settlement.store import Problem, StoreError
from tests.support.inline_store import InlineStore
from tests.support.virtual_time import virtually

OPERATION = "wallet.test.Asking/Ask"
ONE, OTHER = 1, 12345
DAY_S = 86400.0
HOUR_S = 3600.0
KEYS = Keys([bytes(range(32))])

Behaviour = Callable[[Entry], Awaitable[Any]]


class SlowStore(InlineStore):
    """A store which takes its time and fails when it is asked to."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.take_s = self.settle_s = self.renew_s = 0.0
        self.is_down = False
        self.renewals = 0
        self.settled_at_once: list[int] = []

    def _works(self) -> None:
        if self.is_down:
            raise StoreError("sqlite://", Problem.UNREACHABLE)

    async def take(self, *arguments: Any, **named: Any) -> list[Entry]:
        """Lease entries, then answer late."""
        self._works()
        taken = await super().take(*arguments, **named)
        await asyncio.sleep(self.take_s)
        return taken

    async def renew(self, entry_id: str, fence: int, lease_s: float) -> bool:
        """Lease an entry again, late."""
        self._works()
        self.renewals += 1
        await asyncio.sleep(self.renew_s)
        return await super().renew(entry_id, fence, lease_s)

    async def settle(self, entry_ids: Sequence[str]) -> list[str]:
        """Make entries SETTLED, late."""
        self._works()
        self.settled_at_once.append(len(entry_ids))
        await asyncio.sleep(self.settle_s)
        return await super().settle(entry_ids)

    async def postpone(self, entry_id: str, fence: int, due_in_s: float, last: Last) -> bool:
        """Give an entry back."""
        self._works()
        return await super().postpone(entry_id, fence, due_in_s, last)


@dataclass(eq=False)
class Scene:
    """One store, any number of settlers, and a wallet that does as `behaviour` says."""

    behaviour: Behaviour
    admission: Admission = field(default_factory=Admission)
    in_flight_max: int = 10
    give_up_after_s: float = DAY_S
    store: SlowStore = field(init=False)
    sent: list[tuple[float, Entry]] = field(default_factory=list)
    under_way: dict[str, int] = field(default_factory=dict)
    most_at_once: int = 0
    events: list[Event] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    store_failures: int = 0

    def __post_init__(self) -> None:
        self.clock = asyncio.get_running_loop().time
        self.store = SlowStore(self.clock)

    async def send(self, entry: Entry) -> Any:
        """Be the wallet."""
        self.sent.append((self.clock(), entry))
        self.under_way[entry.entry_id] = self.under_way.get(entry.entry_id, 0) + 1
        assert self.under_way[entry.entry_id] == 1, "two own one entry"
        assert await self.state(entry.entry_id) is not State.SETTLED, "sent although it was settled"
        self.most_at_once = max(self.most_at_once, sum(self.under_way.values()))
        try:
            return await self.behaviour(entry)
        finally:
            self.under_way[entry.entry_id] -= 1

    def settler(self, providers: Sequence[int] = (ONE, OTHER)) -> Settler:
        """Return a further settler of the store."""
        return Settler(
            *(self.store, self.send, frozenset({OPERATION}), self.admission, Pace(providers, self.in_flight_max)),
            emit=self.events.append,
            in_flight_max=self.in_flight_max,
            give_up_after_s=self.give_up_after_s,
            ended=self.ended.append,
            store_failed=self._failed,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Settler]:
        """Run a further settler, and drain it at the end."""
        settler = self.settler()
        task = asyncio.create_task(settler.run())
        yield settler
        await drained([settler], [task])

    async def add(self, count: int = 1, provider_id: int = ONE) -> list[str]:
        """Write so many calls that ended UNKNOWN; return their entries."""
        added = await self.store.write([owed(provider_id) for _ in range(count)])
        return [one.entry_id for one in added if one is not None]

    async def state(self, entry_id: str) -> State:
        """Return the state of an entry."""
        entry = await self.store.get(entry_id)
        assert entry is not None
        return entry.state

    async def entry(self) -> Entry:
        """Return the only entry."""
        (entry,) = (await self.store.page(10)).entries
        return entry

    @property
    def times(self) -> list[float]:
        """When the wallet was asked."""
        return [at for at, _ in self.sent]

    def _failed(self, _error: StoreError) -> None:
        self.store_failures += 1


def owed(provider_id: int = ONE) -> NewCall:
    """Return a call that has ended UNKNOWN, of a request of its own."""
    ticket = new_ticket()
    sealed = KEYS.seal(OPERATION, provider_id, b"request", ticket.encode())
    return NewCall(
        ticket, Call(f"call-{ticket[:8]}", ()), sealed, due_in_s=0.0, is_owed=True, last=Last("WALLET_TIMEOUT")
    )


async def confirms(_entry: Entry) -> None:
    """Confirm everything at once."""


def fails(make: Callable[[], BridgeError]) -> Behaviour:
    """Return a wallet that always fails so."""

    async def behaviour(_entry: Entry) -> None:
        raise make()

    return behaviour


def late(seconds: float) -> Behaviour:
    """Return a wallet that confirms after so long."""

    async def behaviour(_entry: Entry) -> None:
        await asyncio.sleep(seconds)

    return behaviour


async def run_for(seconds: float, *settlers: Settler) -> None:
    """Run these settlers for so long, then drain them."""
    tasks = [asyncio.create_task(settler.run()) for settler in settlers]
    await asyncio.sleep(seconds)
    await drained(settlers, tasks)


async def drained(settlers: Sequence[Settler], tasks: Sequence[asyncio.Task[None]]) -> None:
    """End settlers."""
    for settler in settlers:
        settler.leave()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for settler in settlers:
        await settler.finish()


@virtually
async def test_an_entry_is_sent_until_the_wallet_confirms_it() -> None:
    """Each is sent once where the wallet answers, becomes SETTLED, and is reported with its age."""
    scene = Scene(confirms)
    entries = await scene.add(25)
    await run_for(30.0, scene.settler())
    assert [entry.entry_id for _, entry in scene.sent] == entries
    assert {await scene.state(entry) for entry in entries} == {State.SETTLED}
    assert sorted(scene.ended) == sorted(entries)
    assert {(e.state, e.attempts) for e in scene.events if isinstance(e, SettlementChanged)} == {(State.SETTLED, 1)}


@virtually
async def test_a_fast_wallet_does_not_hurry_the_settler() -> None:
    """Attempts begin apart, so that callers' calls come in between, and the ends of a round share one write."""
    scene = Scene(confirms)
    await scene.add(3000)
    await run_for(30.0, scene.settler())
    assert len(scene.sent) == 3000
    assert min(later - earlier for earlier, later in itertools.pairwise(scene.times)) == pytest.approx(APART_S)
    assert max(scene.store.settled_at_once) == scene.in_flight_max


FACTS = WalletFacts(http_status=400, code=7)
UNCERTAIN: dict[str, Callable[[], BridgeError]] = {
    kind.__name__: kind
    for kind in (
        *(WalletTimeout, WalletConnectionLost, WalletGatewayError, WalletUnknownError, WalletFailed, BridgeFault),
        *(WalletResponseInvalid, WalletNotProcessed, WalletUnavailable, WalletThrottled, WalletAuthRejected),
        *(WalletEndpoint, WalletUnreachable, ProviderNotConfigured, WalletInconsistent),
    )
} | {"a code that is mapped to UNAVAILABLE": lambda: WalletRejected(grpc_code=GrpcCode.UNAVAILABLE, reason="LATER")}


@pytest.mark.parametrize("make", UNCERTAIN.values(), ids=UNCERTAIN)
@virtually
async def test_only_a_certain_no_ends_an_entry(make: Callable[[], BridgeError]) -> None:
    """Whatever else comes back, it stays PENDING, is given back with the reason, and is sent again later."""
    scene = Scene(fails(make))
    await scene.add()
    await run_for(2 * PAUSE_S + 20, scene.settler())
    entry = await scene.entry()
    assert (entry.state, entry.last.reason, entry.is_leased) == (State.PENDING, make().reason, False)
    assert len(scene.sent) == entry.attempts >= 2


@pytest.mark.parametrize(
    ("make", "never_repeat"),
    [(lambda: WalletRejected(wallet=FACTS), False), (lambda: WalletEchoMismatch(wallet=FACTS, cause="token"), True)],
    ids=["rejected", "echo mismatch"],
)
@virtually
async def test_a_certain_no_rejects_the_entry(make: Callable[[], BridgeError], *, never_repeat: bool) -> None:
    """It is not sent again, keeps the wallet's code, and is reported; a mismatch can never be retried."""
    scene = Scene(fails(make))
    await scene.add()
    await run_for(HOUR_S, scene.settler())
    entry = await scene.entry()
    assert (entry.state, entry.last, entry.never_repeat) == (State.REJECTED, Last(make().reason, 7), never_repeat)
    assert len(scene.sent) == 1
    (reported,) = [e for e in scene.events if isinstance(e, SettlementChanged)]
    assert (reported.state, reported.reason, reported.wallet_code) == ("REJECTED", make().reason, 7)


@virtually
async def test_an_entry_is_given_up_after_its_time() -> None:
    """UNRESOLVED, with the last reason, after the attempt that was made when its time was up."""
    scene = Scene(fails(WalletTimeout), give_up_after_s=HOUR_S)
    await scene.add()
    await run_for(2 * HOUR_S, scene.settler())
    entry = await scene.entry()
    assert (entry.state, entry.last.reason) == (State.UNRESOLVED, "WALLET_TIMEOUT")
    assert HOUR_S <= scene.times[-1] <= HOUR_S + 300


@virtually
async def test_an_entry_that_is_too_old_at_the_start_is_asked_about_once() -> None:
    """A bridge that was down for longer than the time to give up still makes one attempt."""
    scene = Scene(confirms, give_up_after_s=HOUR_S)
    (entry,) = await scene.add()
    await asyncio.sleep(3 * HOUR_S)
    await run_for(10.0, scene.settler())
    assert await scene.state(entry) is State.SETTLED


@pytest.mark.parametrize(
    ("make", "state", "reason"),
    [(Damaged, State.UNRESOLVED, DAMAGED), (KeyMissing, State.PENDING, CANNOT_OPEN)],
    ids=["damaged", "its key is missing"],
)
@virtually
async def test_what_cannot_be_decrypted(make: Callable[[], Exception], state: State, reason: str) -> None:
    """A damaged entry needs a person; one whose key is missing waits for it, without a word about the provider."""

    async def behaviour(_entry: Entry) -> None:
        raise make()

    scene = Scene(behaviour)
    await scene.add()
    await run_for(60.0, scene.settler())
    entry = await scene.entry()
    assert (entry.state, entry.last.reason, len(scene.sent)) == (state, reason, 1)


@pytest.mark.parametrize("kind", [WalletAuthRejected, WalletEndpoint, WalletUnreachable, ProviderNotConfigured])
@virtually
@pytest.mark.short("WalletAuthRejected", "WalletUnreachable")
async def test_what_an_operator_must_cure_pauses_the_provider(kind: type[BridgeError]) -> None:
    """One probe every five minutes, reported once; other providers are not concerned; then the ramp."""
    broken = True

    async def behaviour(entry: Entry) -> None:
        if broken and entry.provider_id == ONE:
            raise kind
        await asyncio.sleep(0.5)

    scene = Scene(behaviour)
    async with scene.running():
        await scene.add(60, ONE)
        others = await scene.add(10, OTHER)
        await asyncio.sleep(HOUR_S / 2)
        probes = [at for at, entry in scene.sent if entry.provider_id == ONE]
        assert len(probes) == 6
        assert all(later - earlier >= PAUSE_S for earlier, later in itertools.pairwise(probes))
        assert {await scene.state(entry) for entry in others} == {State.SETTLED}
        assert [e.provider_id for e in scene.events if isinstance(e, SettlementPaused)] == [ONE]
        broken, scene.most_at_once = False, 0
        await asyncio.sleep(PAUSE_S + 30)
        ones = [at for at, entry in scene.sent[len(probes) + len(others) :] if entry.provider_id == ONE]
        assert scene.most_at_once == 10
        # Half a second each: 2, 4, 8 in the first three seconds after the first answer.
        first_end = ones[0] + 0.5
        in_second = [sum(first_end + n <= at < first_end + n + 1 for at in ones) for n in range(5)]
        assert in_second[0] <= 2
        assert in_second[1] <= 4 + 1
        assert in_second[2] <= 8 + 2
        assert in_second[4] <= 20 + 2


@virtually
async def test_an_outage_is_probed_and_not_stormed() -> None:
    """While a wallet times out, one request at a time asks it, less and less often."""
    scene = Scene(fails(WalletGatewayError))
    await scene.add(100)
    await run_for(HOUR_S, scene.settler())
    assert scene.most_at_once == 1
    # Delays of up to 1, 2, 4 to 300 s, on average half of that: some 40 in the hour.
    assert len(scene.sent) < 120


@virtually
async def test_the_wallets_wish_is_kept() -> None:
    """Retry-After of a 429 keeps the whole provider waiting, not one entry alone."""
    scene = Scene(fails(lambda: WalletThrottled(retry_after_s=45.0)))
    await scene.add(5)
    await run_for(600.0, scene.settler())
    assert len(scene.times) >= 3
    assert all(later - earlier >= 45.0 for earlier, later in itertools.pairwise(scene.times))


@virtually
async def test_many_settlers_share_a_store() -> None:
    """No entry is ever owned twice, none is sent after it was settled, and each provider's rest gets done."""
    scene = Scene(late(3.0))
    entries = await scene.add(60) + await scene.add(60, OTHER)
    await run_for(300.0, *(scene.settler() for _ in range(4)))
    assert {await scene.state(entry) for entry in entries} == {State.SETTLED}
    assert len(scene.sent) == len(entries)


@pytest.mark.parametrize("take_s", [0.0, LEASE_S - LEFT_MIN_S - 1, LEASE_S - LEFT_MIN_S + 1, LEASE_S - 1])
@virtually
async def test_an_attempt_begins_with_enough_of_the_lease_left(take_s: float) -> None:
    """A store that answers late costs lease: what is left is read then, and renewed where it is too little."""
    scene = Scene(late(9.9))
    scene.store.take_s = take_s
    await scene.add()
    await run_for(60.0, scene.settler())
    (sent,) = scene.sent
    assert sent[0] == pytest.approx(take_s, abs=0.01)
    assert (await scene.entry()).state is State.SETTLED
    assert sent[1].attempts == 1
    assert scene.store.renewals == (take_s > LEASE_S - LEFT_MIN_S)


@virtually
async def test_a_lease_that_was_lost_is_not_used() -> None:
    """Who comes back too late finds the fence raised, and sends nothing."""
    scene = Scene(confirms)
    scene.store.take_s = LEASE_S + 5
    (entry,) = await scene.add()
    async with scene.running():
        await asyncio.sleep(LEASE_S + 1)
        # Another bridge takes it meanwhile, and keeps it.
        (taken,) = await InlineStore.take(scene.store, 1, 1000.0, {OPERATION})
        assert taken.fence == 2
        await asyncio.sleep(200.0)
        assert scene.sent == []
        assert await scene.state(entry) is State.PENDING


@virtually
async def test_an_attempt_is_not_written_over_another_owners() -> None:
    """The result of an owner whose lease ended in between changes nothing, unless the wallet confirmed it."""
    scene = Scene(fails(WalletRejected))
    (entry,) = await scene.add()

    async def stolen(one: Entry) -> None:
        await asyncio.sleep(LEASE_S + 1)
        (taken,) = await InlineStore.take(scene.store, 1, 1000.0, {OPERATION})
        assert taken.fence == one.fence + 1
        raise WalletRejected

    scene.behaviour = stolen
    await run_for(100.0, scene.settler())
    assert await scene.state(entry) is State.PENDING
    assert not [e for e in scene.events if isinstance(e, SettlementChanged)]


@virtually
async def test_a_confirmation_is_kept_until_the_store_takes_it() -> None:
    """The store fails after the wallet has confirmed: the entry is settled when it is back, and not sent again."""
    scene = Scene(late(1.0))
    (entry,) = await scene.add()
    async with scene.running():
        await asyncio.sleep(0.5)
        scene.store.is_down = True
        await asyncio.sleep(120.0)
        assert await scene.state(entry) is State.PENDING
        scene.store.is_down = False
        await asyncio.sleep(60.0)
        assert await scene.state(entry) is State.SETTLED
        assert len(scene.sent) == 1
        assert scene.store_failures > 1


@virtually
async def test_a_callers_own_success_settles_an_entry() -> None:
    """What a caller was answered by the wallet need not be asked again."""
    scene = Scene(confirms)
    scene.store.is_down = True
    async with scene.running() as settler:
        scene.store.is_down = False
        (entry,) = await scene.add()
        settler.confirm(entry)
        await asyncio.sleep(1.0)
        assert (await scene.state(entry), scene.sent) == (State.SETTLED, [])


@virtually
async def test_one_place_is_guaranteed_under_load() -> None:
    """Callers hold every place and wait for more: settling goes on, one at a time, and counts for the bulkhead."""
    admission = Admission(4, 10)
    for _ in range(4):
        assert admission.enter(ONE)
    assert not admission.enter(ONE)
    waiting = asyncio.create_task(admission.wait(ONE, Deadline.after(3600.0)))
    counts: list[int] = []

    async def behaviour(_entry: Entry) -> None:
        counts.append(admission.count)
        await asyncio.sleep(0.1)

    scene = Scene(behaviour, admission)
    entries = await scene.add(6)
    await run_for(30.0, scene.settler())
    assert {await scene.state(entry) for entry in entries} == {State.SETTLED}
    assert scene.most_at_once == 1
    assert set(counts) == {5}
    assert admission.count == 4
    admission.leave(ONE)
    await waiting
    assert admission.count == 4


@virtually
async def test_a_providers_share_bounds_its_settling() -> None:
    """With the share of a provider taken by callers, only the guaranteed place is used for it, and others go on."""
    admission = Admission(100, 10, 3)
    for _ in range(3):
        assert admission.enter(ONE)
    at_once = {ONE: 0, OTHER: 0}
    most = dict(at_once)

    async def behaviour(entry: Entry) -> None:
        at_once[entry.provider_id] += 1
        most[entry.provider_id] = max(most[entry.provider_id], at_once[entry.provider_id])
        await asyncio.sleep(1.0)
        at_once[entry.provider_id] -= 1

    scene = Scene(behaviour, admission)
    entries = await scene.add(5, ONE) + await scene.add(50, OTHER)
    await run_for(200.0, scene.settler())
    assert {await scene.state(entry) for entry in entries} == {State.SETTLED}
    assert most == {ONE: 1, OTHER: 3}
    assert len(scene.sent) == len(entries)


@virtually
async def test_a_drain_begins_no_attempt_and_waits_for_those_under_way() -> None:
    """A lease goes back only when its POST has ended; nothing is sent after the first step."""
    scene = Scene(late(8.0))
    await scene.add(3, ONE)
    await scene.add(3, OTHER)
    settler = scene.settler()
    task = asyncio.create_task(settler.run())
    await asyncio.sleep(1.0)
    sent = len(scene.sent)
    settler.leave()
    task.cancel()
    await asyncio.sleep(5.0)
    assert [e.is_leased for e in (await scene.store.page(10)).entries].count(True) == sent
    await settler.finish()
    assert len(scene.sent) == sent
    states = [entry.state for entry in (await scene.store.page(10)).entries]
    assert states.count(State.SETTLED) == sent
    assert not any(entry.is_leased for entry in (await scene.store.page(10)).entries)


@virtually
async def test_a_drain_writes_each_end_when_it_is_known() -> None:
    """A bridge that is killed while it waits for its last attempt has written the ends of the others."""
    scene = Scene(lambda entry: asyncio.sleep(8.0 if entry.provider_id == OTHER else 1.0))
    (early,), (late_one,) = await scene.add(1, ONE), await scene.add(1, OTHER)
    settler = scene.settler()
    task = asyncio.create_task(settler.run())
    await asyncio.sleep(0.5)
    settler.leave()
    task.cancel()
    finish = asyncio.create_task(settler.finish())
    await asyncio.sleep(2.0)
    assert (await scene.state(early), await scene.state(late_one)) == (State.SETTLED, State.PENDING)
    await finish
    assert await scene.state(late_one) is State.SETTLED


@virtually
async def test_what_was_taken_and_not_begun_goes_back_at_once() -> None:
    """A drain while the store answers a take: the entry is free for others right after, and no attempt counts."""
    scene = Scene(confirms)
    scene.store.take_s = 5.0
    await scene.add()
    async with scene.running() as settler:
        await asyncio.sleep(1.0)
        settler.leave()
        await asyncio.sleep(6.0)
        entry = await scene.entry()
        assert (entry.is_leased, entry.attempts, scene.sent) == (False, 0, [])


@virtually
async def test_a_take_that_is_cut_off_leases_nothing() -> None:
    """A bridge that ends without a drain while the store answers a take gives the entry back, too."""
    scene = Scene(confirms)
    scene.store.take_s = 5.0
    await scene.add()
    async with scene.running():
        await asyncio.sleep(1.0)
    entry = await scene.entry()
    assert (entry.is_leased, entry.attempts, scene.sent) == (False, 0, [])
