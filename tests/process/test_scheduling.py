"""The scheduling policy of `bridge serve`, as the kernel knows it of each thread of real processes."""

import json
import os
import platform
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from tests.support.refused_syscall import NUMBERS
from tests.support.serving import serving, supervised
from tests.support.whole_path import call_over

pytestmark = pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="only Linux has SCHED_BATCH")

BATCH, OTHER = getattr(os, "SCHED_BATCH", 3), getattr(os, "SCHED_OTHER", 0)
NATIVE = {"SERVER__ENGINE": "native", "SERVER__NATIVE_TRUSTS_CALLERS": "true"}
REFUSED = (sys.executable, "-m", "tests.support.refused_syscall", "sched_setscheduler")


def policies(pid: int) -> set[int]:
    """Return the policies of all threads of a process that live now."""
    found = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        # stat's fields: proc(5). A thread may end while they are listed.
        try:
            fields = (task / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found.add(int(fields[38]))
    return found


@asynccontextmanager
async def after_a_call(
    settings: Mapping[str, str], within: Sequence[str] = ()
) -> AsyncIterator[tuple[int, dict[str, Any]]]:
    """Run a bridge that has carried out a call; yield its process and its log line about scheduling."""
    async with FaultServer(terminated) as wallet, serving(wallet.url, settings, within) as (command, channel):
        assert (await call_over(channel)).code == "OK"
        lines = [json.loads(line) for line in command.lines if '"scheduling"' in line]
        assert len(lines) == 1
        yield command.process.pid, lines[0]


@pytest.mark.parametrize(
    ("settings", "within", "policy", "changes"),
    [
        ({}, (), BATCH, True),
        (NATIVE, (), BATCH, True),
        ({"SERVER__SCHEDULING": "other"}, (), OTHER, False),
        ({"SERVER__SCHEDULING": "other"}, ("chrt", "--batch", "0"), OTHER, True),
        ({}, ("chrt", "--batch", "0"), BATCH, False),
    ],
    ids=["default", "native", "other", "other, started under batch", "batch, started under batch"],
)
@pytest.mark.short("default")
async def test_every_thread_has_the_policy(
    settings: Mapping[str, str], within: Sequence[str], policy: int, *, changes: bool
) -> None:
    """After a call all threads of the process, those of the log, gRPC and the engine too, are under the setting's.

    The line in the log says how many were not before: those of Python and of the log.
    """
    async with after_a_call(settings, within) as (pid, line):
        assert policies(pid) == {policy}
        assert (line["level"], "problem" in line) == ("info", False)
        assert line["policy"] == {BATCH: "batch", OTHER: "other"}[policy]
        assert (line.get("threads", 0) >= 2) == changes


@pytest.mark.long
async def test_workers_have_the_policy() -> None:
    """Supervisor and workers are under it, a successor too; one line says so for all of them."""
    async with FaultServer(terminated) as wallet, supervised(wallet) as bridge:
        await bridge.meet_all()
        assert [policies(pid) for pid in (bridge.command.process.pid, *bridge.pids.values())] == [{BATCH}] * 3
        assert bridge.command.output.count('"scheduling"') == 1


@pytest.mark.skipif(platform.machine() not in NUMBERS, reason="no number of the system call for this machine")
async def test_a_refusal_is_no_obstacle() -> None:
    """Where the kernel refuses the policy, the bridge serves under the old one, and says so."""
    async with after_a_call({}, REFUSED) as (pid, line):
        assert policies(pid) == {OTHER}
        assert line["level"] == "warning"
        assert line["problem"].startswith("the system refuses it (Operation not permitted)")


@pytest.mark.skipif(platform.machine() not in NUMBERS, reason="no number of the system call for this machine")
@pytest.mark.long
async def test_other_asks_for_nothing() -> None:
    """With "other" nothing is asked of a system that would refuse it, so nothing is refused."""
    async with after_a_call({"SERVER__SCHEDULING": "other"}, REFUSED) as (pid, line):
        assert policies(pid) == {OTHER}
        assert (line["level"], "problem" in line) == ("info", False)
