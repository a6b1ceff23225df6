"""A loop in virtual time: when nothing is ready, its clock jumps to the next timer."""

import asyncio
import random
import selectors
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeVarTuple, Unpack

Args = TypeVarTuple("Args")

START_S = 1_000.0


class DeadlockError(AssertionError):
    """A task waits, and no timer is set that could ever end it."""


class _Selector(selectors.BaseSelector):
    """Knows no files: to wait for them is to let time pass."""

    def __init__(self) -> None:
        self._keys: dict[Any, selectors.SelectorKey] = {}
        self.passed: Callable[[float], None] = lambda _seconds: None

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        number = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        self._keys[fileobj] = selectors.SelectorKey(fileobj, number, events, data)
        return self._keys[fileobj]

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def close(self) -> None:
        self._keys.clear()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise DeadlockError("a call waits for something that will never happen")
        self.passed(max(timeout, 0.0))
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits. `timers_left` knows which timers have not been cancelled."""

    def __init__(self, start_s: float = START_S) -> None:
        selector = _Selector()
        self._now_s = start_s
        self._timers: list[tuple[asyncio.TimerHandle, str]] = []
        """Each timer that was set, with the module of its callback."""
        super().__init__(selector)
        selector.passed = self._pass
        self.unhandled: list[str] = []
        """What asyncio would have logged: exceptions of callbacks, unretrieved exceptions."""
        self.set_exception_handler(self._on_unhandled)

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._now_s

    def call_at(
        self, when: float, callback: Callable[[Unpack[Args]], object], *args: *Args, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Set a timer and remember it."""
        timer = super().call_at(when, callback, *args, context=context)
        self._timers.append((timer, _module_of(callback)))
        return timer

    def timers_left(self) -> list[str]:
        """Return the timers that are still to fire, each with the module of its callback first."""
        self._timers = [
            (timer, module) for timer, module in self._timers if not timer.cancelled() and timer.when() > self._now_s
        ]
        return [f"{module}: {timer!r}" for timer, module in self._timers]

    def stall(self, seconds: float) -> None:
        """Let time pass as if a callback had kept the loop from turning."""
        self._pass(seconds)

    def _pass(self, seconds: float) -> None:
        self._now_s += seconds

    def _on_unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.unhandled.append(f"{context.get('message')}: {context.get('exception')!r}")


def _module_of(callback: Any) -> str:
    owner = getattr(callback, "__self__", callback)
    return str(getattr(type(owner) if owner is not callback else owner, "__module__", ""))


@contextmanager
def virtual_time(loop: VirtualLoop, seed: int) -> Iterator[None]:
    """Give the whole process the loop's clock and the seed's chance, for as long as the context lasts."""
    monotonic, state = time.monotonic, random.getstate()
    time.monotonic = loop.time
    random.seed(seed)
    try:
        yield
    finally:
        time.monotonic = monotonic
        random.setstate(state)
