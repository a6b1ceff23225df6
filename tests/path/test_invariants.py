"""Any mix of faults, at random: what a caller is answered about the wallet is true, and everything comes to an end.

The call path as in production (service, client, attempts, transport), before a real server. Only gRPC is left out:
its client would end a call at the deadline itself, and so hide a bridge that is late.
"""

import asyncio
import itertools
import logging
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from h2.settings import SettingCodes
from hypothesis import HealthCheck, event, example, given, note, settings
from hypothesis import strategies as st

from bridge.http2.transport import CONNECTIONS_MAX, Http2Transport
from bridge.outcome import BridgeError, Outcome
from bridge.sandbox.server import FaultServer
from bridge.server.handlers import SERVICES, routes
from bridge.service import BridgeService
from bridge.settings.model import load
from bridge.transcoding.route import Route
from bridge.upstream.client import WalletClient
from bridge.upstream.from_settings import keyring_of
from tests.support.examples import examples
from tests.support.random_wallet import FAULTS, GOOD, RandomWallet
from tests.support.whole_path import PATIENCE_S, environment, terminate_request

LOGGER = logging.getLogger(__name__)

GRACE_S = 0.1
"""How much later than its deadline a call may end. Source: docs/design/faults.md, the fourth invariant."""
BEAT_S = 0.005
NEW_CONNECTIONS: dict[int, int] = {SettingCodes.MAX_CONCURRENT_STREAMS: 100, SettingCodes.INITIAL_WINDOW_SIZE: 65_535}


@dataclass(frozen=True)
class Call:
    """A caller comes."""

    faults: tuple[str, ...]
    """What the wallet does at each attempt; the last one stays."""
    timeout_s: float
    cancelled_after_s: float | None = None


@dataclass(frozen=True)
class Settings:
    """The wallet sends SETTINGS, on the connections that stand and on new ones."""

    values: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Restart:
    """The wallet drops all connections and refuses new ones for some turns of the loop."""

    turns: int


@dataclass(frozen=True)
class Pause:
    """Nothing new happens for some turns of the loop."""

    turns: int


@dataclass(frozen=True)
class Settle:
    """All calls so far come to their end."""


Step = Call | Settings | Restart | Pause | Settle

TURNS = st.integers(0, 30)
CALLS = st.builds(
    Call,
    faults=st.lists(st.sampled_from(FAULTS), min_size=1, max_size=3).map(tuple),
    timeout_s=st.sampled_from((0.08, 0.15, 0.3)),
    cancelled_after_s=st.none() | st.none() | st.floats(0, 0.1),
)
SETTINGS = st.builds(
    Settings,
    st.tuples(
        st.tuples(st.just(SettingCodes.MAX_CONCURRENT_STREAMS), st.sampled_from((0, 1, 2, 100))),
        st.tuples(st.just(SettingCodes.INITIAL_WINDOW_SIZE), st.sampled_from((0, 1, 100, 65_535, 2**31 - 1))),
    ),
)
OTHERS = st.one_of(SETTINGS, st.builds(Restart, TURNS), st.builds(Pause, TURNS), st.just(Settle()))
STEPS = st.lists(st.one_of(CALLS, CALLS, CALLS, OTHERS), min_size=6, max_size=20)


@dataclass(frozen=True)
class End:
    """How a call ended. `outcome` None: with OK, or, if cancelled, with nothing said."""

    token: str
    is_ok: bool = False
    outcome: Outcome | None = None

    def check(self, processed: Counter[str]) -> None:
        """Compare what the caller was answered with what the wallet did."""
        times = processed[self.token]
        # Stricter than the first invariant, which allows more for UNKNOWN: `retry_unknown` is off here.
        assert times <= 1, "the wallet processed a call twice"
        assert times == 1 or not self.is_ok, "OK, but the wallet did not process it"
        proves_nothing_happened = self.outcome in {Outcome.NOT_SENT, Outcome.NOT_PROCESSED}
        assert times == 0 or not proves_nothing_happened, f"{self.outcome!r}, but the wallet processed it"


