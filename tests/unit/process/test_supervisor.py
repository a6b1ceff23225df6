"""Workers without a bridge in them: when successors start, and what becomes of processes that do not do their part."""

import asyncio
import errno
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bridge.events import Event, WorkerEnded, WorkerStarted, ignore
from bridge.process.child import WorkerProcess
from bridge.process.supervisor import RESTART_FIRST_S, RESTART_MAX_S, SETTLED_S, RestartDelay, Workers, WorkersError
from tests.support.reported import Reported

SERVE = "import signal, socket, sys; line = socket.socket(fileno=int(sys.argv[1])); line.send(b'serving\\n'); "
OBEDIENT = SERVE + "line.recv(1)"
FAILING_AT_THE_END = SERVE + "line.recv(1); sys.exit(3)"
SIGNALLED = SERVE + "line.recv(1); signal.raise_signal(signal.SIGTERM)"
PATIENCE_S = 60.0
"""Time in which a worker that was asked to end does so, on a busy machine, too; no test waits for it to pass."""

DEAF = SERVE + "signal.pause()"
FAILING_AT_THE_START = "raise SystemExit(3)"


def test_a_first_end_has_no_delay() -> None:
    """Whatever ended a worker, and however young it was: its successor starts at once."""
    assert RestartDelay().next_s(lived_s=0) == 0


def test_delays_grow() -> None:
    """Each has twice the limit of the last one, up to the longest, and is at least half of its limit."""
    delay = RestartDelay()
    limits_s = [0.0, *(RESTART_FIRST_S * 2**number for number in range(6)), *[RESTART_MAX_S] * 2000]
    for limit_s in limits_s:
        assert limit_s / 2 <= delay.next_s(lived_s=1) <= limit_s


def test_delays_differ() -> None:
    """Workers that end together do not start together for ever."""
    delays = [RestartDelay() for _ in range(100)]
    assert len({delay.next_s(0) + delay.next_s(0) for delay in delays}) > 50


def test_a_settled_worker_starts_over() -> None:
    """After a worker that lived for a minute, delays begin at 0 again."""
    delay = RestartDelay()
    delays_s = [delay.next_s(lived_s) for lived_s in (0, 0, 0, SETTLED_S, 0)]
    assert [delay_s > 0 for delay_s in delays_s] == [False, True, True, False, True]
    assert delays_s[4] <= RESTART_FIRST_S


def starting(script: str) -> Callable[[int], Awaitable[WorkerProcess]]:
    """Return what starts a worker that runs this script."""
    return lambda _worker: WorkerProcess.start([sys.executable, "-S", "-c", script], os.environ)


@asynccontextmanager
async def kept(workers: Workers) -> AsyncIterator[None]:
    """Replace workers that end for as long as the context lasts; then end all."""
    keeping = asyncio.create_task(workers.keep())
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        assert await workers.drain(longest_s=PATIENCE_S)


@pytest.mark.parametrize(
    ("script", "all_well"),
    [(OBEDIENT, True), (SIGNALLED, True), (FAILING_AT_THE_END, False)],
    ids=["ends with 0", "ends by SIGTERM", "ends with 3"],
)
async def test_drain_says_how_workers_ended(script: str, *, all_well: bool) -> None:
    """An exit code shows a fault, but not the signal that a service manager sends to all processes."""
    workers = Workers(2, starting(script), ignore, lambda _pid: None)
    await workers.start()
    assert await workers.drain(longest_s=PATIENCE_S) is all_well


async def test_a_worker_that_does_not_leave_is_killed() -> None:
    """A drain has an end, also when a worker does not react, or is stuck."""
    events = Reported()
    workers = Workers(1, starting(DEAF), events, lambda _pid: None)
    await workers.start()
    started = await events.next(WorkerStarted)
    assert await workers.drain(longest_s=0.01) is False
    with pytest.raises(ProcessLookupError):
        os.kill(started.pid, 0)


async def test_a_first_start_that_fails() -> None:
    """The first worker starts alone: what is wrong with all of them is said by one."""
    events, gone = Reported(), list[int]()
    workers = Workers(3, starting(FAILING_AT_THE_START), events, gone.append)
    with pytest.raises(WorkersError, match=r"^worker 1 has ended with exit code 3 before it served$"):
        await workers.start()
    assert events.events == [WorkerStarted(worker=1, pid=gone[0])]
    assert await workers.drain(longest_s=PATIENCE_S) is True


async def test_a_successor_waits_for_its_time() -> None:
    """The second in a row is started when its delay is over, and no earlier."""
    scripts = iter([OBEDIENT, FAILING_AT_THE_START, OBEDIENT])
    times_s: list[float] = []
    events = Reported()

    def emit(event: Event) -> None:
        times_s.append(time.monotonic())
        events(event)

    async def start(worker: int) -> WorkerProcess:
        return await starting(next(scripts))(worker)

    workers = Workers(1, start, emit, lambda _pid: None)
    await workers.start()
    async with kept(workers):
        os.kill((await events.next(WorkerStarted)).pid, signal.SIGKILL)
        await events.next(WorkerEnded)
        ended = await events.next(WorkerEnded)
        await events.next(WorkerStarted)
    assert 0 < ended.restart_s <= times_s[-1] - times_s[-2]


async def test_a_start_that_the_system_refuses() -> None:
    """Without memory or process ids there is no successor now; it is tried again."""
    attempts = []

    async def start(worker: int) -> WorkerProcess:
        attempts.append("start")
        if len(attempts) == 2:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return await starting(OBEDIENT)(worker)

    events, gone = Reported(), list[int]()
    workers = Workers(1, start, events, gone.append)
    await workers.start()
    first = await events.next(WorkerStarted)
    async with kept(workers):
        os.kill(first.pid, signal.SIGKILL)
        assert await events.next(WorkerEnded) == WorkerEnded(1, first.pid, exit_code=-signal.SIGKILL, restart_s=0)
        assert gone == [first.pid]
        assert await events.next(WorkerStarted) != first
        assert len(attempts) == 3
