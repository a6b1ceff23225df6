"""The pure parts of the benchmark: reading what h2load says, ratios, targets, schedules and tables."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import cells, figures, h2load, instrumented, procfs, targets
from benchmarks.contestants import BRIDGE, FLOOR, TEXTBOOK
from benchmarks.document import rendered
from benchmarks.figures import InFlightPoint, Results, Round, WorkersPoint
from benchmarks.instrumented import HOOKS, Hook, How, Timers
from bridge.server.handlers import SERVICES
from bridge.transcoding.operation import operations
from bridge.transcoding.route import Route

ROUTE = Route(operations(SERVICES[0])[0], {})
SUMMARY = """
finished in 579.63ms, 34504.65 req/s, 10.63MB/s
requests: 20 total, 20 started, 20 done, 20 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 20 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 6.16MB (6460196) total, 1.03MB (1080000) headers (space savings 49.06%), 1.9KB (1900) data
"""
LOG = "1700000000000000\t200\t1500\n1700000000000001\t-1\t99\n1700000000000002\t200\t500\n"
ROUND = Round(
    calls=100,
    ok=100,
    reached=100,
    wrong=0,
    cpu_us=500,
    system_us=100,
    calls_per_s=2000,
    p50_ms=1,
    p99_ms=2,
    memory_mb=70,
)
POINT = InFlightPoint(
    in_flight=16, wallet_ms=0, cpu_us=500, calls_per_s=2000, p99_ms=3, memory_mb=70, memory_before_mb=70, errors=0
)


def results(**rounds: list[Round]) -> Results:
    """Return results with these rounds alone."""
    return Results("2026-01-01", "a machine", 0.1, {"Python": "3.11"}, rounds, {}, {}, None, "batch", None)


def costing(*costs_us: float) -> list[Round]:
    """Return rounds with these costs of a call."""
    return [replace(ROUND, cpu_us=cost_us) for cost_us in costs_us]


def test_calls_that_ended_ok() -> None:
    """An HTTP 200 without the one right response is no OK: 1900 bytes are 19 responses of 100, of 20 calls."""
    sent = h2load.sent([SUMMARY], [LOG], response_bytes=100)
    assert (sent.calls, sent.ok) == (20, 19)


def test_several_processes() -> None:
    """What several h2load at once have done is added up; the slowest says how long it took."""
    sent = h2load.sent([SUMMARY, SUMMARY.replace("579.63ms", "1.50s")], [LOG, LOG], response_bytes=100)
    assert (sent.calls, sent.ok, sent.seconds, list(sent.latencies_ms)) == (40, 38, 1.5, [0.5, 0.5, 1.5, 1.5])


@pytest.mark.parametrize(
    ("printed", "seconds"), [("912us", 0.000912), ("579.63ms", 0.57963), ("2.08s", 2.08), ("1.50m", 90.0)]
)
def test_units_of_time(printed: str, seconds: float) -> None:
    """h2load prints a duration in the unit that suits it."""
    sent = h2load.sent([SUMMARY.replace("579.63ms", printed)], [LOG], response_bytes=100)
    assert sent.seconds == pytest.approx(seconds)


def test_not_from_h2load() -> None:
    """What h2load did not print is refused with its text."""
    with pytest.raises(ValueError, match="no such host"):
        h2load.sent(["no such host"], [], response_bytes=100)


def test_failed_streams_have_no_latency() -> None:
    """A stream that failed, status -1, took no time that counts."""
    assert h2load.logged_latencies_ms(LOG) == [1.5, 0.5]


@pytest.mark.parametrize(
    ("in_flight", "connections"), [(1, 1), (2, 2), (3, 3), (7, 1), (16, 4), (64, 4), (1000, 4)], ids=str
)
def test_connections(in_flight: int, connections: int) -> None:
    """Calls in flight are spread over as many connections as divide them, four at most."""
    assert h2load.connections_for(in_flight) == connections


def test_schedule() -> None:
    """Calls come at the rate on average, at times that grow, within the time."""
    times_ms = h2load.schedule_ms(1000, 10, seed=1)
    assert times_ms == sorted(times_ms)
    assert times_ms[-1] < 10_000
    assert len(times_ms) == pytest.approx(10_000, rel=0.05)


def test_schedule_is_never_empty() -> None:
    """At least one call is made, however low the rate: h2load requires one."""
    assert h2load.schedule_ms(0.000001, 1, seed=1) == [0.0]


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_percentile(values: list[float], share: float) -> None:
    """It is one of the values; at least this share is not above it, and fewer are below it."""
    ordered = sorted(values)
    found = figures.percentile(ordered, share)
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-6
    assert sum(value < found for value in ordered) < share * len(ordered) + 1e-6


def test_errors() -> None:
    """A call without the right response is an error, and so is one of the sample that ended otherwise."""
    assert replace(ROUND, ok=97, wrong=2).errors == 5


def test_ratio_is_of_the_same_round() -> None:
    """Costs are compared round by round: what slows a whole round down does not show."""
    assert str(figures.cost_ratio(costing(600, 1200, 900), costing(300, 600, 300))) == "2.00 (2.00-3.00)"


@pytest.mark.parametrize(
    ("bridge_us", "reached"),
    [(480, [True, True]), (481, [False, True]), (500, [False, True]), (501, [False, False])],
    ids=str,
)
def test_ratio_targets(bridge_us: float, reached: list[bool]) -> None:
    """The bridge may cost 1.6 floors, and a textbook must cost four and a half bridges."""
    measured = results(**{FLOOR: costing(300), TEXTBOOK: costing(2250), BRIDGE: costing(bridge_us)})
    assert [verdict.is_reached for verdict in targets.verdicts(measured)[:2]] == reached


@pytest.mark.parametrize(
    "flaw", [{"ok": 99}, {"wrong": 1}, {"reached": 101}, {"reached": 99}], ids=["lost", "wrong", "twice", "unseen"]
)
def test_a_single_failed_call_misses_the_target(flaw: dict[str, int]) -> None:
    """One call that failed, or that the wallet saw twice or never, is one too many."""
    assert targets.verdicts(results(**{BRIDGE: [ROUND]}))[-1].is_reached
    assert not targets.verdicts(results(**{BRIDGE: [ROUND, replace(ROUND, **flaw)]}))[-1].is_reached


def test_cost_growth() -> None:
    """It is between the cheapest and the dearest from 16 in flight on; one call alone may cost more."""
    points = [replace(POINT, in_flight=number, cpu_us=cost) for number, cost in ((1, 900), (16, 550), (1000, 500))]
    assert targets.cost_growth(points) == pytest.approx(0.1)


def test_cost_growth_is_of_one_round() -> None:
    """A round in which everything costs twice as much is no growth; the median of the rounds counts."""
    rounds_us = {16: (500.0, 1000.0, 510.0), 64: (600.0, 1200.0, 510.0), 1000: (550.0, 1100.0, 561.0)}
    points = [replace(POINT, in_flight=number, rounds_cpu_us=costs) for number, costs in rounds_us.items()]
    assert targets.cost_growth(points) == pytest.approx(0.2)


def test_workers_gain_is_of_one_round() -> None:
    """Throughputs are compared round by round, and the median counts; where there was one round, with that."""
    one = WorkersPoint(1, calls_per_s=900.0, cpu_us=0, memory_mb=0, errors=0, rounds_per_s=(1000.0, 500.0, 900.0))
    two = replace(one, workers=2, calls_per_s=1800.0, rounds_per_s=(1700.0, 800.0, 1800.0))
    assert targets.workers_gain(two, one) == pytest.approx(1.7)
    assert targets.workers_gain(replace(two, rounds_per_s=()), replace(one, rounds_per_s=())) == pytest.approx(2.0)


def test_markdown() -> None:
    """A table has its head, its rule, and the first column to the left."""
    assert cells.markdown([("row", "µs"), ("floor", "270")]) == "| row | µs |\n| --- | ---: |\n| floor | 270 |"


def test_render() -> None:
    """What stands between the markers is replaced, and nothing else."""
    text = "above\n<!-- a -->\nold\n<!-- end of a -->\nbelow"
    assert rendered(text, {"a": "new"}) == "above\n<!-- a -->\n\nnew\n\n<!-- end of a -->\nbelow"


@pytest.mark.parametrize("text", ["", "<!-- a --><!-- end of a -->" * 2], ids=["none", "two"])
def test_render_requires_one_place(text: str) -> None:
    """A part without its place, or with two, is an error and not a table that is lost."""
    with pytest.raises(ValueError, match="exactly one <!-- a -->"):
        rendered(text, {"a": "new"})


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook.attribute)
def test_profiled_functions_exist(hook: Hook) -> None:
    """Every function that `make profile` puts a timer around is there."""
    owner = ROUTE if hook.how is How.INSTANCE else hook.owner
    assert isinstance(ROUTE, hook.owner) == (hook.how is How.INSTANCE)
    assert callable(getattr(owner, hook.attribute))


async def test_timers_hold_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step's time is without the steps inside it, and a coroutine's is there although it waited."""
    timers, clock = Timers(), SimpleNamespace(now_ns=0)
    monkeypatch.setattr(instrumented, "time", SimpleNamespace(thread_time_ns=lambda: clock.now_ns))

    def works_for(took_ns: int) -> int:
        clock.now_ns += took_ns
        return took_ns

    inner = timers.timed("inner", works_for)

    async def outer() -> int:
        works_for(2)
        await asyncio.sleep(0)
        works_for(5)
        found: int = inner(100)
        return found

    assert await timers.timed_coroutine("outer", outer)() == 100
    found = timers.steps
    assert (found["inner"].times, found["outer"].times, found["outer"].inner_times) == (1, 2, 1)
    assert (found["inner"].own_ns, found["outer"].own_ns) == (100, 7)


async def test_timed_coroutine_is_cancelled_as_ever() -> None:
    """What is thrown into it arrives in it."""
    seen = []

    async def waits() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = asyncio.ensure_future(Timers().timed_coroutine("waits", waits)())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


@pytest.mark.skipif(not procfs.PROC.joinpath("self/stat").exists(), reason=procfs.MISSING)
def test_own_process() -> None:
    """This process has used CPU time, holds memory, and is the root of its own tree."""
    pid = int(procfs.PROC.joinpath("self").readlink().name)
    assert procfs.cpu_time(pid).total_s > 0
    assert procfs.memory_mb(pid) > 1
    assert procfs.process_tree(pid)[0] == pid