class Starvation:
    """Measures for how many seconds in all the loop could not do what was due: a busy machine, not a late bridge."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sum_s = 0.0
        self._beat()

    @property
    def sum_s(self) -> float:
        """The sum up to this moment."""
        return self._sum_s + max(self._loop.time() - self._due, 0.0)

    def stop(self) -> None:
        """Measure no more."""
        self._timer.cancel()

    def _beat(self) -> None:
        self._due = self._loop.time() + BEAT_S
        self._timer = self._loop.call_at(self._due, self._beaten)

    def _beaten(self) -> None:
        self._sum_s = self.sum_s
        self._beat()


class World:
    """A bridge, its wallet and the callers so far."""

    def __init__(self, server: FaultServer, wallet: RandomWallet, service: BridgeService, route: Route) -> None:
        self.ends: list[End] = []
        self.latest_s = float("-inf")
        """The most by which a call ended after its deadline while the loop was free; negative: before it."""
        self._server = server
        self._wallet = wallet
        self._service = service
        self._route = route
        self._tasks: list[asyncio.Task[None]] = []
        self._tokens = (f"token-{number}" for number in itertools.count())
        self._starvation = Starvation()

    async def do(self, step: Step) -> None:
        """Let it happen."""
        match step:
            case Call():
                self._come(step)
            case Settings(values):
                self.set(dict(values))
            case Restart(turns):
                async with self._server.offline():
                    await _let_run(turns)
            case Pause(turns):
                await _let_run(turns)
            case Settle():
                await self.settle()

    def set(self, values: dict[int, int]) -> None:
        """Send SETTINGS."""
        self._server.settings = values
        for connection in self._server.open_connections:
            if not connection.closing:
                connection.send_settings(values)

    async def settle(self) -> None:
        """Wait until every call has ended."""
        await asyncio.gather(*self._tasks)

    async def recover(self) -> None:
        """See that calls succeed again once the faults have ended: at worst after one try per broken connection."""
        await self._wallet.idle()
        self.set(NEW_CONNECTIONS)
        for _ in range(CONNECTIONS_MAX + 1):
            self._come(Call((GOOD,), PATIENCE_S))
            await self.settle()
            if self.ends[-1].is_ok:
                return
        raise AssertionError("the faults have ended, but calls still fail")

    def stop(self) -> None:
        """Measure no more."""
        self._starvation.stop()

    def _come(self, call: Call) -> None:
        token = next(self._tokens)
        self._wallet.plans[token] = call.faults
        task = asyncio.create_task(self._carry_out(token, call.timeout_s))
        self._tasks.append(task)
        if call.cancelled_after_s is not None:
            asyncio.get_running_loop().call_later(call.cancelled_after_s, task.cancel)

    async def _carry_out(self, token: str, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        deadline_s, starved_s = loop.time() + timeout_s, self._starvation.sum_s
        try:
            await self._service.handle(self._route, terminate_request(token).SerializeToString(), timeout_s)
        except BridgeError as error:
            self._ended(End(token, outcome=error.outcome), error.reason)
        except asyncio.CancelledError:
            self._ended(End(token), "cancelled")
        else:
            self._ended(End(token, is_ok=True), "OK")
        self.latest_s = max(self.latest_s, loop.time() - deadline_s - (self._starvation.sum_s - starved_s))

    def _ended(self, end: End, how: str) -> None:
        self.ends.append(end)
        event(how)
        note(f"{end.token}: {how}")


async def _let_run(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Set up a wallet and a bridge, and see afterwards that nothing is left of them."""
    tasks_before = asyncio.all_tasks()
    wallet = RandomWallet()
    async with FaultServer(wallet, settings=NEW_CONNECTIONS) as server:
        configured = load(None, environment(server.url))
        route = routes(SERVICES[0], configured)[0]
        client = WalletClient(Http2Transport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)), server.url)
        service = BridgeService(keyring_of(configured.wallet), client, configured.wallet.deadlines)
        created = World(server, wallet, service, route)
        try:
            yield created
        finally:
            created.stop()
            await client.aclose()
        await server.until(lambda: not server.open_connections)
        processed = Counter(server.processed)
        for end in created.ends:
            end.check(processed)
        assert server.client_errors == []
        assert service.admission.count == 0
    assert asyncio.all_tasks() == tasks_before


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(steps=STEPS)
@example(steps=[Call((fault,), 0.15) for fault in FAULTS])
async def test_random_mix(steps: list[Step]) -> None:
    """No caller gets a false answer, every call ends in time, and afterwards calls succeed and nothing is left.

    In time is by the deadline + 100 ms. What the loop was starved meanwhile, by other processes or by the test's own
    work for its other calls, is measured by a timer beside the calls and does not count; so the bound is sharp on a
    quiet machine and says less on a busy one. `--log-cli-level=INFO` shows the worst.
    """
    # The limit only ends an example that hangs, so that Hypothesis can say which it is.
    async with asyncio.timeout(PATIENCE_S), world() as created:
        for step in steps:
            await created.do(step)
        await created.settle()
        await created.recover()
    LOGGER.info("the latest call ended %.1f ms after its deadline", created.latest_s * 1000)
    assert created.latest_s <= GRACE_S
