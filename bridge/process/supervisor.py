"""Supervisor of several worker processes on one port: starts, replaces and ends them, and takes no call itself.

    bridge serve                 the supervisor: holds the port (reserved_port.py), runs `supervise`
      bridge serve --worker 7    serves (worker.py); 7 is its end of the line to the supervisor
      bridge serve --worker 8

A worker reads its settings from the same file and environment, so no secret is in a process's arguments. Its log goes
to the supervisor's standard error.
"""

import asyncio
import logging
import random
import signal
from collections.abc import Awaitable, Callable, Sequence

from bridge.events import Emit, Serving, Stopped, WorkerEnded, WorkerStarted
from bridge.process.child import WorkerProcess
from bridge.process.signals import on_reload, on_stop
from bridge.start_error import StartError

LOGGER = logging.getLogger(__name__)

RESTART_FIRST_S = 0.5
RESTART_MAX_S = 30.0
SETTLED_S = 60.0
"""A worker that has lived for so long does not crash in a loop: its successor starts at once."""

ENDED_WELL = {0, -signal.SIGTERM}
"""Exit codes. SIGTERM ends only who cannot drain yet: a service manager signals all processes, also one that starts."""

Start = Callable[[int], Awaitable[WorkerProcess]]
"""Starts the worker of this number, from 1 on."""


class WorkersError(StartError):
    """The bridge cannot start: a worker ended before it served. Why, it has said on standard error itself."""


class RestartDelay:
    """When a successor starts: at once, then in 0.5, 1, 2 to 30 seconds; less up to a half, so that places differ."""

    def __init__(self) -> None:
        self._ends = 0

    def next_s(self, lived_s: float) -> float:
        """Return in how many seconds to replace a worker that lived for so many."""
        self._ends = 1 if lived_s >= SETTLED_S else self._ends + 1
        if self._ends == 1:
            return 0.0
        # The exponent is limited, too: a float is.
        longest_s: float = min(RESTART_FIRST_S * 2 ** min(self._ends - 2, 10), RESTART_MAX_S)
        return longest_s * random.uniform(0.5, 1)  # noqa: S311 - it spreads restarts and protects nothing


class Workers:
    """A number of places, each with a worker, or with a successor that is about to start."""

    def __init__(self, count: int, start: Start, emit: Emit, gone: Callable[[int], None]) -> None:
        """Start nothing yet. `gone` is called with the process id of each worker that has ended without an order."""
        self._places = range(1, count + 1)
        self._start_process = start
        self._emit = emit
        self._gone = gone
        self._workers: dict[int, WorkerProcess] = {}

    async def start(self) -> None:
        """Start every worker and return when all serve; raise WorkersError or OSError when one cannot.

        The first starts alone, so that what is wrong with all of them is said once.
        """
        await self._start(self._places[:1])
        await self._start(self._places[1:])

    async def keep(self) -> None:
        """Replace every worker that ends, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for place in self._places:
                group.create_task(self._keep(place))

    async def drain(self, longest_s: float) -> bool:
        """Let every worker drain and end, kill those that take longer; say whether all have ended well."""
        left = list(self._workers.values())
        for worker in left:
            worker.drain()
        try:
            async with asyncio.timeout(longest_s):
                await _ended(left)
        except TimeoutError:
            LOGGER.error("workers that have not ended within %s s are killed", longest_s)  # noqa: TRY400 - no fault
            self.kill()
        return ENDED_WELL.issuperset(await _ended(left))

    def reload(self) -> None:
        """Have every worker look at all files now."""
        for worker in self._workers.values():
            worker.reload()

    def kill(self) -> None:
        """End every worker at once."""
        for worker in self._workers.values():
            worker.kill()

    async def _start(self, places: Sequence[int]) -> None:
        for place in places:
            await self._fill(place)
        for place in places:
            if not await self._workers[place].serves():
                _, exit_code = await self._vacated(place)
                raise WorkersError(f"worker {place} has ended with exit code {exit_code} before it served")

    async def _fill(self, place: int) -> None:
        worker = await self._start_process(place)
        self._workers[place] = worker
        self._emit(WorkerStarted(worker=place, pid=worker.pid))

    async def _vacated(self, place: int) -> tuple[WorkerProcess, int]:
        """Wait until a place's worker has ended; return it and its exit code."""
        worker = self._workers[place]
        exit_code = await worker.end()
        del self._workers[place]
        self._gone(worker.pid)
        return worker, exit_code

    async def _keep(self, place: int) -> None:
        delay = RestartDelay()
        while True:
            worker, exit_code = await self._vacated(place)
            restart_s = delay.next_s(worker.lived_s)
            self._emit(WorkerEnded(worker=place, pid=worker.pid, exit_code=exit_code, restart_s=restart_s))
            await asyncio.sleep(restart_s)
            await self._refill(place, delay)

    async def _refill(self, place: int, delay: RestartDelay) -> None:
        while place not in self._workers:
            try:
                await self._fill(place)
            except OSError as error:
                # No memory, no process ids, a Python that is being replaced: none of them is for ever.
                LOGGER.error("worker %d cannot be started: %s", place, error.strerror)  # noqa: TRY400 - no fault of ours
                await asyncio.sleep(delay.next_s(0))


async def supervise(workers: Workers, serving: Serving, emit: Emit, longest_s: float) -> bool:
    """Run workers until a signal to stop, then let them drain; say whether all ended well. A second signal kills.

    `serving` is emitted when all workers serve; `longest_s` is how long a drain may take. Raise WorkersError or OSError
    where the first start fails.
    """
    work = asyncio.create_task(_work(workers, serving, emit))
    _on_signals(work.cancel, then=workers.kill)
    on_reload(workers.reload)
    await asyncio.wait([work])
    all_well = await workers.drain(longest_s)
    if not work.cancelled():
        work.result()
    emit(Stopped())
    return all_well


async def _work(workers: Workers, serving: Serving, emit: Emit) -> None:
    await workers.start()
    emit(serving)
    await workers.keep()


def _on_signals(first: Callable[[], object], then: Callable[[], object]) -> None:
    waiting = [first]

    def reported() -> None:
        (waiting.pop() if waiting else then)()

    on_stop(reported)


async def _ended(workers: Sequence[WorkerProcess]) -> list[int]:
    return [await worker.end() for worker in workers]
