"""One seed: a bridge, a wallet, callers and faults, from the first call to the last timer."""

import asyncio
import logging
import random
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from bridge.admission import Admission
from bridge.deadline import DeadlineLimits
from bridge.events import CallEnded, Event
from bridge.http2.transport import Http2Transport
from bridge.outcome import BridgeError, Outcome
from bridge.server.handlers import SERVICES
from bridge.service import BridgeService, Watchers
from bridge.transcoding.operation import operations
from bridge.transcoding.route import Route
from bridge.upstream.client import WalletClient
from bridge.upstream.retry import RetryPolicy
from bridge.upstream.signing import Credentials, Keyring
from tests.simulation.clock import DeadlockError, virtual_time
from tests.simulation.history import History
from tests.simulation.network import Address, Network, NetworkLoop
from tests.simulation.scenario import Call, Scenario
from tests.simulation.wallet import Wallet
from wallet.v1.wallet_service_pb2 import TerminateRequest

LOGGER = logging.getLogger("bridge")
PROVIDER_ID = 1
CONNECTIONS_MAX = 3
QUIET_S = 40.0
"""After the last call: longer than any answer may be late, and than a detached call may last."""

R = TypeVar("R", bound="Run")

TERMINATE = operations(SERVICES[0])[0]
ROUTE = Route(TERMINATE, {})


class Violation(NamedTuple):
    """What does not hold."""

    what: str
    token: str = ""
    """The call that it is about; "" for the run as a whole."""


@dataclass(slots=True)
class End:
    """How a call ended for its caller, and what the bridge reported of it."""

    call: Call
    began_s: float
    ended_s: float = 0.0
    is_ok: bool = False
    error: BridgeError | None = None
    """None for OK and for a call that its client cancelled."""
    response: Any = None
    reports: list[CallEnded] = field(default_factory=list)

    @property
    def name(self) -> str:
        """OK, CANCELLED, or the failure's reason."""
        return "OK" if self.is_ok else "CANCELLED" if self.error is None else self.error.reason

    @property
    def outcome(self) -> Outcome | None:
        """What the bridge claims about the wallet; None: that it has terminated the token."""
        if self.error is not None:
            return self.error.outcome
        named = [report.outcome for report in self.reports]
        return Outcome[named[0]] if named and named[0] else None


