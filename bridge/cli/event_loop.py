"""The event loop that commands run in: uvloop, where there is one."""

import asyncio
from collections.abc import Coroutine
from typing import Any


def run_to_end(main: Coroutine[Any, Any, None]) -> int:
    """Run this in a new event loop and return the exit code of a command that is done."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main)
    return 0


def _loop_factory() -> Any:
    try:
        import uvloop  # noqa: PLC0415 - it does not exist everywhere
    except ImportError:
        return None
    return uvloop.new_event_loop
