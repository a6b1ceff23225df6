"""The end of a bridge with several workers: which signals reach it, and what becomes of calls in flight."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from bridge.process.signals import STOP_SIGNALS
from bridge.sandbox.behaviours import after, hang
from bridge.sandbox.server import FaultServer, bound_socket
from tests.support.processes import SERVE, SOURCES, program
from tests.support.supervised import NOWHERE, TWO, supervised
from tests.support.whole_path import environment


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
async def test_drain_under_load(number: signal.Signals) -> None:
    """On SIGTERM or SIGINT all workers finish what is in flight, then all processes end, with 0."""
    may_answer = asyncio.Event()
    async with FaultServer(after(may_answer)) as wallet, supervised(wallet) as bridge:
        calls = await bridge.hold_calls()
        bridge.command.process.send_signal(number)
        await bridge.until_all_drain()
        may_answer.set()
        assert {(await call).code for call in calls.values()} == {"OK"}
        assert await bridge.command.end() == 0
        assert '"stopped"' in bridge.command.output
        assert "worker ended" not in bridge.command.output


async def test_a_service_manager_signals_every_process() -> None:
    """SIGTERM to the workers and to their supervisor is one order to drain, not two: no call in flight fails."""
    may_answer = asyncio.Event()
    async with FaultServer(after(may_answer)) as wallet, supervised(wallet) as bridge:
        calls = await bridge.hold_calls()
        for pid in bridge.pids.values():
            os.kill(pid, signal.SIGTERM)
        await bridge.until_all_drain()
        bridge.command.process.terminate()
        may_answer.set()
        assert {(await call).code for call in calls.values()} == {"OK"}
        assert await bridge.command.end() == 0


async def test_a_second_signal_ends_at_once() -> None:
    """A second signal does not wait for calls in flight: all processes are gone, and the exit code says so."""
    async with FaultServer(hang) as wallet, supervised(wallet) as bridge:
        calls = await bridge.hold_calls()
        bridge.command.process.terminate()
        await bridge.until_all_drain()
        bridge.command.process.terminate()
        # The workers' log goes to the same pipe: it ends when the last of them has.
        assert await bridge.command.end() == 1
        assert {(await call).code for call in calls.values()} == {"UNAVAILABLE"}


async def test_workers_leave_without_their_supervisor() -> None:
    """When the supervisor is killed, its workers finish what is in flight and end; no one stays on the port."""
    may_answer = asyncio.Event()
    async with FaultServer(after(may_answer)) as wallet, supervised(wallet) as bridge:
        calls = await bridge.hold_calls()
        bridge.command.process.kill()
        await bridge.until_all_drain()
        may_answer.set()
        assert {(await call).code for call in calls.values()} == {"OK"}
        assert await bridge.command.end() == -signal.SIGKILL
        with bound_socket(int(bridge.address.rpartition(":")[2])) as free:
            free.listen()


HELD_WORKERS = """
import select, sys
if "--worker" in sys.orig_argv:
    select.select([int(sys.orig_argv[-1])], [], [])
"""
"""A module that Python imports at its start: there a worker waits for the first word of its supervisor."""


async def test_ctrl_c_during_the_start(tmp_path: Path) -> None:
    """Ctrl-C, which a terminal sends to all its processes, reaches no worker that cannot handle it yet."""
    (tmp_path / "sitecustomize.py").write_text(HELD_WORKERS)
    path = f"{tmp_path}{os.pathsep}{SOURCES}"
    env = os.environ | environment(NOWHERE, TWO) | {"PYTHONPATH": path}
    async with program(*SERVE, env=env, start_new_session=True) as command:
        await command.line(lambda line: '"worker started"' in line)
        os.killpg(command.process.pid, signal.SIGINT)
        assert await command.end() == 0
    assert "Traceback" not in command.output
    assert '"serving"' not in command.output