class Run(logging.Handler):
    """What there is while a seed runs, and what is left of it for the invariants."""

    def __init__(self, scenario: Scenario, loop: NetworkLoop) -> None:
        super().__init__(logging.ERROR)
        self.scenario = scenario
        self.loop = loop
        self.history = History(loop.time)
        self.wallet = Wallet(loop, scenario, self.history, {call.token: fields_of(call) for call in scenario.calls})
        self.network = loop.network = Network(loop, str(scenario.seed), self.wallet.accept)
        self.ends: dict[str, End] = {}
        self.reported = 0
        """How many ends of calls the bridge has reported."""
        self.left: list[str] = []
        """What is still there after the end: tasks, streams, links, timers, exceptions."""
        self.timers_after_calls: list[str] = []
        self.silent_from_s: float | None = None
        self.drained_from_s: float | None = None
        """When new calls were refused."""

    async def main(self) -> None:
        """Carry out every call, let the faults happen, then close and look at what is left."""
        self._prepare_addresses()
        self.transport = Http2Transport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), connections_max=CONNECTIONS_MAX)
        self.keyring = Keyring([Credentials(PROVIDER_ID, *self.scenario.keys[0])])
        client = WalletClient(
            self.transport, "http://wallet.test", retries=RetryPolicy(retry_unknown=self.scenario.kind.retry_unknown)
        )
        self.service = BridgeService(
            self.keyring,
            client,
            DeadlineLimits(),
            Watchers(emit=self._emit, fingerprint=lambda token: token),
            admission=Admission(*self.scenario.kind.admitted),
        )
        timers = [self.loop.call_later(at_s, self._happen, what) for at_s, what in self.scenario.faults()]
        await asyncio.gather(*(self._carry_out(call) for call in self.scenario.calls))
        self.timers_after_calls = self._bridge_timers()
        await asyncio.sleep(QUIET_S)
        for timer in timers:
            timer.cancel()
        await self._close(client)

    async def _close(self, client: WalletClient) -> None:
        if self.transport.streams or self.service.detached or self.service.admission.count:
            self.left.append(
                f"{self.transport.streams} streams, {self.service.detached} detached calls, "
                f"{self.service.admission.count} admitted"
            )
        await client.aclose()
        await asyncio.sleep(1)
        own = asyncio.current_task()
        self.left += [
            f"task {task.get_coro()!r}" for task in asyncio.all_tasks() if task is not own and not task.done()
        ]
        self.left += [f"a link to {link.server}" for link in self.network.open_links]
        self.left += [f"timer {timer}" for timer in self._bridge_timers()]
        self.left += self.loop.unhandled

    def _bridge_timers(self) -> list[str]:
        return [timer for timer in self.loop.timers_left() if timer.startswith("bridge.")]

    # --- callers --------------------------------------------------------------------------------------------------

    async def _carry_out(self, call: Call) -> None:
        await asyncio.sleep(call.at_s)
        end = self.ends[call.token] = End(call, self.loop.time())
        self.history.add(f"begins, {call.deadline_s} s", call.token)
        request = TerminateRequest(**fields_of(call)).SerializeToString()
        task = asyncio.ensure_future(self.service.handle(ROUTE, request, call.deadline_s))
        timer = None
        if call.cancel_after_s is not None:
            timer = self.loop.call_later(call.cancel_after_s, task.cancel)
        try:
            end.response = await task
            end.is_ok = True
        except BridgeError as error:
            end.error = error
        except asyncio.CancelledError:
            pass
        if timer is not None:
            timer.cancel()
        end.ended_s = self.loop.time()
        self.history.add(f"ends: {end.name} {end.outcome.name if end.outcome else ''}", call.token)

    def _emit(self, event: Event) -> None:
        if isinstance(event, CallEnded):
            self.reported += 1
            if event.token_fingerprint:  # not where the call was refused before its request was read
                self.ends[event.token_fingerprint].reports.append(event)

    def emit(self, record: logging.LogRecord) -> None:
        """Take what the bridge logs as an error for a violation: nothing here is one."""
        self.left.append(f"logged: {record.getMessage()[:300]}")

    # --- faults ---------------------------------------------------------------------------------------------------

    def _prepare_addresses(self) -> None:
        chance = random.Random(f"{self.scenario.seed}/addresses")
        if any(what == "dead addresses" for _, what in self.scenario.faults()):
            dead = [
                Address("2001:db8::1", connect_s=None),
                Address("10.0.0.2", connect_s=None),
                Address("2001:db8::2", refuses=True),
                Address("10.0.0.3", is_mute=True),
            ]
            self.network.addresses = [*chance.sample(dead, chance.randint(1, 2)), Address("10.0.0.1")]
            chance.shuffle(self.network.addresses)
            if chance.random() < 0.3:
                # A name server that does not answer for IPv6.
                self.network.dns_s[socket.AF_INET6] = 10.0

    def _happen(self, what: str) -> None:
        chance = random.Random(f"{self.scenario.seed}/{what}")
        self.history.add(what)
        match what:
            case "dns fails":
                self.network.dns_fails = True
                self._later(chance.uniform(0.1, 2), self.network, dns_fails=False)
            case "refused" | "dead address":
                address = self.network.addresses[-1]
                name, value = ("refuses", True) if what == "refused" else ("connect_s", None)
                before = getattr(address, name)
                setattr(address, name, value)
                self._later(chance.uniform(0.1, 2), address, **{name: before})
            case "restart":
                self.wallet.restart(with_reset=chance.random() < 0.5)
            case "recycle":
                self.wallet.recycle()
            case "new keys":
                # As docs/operations.md says: first the bridge's files, then the wallet.
                self.keyring.replace(Credentials(PROVIDER_ID, *self.scenario.keys[1]))
                both_from_s, old_until_s = sorted((chance.uniform(0, 1), chance.uniform(0, 1)))
                self.loop.call_later(both_from_s, self.wallet.keys.append, self.scenario.keys[1])
                self.loop.call_later(old_until_s, self.wallet.keys.pop, 0)
            case "stall":
                self.loop.stall(chance.uniform(0.1, 3))
            case "silence":
                self.silent_from_s = self.loop.time()
                for link in self.network.open_links:
                    link.is_silent = True
            case "drain":
                self.drained_from_s = self.loop.time()
                self.service.admission.refuse()

    def _later(self, seconds: float, of: object, **values: object) -> None:
        for name, value in values.items():
            self.loop.call_later(seconds, setattr, of, name, value)


def fields_of(call: Call) -> dict[str, Any]:
    """Return what a call asks for."""
    number = int("".join(filter(str.isdigit, call.token)))
    return {
        "token": call.token,
        "player_id": 2**63 + number,
        "site_id": 1 + number % 3,
        "provider_id": PROVIDER_ID,
        "game_id": f"game {number} \u00fc\u65e5",
        "currency": "EUR",
    }


def run(scenario: Scenario, make: Callable[[Scenario, NetworkLoop], R]) -> R:
    """Run a scenario from beginning to end."""
    loop = NetworkLoop()
    asyncio.set_event_loop(loop)
    created = make(scenario, loop)
    LOGGER.addHandler(created)
    try:
        with virtual_time(loop, scenario.seed):
            loop.run_until_complete(created.main())
    except DeadlockError as error:
        created.left.append(str(error))
    finally:
        LOGGER.removeHandler(created)
        asyncio.set_event_loop(None)
        loop.close()
    return created
