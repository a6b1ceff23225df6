"""One seed with settlement: several bridges, one store, one wallet. First everything fails, then everything heals."""

import asyncio
import dataclasses
import random
from dataclasses import dataclass
from functools import partial

from bridge.events import CallEnded
from bridge.outcome import BridgeError, Outcome
from bridge.settlement.entry import CALLS_MAX, State
from bridge.settlement.running import Rules
from bridge.settlement.store import Problem
from tests.simulation.network import NetworkLoop
from tests.simulation.run import PROVIDER_ID, ROUTE, Run, fields_of
from tests.simulation.scenario import CROWD_LISTED, HONEST, Call, Scenario, Settled, is_crowded
from tests.simulation.settled_bridge import OWNER, Bridge, BridgesNetwork, Span
from tests.simulation.settled_store import SharedStore
from tests.support.inline_store import at_once
from wallet.v1.wallet_service_pb2 import TerminateRequest

HOURS_S = 2 * 3600.0
"""What every entry must have come to an end in, once nothing fails: pauses and the longest delays fit in it."""
IN_FLIGHT_MAX = 4
FAILS_AT_REFUSAL = 0.7
"""The share of bridges whose store fails just when another token's success is to be written."""
DOWN = (Problem.UNREACHABLE, Problem.TIMEOUT, Problem.BUSY, Problem.FAILED)
CUT_OFF = 0.5
"""The share of bridges that leave without waiting for their calls."""
STOPPED_S = (16.0, 70.0)


@dataclass(slots=True)
class SettledEnd:
    """What the caller of one call knows."""

    call: Call
    bridge: Bridge | None
    name: str = "CRASHED"
    """OK, CANCELLED, CRASHED, NOT TAKEN, or the failure's reason."""
    error: BridgeError | None = None
    ended_s: float = 0.0
    is_in_store: bool = True
    """Whether an entry of it was there when its caller was answered PENDING."""

    @property
    def is_pending(self) -> bool:
        """Whether its caller was informed that the bridge goes on."""
        return self.error is not None and self.error.is_pending

    @property
    def reported(self) -> str:
        """The outcome that its bridge has reported; "" where it has not."""
        ended = [] if self.bridge is None else [one for one in self.bridge.events if isinstance(one, CallEnded)]
        return next((one.outcome for one in ended if one.call_id == self.call.call_id), "")

    @property
    def is_certain(self) -> bool:
        """Whether its outcome was sent to its caller, or, after a cancel, reported by the bridge."""
        if self.name == "CANCELLED":
            return self.reported not in {"", Outcome.UNKNOWN.name}
        return self.name in {"OK", "NOT TAKEN"} or (
            self.error is not None and self.error.outcome is not Outcome.UNKNOWN
        )


