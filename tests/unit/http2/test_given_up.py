"""Calls that expire or are cancelled cost their neighbours nothing, also at a server that counts resets."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from bridge.http2.reset_budget import BURST, REFILL_PER_S, ResetBudget
from bridge.sandbox.behaviours import after, by_token, hang, in_turn, terminated
from bridge.sandbox.session import RESETS_WINDOW_S
from bridge.sandbox.stream import Behaviour
from tests.support.http2.calls import OK, TIMEOUT, Calls, cancelled, freeze_reset_budgets, streams_max, wallet

pytest_plugins = ["tests.support.two_loops"]

RESETS_MAX = BURST + round(RESETS_WINDOW_S * REFILL_PER_S)
"""What such a server bears here: what the budget allows, and not one more."""


@pytest.fixture
def without_refill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no time pass for budgets: how many resets there are does not depend on how fast the machine is."""
    freeze_reset_budgets(monkeypatch)


def of_both_loops(test: Callable[..., Any]) -> Callable[..., Any]:
    """Run a test with both loops and without a refill of budgets; it must leave nothing behind."""
    marks = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])
    marked: Callable[..., Any] = marks(pytest.mark.usefixtures("nothing_left", "without_refill")(test))
    return marked


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def spent(budget: ResetBudget) -> int:
    """Spend what there is; return how many resets it was."""
    return next(number for number in range(1000) if not budget.spend())


def test_budget_has_a_burst_and_two_a_second() -> None:
    """15 at once, then one each half second, and never more than 15 at once."""
    clock = Clock()
    budget = ResetBudget(clock)
    assert spent(budget) == 15
    for passed_s, resets in ((0.4, 0), (0.2, 1), (1.0, 2), (3600.0, 15)):
        clock.now_s += passed_s
        assert spent(budget) == resets


def test_forced_resets_are_paid_back() -> None:
    """A reset that must be sent is sent, and counts; of a flood of them no more than 15 are owed."""
    clock = Clock()
    budget = ResetBudget(clock)
    assert all(budget.spend(must=True) for _ in range(BURST + 3))
    clock.now_s += 1.5
    assert spent(budget) == 0
    clock.now_s += 0.5
    assert spent(budget) == 1
    for _ in range(1000):
        budget.spend(must=True)
    clock.now_s += BURST / REFILL_PER_S + 1
    assert spent(budget) == 2


async def expiring(calls: Calls, rate: int, seconds: float, timeout_s: float) -> Counter[str]:
    """Begin so many calls a second that expire; return how they ended."""
    loop = asyncio.get_running_loop()
    begun_s, tasks = loop.time(), []
    for number in range(round(rate * seconds)):
        await asyncio.sleep(max(begun_s + number / rate - loop.time(), 0))
        tasks.append(calls.start("slow", timeout_s=timeout_s))
    return Counter(await asyncio.gather(*tasks))


async def healthy(calls: Calls, until: asyncio.Event) -> Counter[str]:
    """Make calls one after another that have all the time they want; return how they ended."""
    ends: Counter[str] = Counter()
    while not until.is_set():
        ends[await calls.end("healthy")] += 1
    return ends


@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.usefixtures("nothing_left")
async def test_a_hundred_expiring_calls_a_second() -> None:
    """With a wallet that answers within 5 s no healthy call fails, for 8 s of 100 expiring calls a second.

    The server closes a connection at more resets than the budget allows, and it allows 100 streams on each. Healthy
    are fast calls and such as wait for the 5 s, too.
    """
    slow = in_turn(lambda _: asyncio.sleep(5.0), terminated)
    patient = in_turn(lambda _: asyncio.sleep(0.5), terminated)
    table: dict[str, Behaviour] = {"slow": slow, "waits": slow}
    async with wallet(by_token(table, patient), resets_max=RESETS_MAX) as (server, calls):
        is_over = asyncio.Event()
        healthy_calls = [asyncio.create_task(healthy(calls, is_over)) for _ in range(10)]
        waiting = [calls.start("waits") for _ in range(10)]
        ends = await expiring(calls, 100, 8.0, timeout_s=0.5)
        is_over.set()
        # Those that expire may do so before they are sent, where no one has a core for them: then they say that.
        assert ends[TIMEOUT] > 0
        assert set(ends) <= {TIMEOUT, "UnreachableError timeout"}
        assert set(sum(await asyncio.gather(*healthy_calls), Counter())) == {OK}
        assert await asyncio.gather(*waiting) == [OK] * 10
        assert (server.calmed, server.client_errors) == (0, [])
        assert server.connections <= 10 + 10  # the cap, and once more for those that were closed


