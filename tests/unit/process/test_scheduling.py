"""Setting the policy of a process's threads, each time in a process of its own, whose children would inherit it."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has SCHED_BATCH")

BEGIN = """
import os, threading, time
from bridge.process.scheduling import set_scheduling

def policies():
    found = []
    for thread in os.listdir("/proc/self/task"):
        try:
            found.append(os.sched_getscheduler(int(thread)))
        except ProcessLookupError:
            pass
    return found
end = threading.Event()
"""

THREADS_OF_BEFORE = """
threads = [threading.Thread(target=end.wait) for _ in range(5)]
for thread in threads: thread.start()
event = set_scheduling("batch")
later = threading.Thread(target=end.wait)
later.start()
print(event.threads, event.problem, policies() == 7 * [os.SCHED_BATCH])
end.set()
"""

WHILE_THREADS_START_OTHERS = """
from pathlib import Path
from bridge.process import scheduling

class Tasks:
    # While its first list is read, a thread of before starts another one.
    starts, has_started = threading.Event(), threading.Event()
    def exists(self):
        return True
    def iterdir(self):
        found = list(Path("/proc/self/task").iterdir())
        self.starts.set()
        self.has_started.wait()
        return found

def start_another():
    Tasks.starts.wait()
    threading.Thread(target=end.wait).start()
    Tasks.has_started.set()
    end.wait()
threading.Thread(target=start_another).start()
scheduling.TASKS = Tasks()
event = set_scheduling("batch")
print(event.threads, event.problem, policies() == 3 * [os.SCHED_BATCH])
end.set()
"""

BACK_AND_FORTH = """
changed = [set_scheduling(policy).threads for policy in ("other", "batch", "batch", "other", "other")]
print(changed, policies() == [os.SCHED_OTHER])
"""

ANOTHER_POLICY_IN_ONE_THREAD = """
thread = threading.Thread(target=end.wait, daemon=True)
thread.start()
os.sched_setscheduler(thread.native_id, os.SCHED_IDLE, os.sched_param(0))
event = set_scheduling("batch")
print(event.threads, event.problem, sorted(policies()) == sorted((os.SCHED_BATCH, os.SCHED_IDLE)))
"""

# Under SCHED_IDLE for a moment only: beside a busy process it would hardly run.
ANOTHER_POLICY = """
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
event, policy = set_scheduling("batch"), os.sched_getscheduler(0)
os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
print(event.threads, event.problem, policy == os.SCHED_IDLE)
"""

RESET_ON_FORK = """
os.sched_setscheduler(0, os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, os.sched_param(0))
event = set_scheduling("batch")
print(event.threads, event.problem, os.sched_getscheduler(0) == os.SCHED_BATCH | os.SCHED_RESET_ON_FORK)
"""

WITHOUT_LINUX = """
del os.sched_setscheduler
print([bool(set_scheduling(policy).problem) for policy in ("batch", "other")], policies() == [os.SCHED_OTHER])
"""


@pytest.mark.parametrize(
    ("script", "printed"),
    [
        (THREADS_OF_BEFORE, "6  True"),
        (WHILE_THREADS_START_OTHERS, "3  True"),
        (BACK_AND_FORTH, "[0, 1, 0, 1, 0] True"),
        (ANOTHER_POLICY_IN_ONE_THREAD, "1  True"),
        (ANOTHER_POLICY, "0 the process was started under another policy, which it keeps True"),
        (RESET_ON_FORK, "0  True"),
        (WITHOUT_LINUX, "[True, False] True"),
    ],
    ids=[
        "threads of before",
        "while threads start others",
        "back and forth",
        "idle thread",
        "idle",
        "reset on fork",
        "without Linux",
    ],
)
def test_policies(script: str, printed: str) -> None:
    """Every thread gets the policy, whenever it started; one that has a third policy keeps it."""
    command = ("chrt", "--other", "0", sys.executable, "-c", BEGIN + script)
    result = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own script
    assert result.stdout == f"{printed}\n"
