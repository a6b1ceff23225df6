"""The event loop that commands run in: uvloop, where there is one; and the end of a command by a signal."""

import asyncio
import signal
import threading
from collections.abc import Coroutine
from typing import Any


def run_to_end(main: Coroutine[Any, Any, None]) -> int:
    """Run this in a new event loop and return the exit code of a command that is done."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main)
    return 0


async def unless_interrupted(work: Coroutine[Any, Any, None], *signals: signal.Signals) -> bool:
    """Await it; return False when one of these signals has ended it.

    asyncio's own answer to Ctrl-C cancels between any two instructions, also in the middle of a callback of the loop,
    which then ends in a traceback. A handler of the loop waits for its turn.
    """
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    received: list[int] = []

    # Not the loop's own handlers: a signal in the moment in which the work is done would be lost with them.
    def interrupt(number: int, _frame: object) -> None:
        received.append(number)
        loop.call_soon_threadsafe(task.cancel)

    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, interrupt) for number in signals if is_main}
    try:
        await asyncio.wait((task,))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if not task.cancelled():
        task.result()
    return not received and not task.cancelled()


def _loop_factory() -> Any:
    try:
        import uvloop  # noqa: PLC0415 - it does not exist everywhere
    except ImportError:
        return None
    return uvloop.new_event_loop