@of_both_loops
async def test_a_burst_of_expiring_calls_beside_healthy_ones() -> None:
    """90 calls that expire in one moment: those that wait beside them on the connection are answered."""
    gate = asyncio.Event()
    table: dict[str, Behaviour] = {"slow": after(gate), "healthy": after(gate)}
    async with wallet(by_token(table), resets_max=RESETS_MAX) as (server, calls):
        neighbours = [calls.start("healthy") for _ in range(10)]
        await server.until(lambda: len(server.requests) == 10)
        slow = [calls.start("slow") for _ in range(90)]
        await server.until(lambda: len(server.requests) == 100)
        calls.expire("slow")
        assert await asyncio.gather(*slow) == [TIMEOUT] * 90
        gate.set()
        assert await asyncio.gather(*neighbours) == [OK] * 10
        assert (server.calmed, len(server.resets)) == (0, BURST)


@of_both_loops
async def test_half_of_the_slots_given_up() -> None:
    """A connection at whose streams half of the slots hang takes no new call until some have ended."""
    gate = asyncio.Event()
    table: dict[str, Behaviour] = {"slow": after(gate), "healthy": after(gate)}
    async with wallet(by_token(table), settings=streams_max(40)) as (server, calls):
        neighbour = calls.start("healthy")
        await server.until(lambda: len(server.requests) == 1)
        slow = [calls.start("slow") for _ in range(BURST + 20)]
        await server.until(lambda: len(server.requests) == 1 + BURST + 20)
        await cancelled(*slow)
        assert await calls.end("first") == OK
        assert server.requests[-1].connection == 2
        gate.set()  # those given up end by themselves
        assert await neighbour == OK
        assert await calls.end("second") == OK


@of_both_loops
async def test_slots_come_back_when_given_up_streams_end() -> None:
    """What holds a slot is the stream, not the call: when its answer has come and was dropped, the slot is free."""
    gate = asyncio.Event()
    answered = asyncio.Event()
    table: dict[str, Behaviour] = {"slow": after(answered), "healthy": after(gate)}
    async with wallet(by_token(table), settings=streams_max(40), connections_max=1) as (server, calls):
        neighbour = calls.start("healthy")
        slow = [calls.start("slow") for _ in range(BURST + 19)]
        await server.until(lambda: len(server.requests) == 1 + BURST + 19)
        await cancelled(*slow)
        answered.set()
        await server.until(lambda: server.open_streams == 1)
        await server.open_connections[0].ping()  # the client has read the answers, too
        assert await asyncio.gather(*(calls.end(str(number)) for number in range(39))) == [OK] * 39
        assert (server.connections, len(server.resets)) == (1, BURST)
        gate.set()
        assert await neighbour == OK


@of_both_loops
async def test_no_room_for_another_connection() -> None:
    """Where no connection has a slot and none may be made, the one with the fewest calls resets its streams."""
    gate = asyncio.Event()
    table: dict[str, Behaviour] = {"slow": hang, "healthy": after(gate)}
    async with wallet(by_token(table), settings=streams_max(40), connections_max=1) as (server, calls):
        neighbour = calls.start("healthy")
        slow = [calls.start("slow") for _ in range(BURST + 20)]
        await server.until(lambda: len(server.requests) == 1 + BURST + 20)
        await cancelled(*slow)
        assert len(server.resets) <= BURST
        assert await calls.end("next") == OK
        assert (server.connections, len(server.resets)) == (1, BURST + 20)
        gate.set()
        assert await neighbour == OK
