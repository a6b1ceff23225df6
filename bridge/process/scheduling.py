"""Scheduling policy of a process that serves, for each of its threads: SCHED_BATCH or SCHED_OTHER (sched(7)).

A thread under SCHED_BATCH that wakes does not preempt the thread that runs. grpcio, the log and the event loop hand
work to one another many times a call; without preemption each finishes its turn first, with warm caches. What that
gains: docs/performance.md.

A policy belongs to a thread, and a new thread or process inherits that of its parent. So this covers the threads that
have already been started, and through them all that follow.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from bridge.events import SchedulingSet

Policy = Literal["batch", "other"]

TASKS = Path("/proc/self/task")

NOT_LINUX = "only Linux has this policy; calls may cost more CPU"

PASSES_MAX = 10
"""A thread that starts another while threads are listed makes a second pass necessary; beyond this many, give up."""


def set_scheduling(policy: Policy) -> SchedulingSet:
    """Put every thread of this process under a policy; return what came of it. Never raises.

    Threads under another policy than these two (a real-time one, SCHED_IDLE) keep it: an operator chose it.
    """
    if not hasattr(os, "sched_setscheduler") or not TASKS.exists():
        return SchedulingSet(policy, problem=NOT_LINUX if policy == "batch" else "")
    wanted = os.SCHED_BATCH if policy == "batch" else os.SCHED_OTHER
    try:
        changed = sum(_pass_until_none_is_left(wanted))
    except OSError as error:
        problem = f"the system refuses it ({error.strerror}); threads keep their policy, and calls may cost more CPU"
        return SchedulingSet(policy, problem=problem)
    return SchedulingSet(policy, threads=changed, problem=_kept(wanted))


def _pass_until_none_is_left(wanted: int) -> Iterator[int]:
    """Yield how many threads each pass has changed, until one changes none."""
    for _ in range(PASSES_MAX):
        changed = sum(_set(thread, wanted) for thread in _threads())
        if not changed:
            return
        yield changed


def _threads() -> list[int]:
    return [int(each.name) for each in TASKS.iterdir()]


def _set(thread: int, wanted: int) -> bool:
    """Change a thread's policy; return False where there is nothing to change. Raise OSError where it is refused."""
    try:
        if _policy(thread) not in {os.SCHED_OTHER, os.SCHED_BATCH} - {wanted}:
            return False
        os.sched_setscheduler(thread, wanted, os.sched_param(0))
    except ProcessLookupError:  # it has just ended
        return False
    return True


def _policy(thread: int) -> int:
    return os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK


def _kept(wanted: int) -> str:
    """Return that another policy was found and left alone; "" where there is none."""
    return "" if _policy(0) == wanted else "the process was started under another policy, which it keeps"