class SettledRun(Run):
    """What there is while a seed runs, and what is left of it for the invariants of settlement."""

    def __init__(self, scenario: Scenario, settled: Settled, loop: NetworkLoop) -> None:
        super().__init__(scenario, loop)
        self.settled = settled
        self.is_crowded = is_crowded(scenario.seed, scenario.kind)
        self.network = loop.network = BridgesNetwork(loop, str(scenario.seed), self.wallet.accept)
        self.shared = SharedStore(loop, CROWD_LISTED if self.is_crowded else CALLS_MAX)
        self.bridges: list[Bridge] = []
        """All that there ever were."""
        self.ends_seen: dict[str, SettledEnd] = {}
        """By call id."""
        self._leaving: list[asyncio.Task[None]] = []
        self.chance = random.Random(f"{scenario.seed}/settled")
        self.rules = Rules(
            settles_failed=settled.settles_failed,
            writes_before=settled.is_before,
            give_up_after_s=self.chance.choice(settled.give_up_after_s),
            in_flight_max=IN_FLIGHT_MAX,
            providers=frozenset({PROVIDER_ID}),
        )

    @property
    def living(self) -> list[Bridge]:
        """The bridges that take calls."""
        return [one for one in self.bridges if one.settles.is_set() and not (one.is_dead or one.is_leaving)]

    @property
    def spans(self) -> list[Span]:
        """All attempts of settlers, in the order in which they began."""
        return sorted((span for one in self.bridges for span in one.spans), key=lambda span: span.began_s)

    async def main(self) -> None:
        """Carry out every call while things fail, then heal everything and wait until nothing is PENDING."""
        for _ in range(self.chance.choice(self.settled.bridges)):
            self._start()
        self._plan()
        healed = asyncio.create_task(self._heal())
        await asyncio.gather(*(self._call(call) for call in self.scenario.calls), healed)
        until_s = self.loop.time() + HOURS_S
        while self.loop.time() < until_s and self._is_pending():  # noqa: ASYNC110 - virtual time, nothing to wait for
            await asyncio.sleep(5.0)
        await asyncio.gather(*self._leaving)
        for bridge in self.living:
            await bridge.leave()

    def _is_pending(self) -> bool:
        is_unwritten = any(one.settlement.intake.writer.queued or one.handle.stopped_until for one in self.living)
        return is_unwritten or at_once(self.shared.counts()).by_state[State.PENDING] > 0

    # --- bridges --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        number = len(self.bridges) + 1
        chance = random.Random(f"{self.scenario.seed}/bridge/{number}")
        bridge = Bridge(f"bridge {number}", self.settled, self.rules, self.shared, chance)
        if self.settled.store_faults and chance.random() < FAILS_AT_REFUSAL:
            bridge.handle.at_refusal = partial(self._fails_for, Problem.UNREACHABLE)
        self.bridges.append(bridge)
        self.history.add("starts", bridge.name)
        bridge.start()

    def _plan(self) -> None:
        span_s = self.scenario.kind.span_s + 2.0
        for _ in range(self.chance.choice(self.settled.crashes)):
            self.loop.call_later(self.chance.uniform(0, span_s), self._crash, self.chance.uniform(0, 3))
        for at_s, what in self.scenario.faults():
            self.loop.call_later(at_s, self._happen, what)
        for what, share in self.settled.store_faults.items():
            if self.chance.random() < share:
                self.loop.call_later(self.chance.uniform(0, span_s), self._happen, what)

    def _crash(self, again_after_s: float) -> None:
        if self.living:
            bridge = self.chance.choice(self.living)
            self.history.add("is killed")
            self.history.add("is killed", bridge.name)
            bridge.kill()
            self.loop.call_later(again_after_s, self._start)

    async def _leave(self, bridge: Bridge) -> None:
        self.history.add("leaves", bridge.name)
        bridge.left_early = True
        leaving = asyncio.create_task(bridge.leave())
        if self.chance.random() < CUT_OFF:
            await asyncio.sleep(round(self.chance.uniform(0, 1), 3))
            self.history.add("cuts its calls off", bridge.name)
            await bridge.cut_calls_off()
        await leaving
        self._start()

    def _happen(self, what: str) -> None:
        self.history.add(what)
        match what:
            case "store down":
                self._fails_for(self.chance.choice(DOWN))
            case "store full":
                self._fails_for(Problem.FULL)
            case "store slow":
                self.shared.is_slow = True
                self._later(self.chance.uniform(0.5, 4), self.shared, is_slow=False)
            case "store refuses a call":
                self.shared.refuses_next = True
            case "store refuses an end":
                self.shared.refuses_next_end = True
            case "store loses a second":
                self.shared.lose(self.chance.uniform(0, 1))
            case "stall of one":
                self._stop(self.chance.choice(self.bridges), self.chance.uniform(*STOPPED_S))
            case "leave":
                if self.living:
                    self._leaving.append(asyncio.ensure_future(self._leave(self.chance.choice(self.living))))
            case _:
                super()._happen(what)

    def _fails_for(self, problem: Problem) -> None:
        self.shared.problem = problem
        self._later(self.chance.uniform(0.1, 4), self.shared, problem=None)

    def _stop(self, bridge: Bridge, seconds: float) -> None:
        if bridge.is_dead:
            return
        when = self.chance.choice(["now", "take", "change"])
        if when == "now":
            bridge.handle.stop_for(seconds)
        else:
            bridge.handle.stop_at = when, seconds

    async def _heal(self) -> None:
        # Long enough that entries are given up, where that is soon.
        is_soon = self.rules.give_up_after_s < HOURS_S
        await asyncio.sleep(3 * self.rules.give_up_after_s if is_soon else self.settled.healed_after_s)
        self.history.add("everything is healed")
        self.shared.refused.clear()
        self.shared.unending.clear()
        self.shared.refuses_next = self.shared.refuses_next_end = False
        self.wallet.scenario = dataclasses.replace(
            self.scenario, kind=dataclasses.replace(self.scenario.kind, answers=HONEST)
        )

    # --- callers --------------------------------------------------------------------------------------------------

    async def _call(self, call: Call) -> None:
        await asyncio.sleep(call.at_s)
        bridge = self.chance.choice(self.living) if self.living else None
        end = self.ends_seen[call.call_id] = SettledEnd(call, bridge)
        if bridge is None:
            end.name = "NOT TAKEN"
            return
        self.history.add(f"{call.call_id} begins at {bridge.name}, {call.deadline_s} s", call.token)
        task = asyncio.create_task(self._sent(bridge, call))
        bridge.callers.append(task)
        timer = None
        if call.cancel_after_s is not None:
            timer = self.loop.call_later(call.cancel_after_s, task.cancel)
        try:
            await task
            end.name = "OK"
        except BridgeError as error:
            end.name, end.error = error.reason, error
        except asyncio.CancelledError:
            end.name = "CANCELLED"
        if bridge.is_dead:
            end.name, end.error = "CRASHED", None
        if timer is not None:
            timer.cancel()
        end.ended_s = self.loop.time()
        if end.is_pending:
            end.is_in_store = bool(self.shared.entries_of(call.call_id))
        self.history.add(f"{call.call_id} ends: {end.name}{', PENDING' * end.is_pending}", call.token)

    async def _sent(self, bridge: Bridge, call: Call) -> None:
        OWNER.set(bridge)
        request = TerminateRequest(**fields_of(call)).SerializeToString()
        await bridge.service.handle(ROUTE, request, call.deadline_s, call_id=call.call_id)
