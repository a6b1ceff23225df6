"""`bridge serve` with a timer around each step of a call: `python -m benchmarks.instrumented FILE`.

At its end it writes what each step has cost by itself, without the steps inside it and without the timers, which are
measured first. Time is the CPU time of the thread with the loop: nothing else runs in a step, but on a busy core it may
be put off.
"""

import contextlib
import functools
import json
import sys
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from bridge.cli.main import main
from bridge.http2.connection import Connection
from bridge.http2.pool import Pool
from bridge.http2.writer import Writer
from bridge.service import BridgeService
from bridge.telemetry.logs import LogEvents
from bridge.transcoding.route import Route
from bridge.upstream.signing import Credentials

CALIBRATION_RUNS = 100_000


@dataclass(eq=False)
class Step:
    """What was spent in a step so far."""

    name: str
    own_ns: int = 0
    times: int = 0
    inner_times: int = 0
    """How often another step ran inside it."""


class How(Enum):
    """Where a function is found."""

    METHOD = "in the class"
    COROUTINE = "in the class, asynchronous: each stretch between two waits is timed"
    INSTANCE = "in each instance, which its constructor gives it"


@dataclass(frozen=True)
class Hook:
    """A function that belongs to a step."""

    step: str
    owner: type
    attribute: str
    how: How = How.METHOD


WHOLE = "admit, time, report: all that is left of `handle`"
HOOKS: Sequence[Hook] = (
    Hook("decode the request", Route, "parse", How.INSTANCE),
    Hook("validate", Route, "validate", How.INSTANCE),
    Hook("build JSON", Route, "encode", How.INSTANCE),
    Hook("sign", Credentials, "headers"),
    Hook("send: choose a connection", Pool, "submit"),
    Hook("send: HTTP/2 frames and HPACK", Writer, "flush"),
    Hook("send: write", Writer, "_write"),
    Hook("read the answer's frames", Connection, "data_received"),
    Hook("classify", Route, "classify", How.INSTANCE),
    Hook("log", LogEvents, "__call__"),
    Hook(WHOLE, BridgeService, "handle", How.COROUTINE),
)
"""In the order of a call. The rest of its cost is gRPC's, the event loop's and the kernel's."""


class Timers:
    """The steps, and which of them runs."""

    def __init__(self) -> None:
        self.steps: dict[str, Step] = {}
        self._running = Step("nothing")
        self._inner_ns = 0

    def run(self, step: Step, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Run a function as a part of a step."""
        outer, outer_inner_ns = self._running, self._inner_ns
        self._running, self._inner_ns = step, 0
        begun_ns = time.thread_time_ns()
        try:
            return function(*arguments, **options)
        finally:
            took_ns = time.thread_time_ns() - begun_ns
            step.own_ns += took_ns - self._inner_ns
            step.times += 1
            outer.inner_times += 1
            self._running, self._inner_ns = outer, outer_inner_ns + took_ns

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is timed as a part of this step."""
        step = self.steps.setdefault(name, Step(name))

        @functools.wraps(function)
        def in_step(*arguments: Any, **options: Any) -> Any:
            return self.run(step, function, *arguments, **options)

        return in_step

    def timed_coroutine(self, name: str, function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Return an asynchronous function each stretch of which is timed as a part of this step."""
        step = self.steps.setdefault(name, Step(name))

        @functools.wraps(function)
        async def in_step(*arguments: Any, **options: Any) -> Any:
            return await Stretches(self, step, function(*arguments, **options))

        return in_step


@dataclass(frozen=True)
class Stretches:
    """An awaitable whose stretches of running are timed."""

    timers: Timers
    step: Step
    awaitable: Awaitable[Any]

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self.awaitable.__await__()
        resume = functools.partial(inner.send, None)
        while True:
            try:
                waits_for = self.timers.run(self.step, resume)
            except StopIteration as end:
                return end.value
            try:
                resume = functools.partial(inner.send, (yield waits_for))
            except BaseException as error:  # noqa: BLE001 - whatever is thrown in belongs to what waits
                resume = functools.partial(inner.throw, error)


def install(timers: Timers, hook: Hook) -> None:
    """Put a timer around a function. Raise AttributeError where it is no longer there."""
    owner: Any = hook.owner
    if hook.how is How.INSTANCE:
        construct = owner.__init__

        @functools.wraps(construct)
        def constructed(self: Any, *arguments: Any, **options: Any) -> None:
            construct(self, *arguments, **options)
            setattr(self, hook.attribute, timers.timed(hook.step, getattr(self, hook.attribute)))

        owner.__init__ = constructed
        return
    wrap = timers.timed_coroutine if hook.how is How.COROUTINE else timers.timed
    setattr(owner, hook.attribute, wrap(hook.step, getattr(owner, hook.attribute)))


def costs_of_timer() -> tuple[float, float]:
    """Return what a timer costs in nanoseconds: inside of what it measures, and outside of it."""
    timers = Timers()
    timed, plain = timers.timed("nothing", int), int
    spent = []
    for function in (timed, plain):
        begun_ns = time.thread_time_ns()
        for _ in range(CALIBRATION_RUNS):
            function()
        spent.append((time.thread_time_ns() - begun_ns) / CALIBRATION_RUNS)
    inside = timers.steps["nothing"].own_ns / CALIBRATION_RUNS - spent[1]
    return inside, spent[0] - spent[1] - inside


def figures(timers: Timers) -> dict[str, Any]:
    """Return what a call has cost in each step, in microseconds, without the timers."""
    inside_ns, outside_ns = costs_of_timer()
    # `handle` runs at least once for a call; every call is decoded once.
    calls = max(timers.steps[HOOKS[0].step].times, 1)
    own_ns = {
        step.name: step.own_ns - step.times * inside_ns - step.inner_times * outside_ns
        for step in timers.steps.values()
    }
    return {"calls": calls, "steps": {hook.step: own_ns.get(hook.step, 0) / calls / 1000 for hook in HOOKS}}


def serve(file: Path) -> int:
    """Serve with timers, and write the figures at the end."""
    timers = Timers()
    for hook in HOOKS:
        install(timers, hook)
    code = main(["serve"])
    with contextlib.suppress(KeyError):  # it ended before it served
        file.write_text(json.dumps(figures(timers)), encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1])))
