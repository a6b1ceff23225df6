"""An event loop in virtual time: where nothing is left to do, its clock jumps to the next timer."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Selector(selectors.DefaultSelector):
    """Waits for nothing: the time that it was to wait has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing will ever happen any more"
            self.now_s += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Starts at 0 s."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        """Return the virtual time, in seconds."""
        return self._virtual.now_s

    def stall(self, seconds: float) -> None:
        """Be busy for so long: the timers that are due meanwhile are late."""
        self._virtual.now_s += seconds


def run_virtually(work: Coroutine[Any, Any, _T]) -> _T:
    """Run this in virtual time; fail where it leaves a task behind."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        result = runner.run(work)
        assert not asyncio.all_tasks(runner.get_loop())
        return result


def virtually(work: Callable[_P, Coroutine[Any, Any, None]]) -> Callable[_P, None]:
    """Make a test of a coroutine function: it runs in virtual time."""

    @functools.wraps(work)
    def test(*arguments: _P.args, **named: _P.kwargs) -> None:
        run_virtually(work(*arguments, **named))

    return test
