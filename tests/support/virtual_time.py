"""Tests in virtual time, from 0 s on."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from tests.simulation.clock import VirtualLoop

_P = ParamSpec("_P")
_T = TypeVar("_T")


def run_virtually(work: Coroutine[Any, Any, _T]) -> _T:
    """Run this in virtual time; fail where it leaves a task behind."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(0.0)) as runner:
        result = runner.run(work)
        assert not asyncio.all_tasks(runner.get_loop())
        return result


def virtually(work: Callable[_P, Coroutine[Any, Any, None]]) -> Callable[_P, None]:
    """Make a test of a coroutine function: it runs in virtual time."""

    @functools.wraps(work)
    def test(*arguments: _P.args, **named: _P.kwargs) -> None:
        run_virtually(work(*arguments, **named))

    return test
