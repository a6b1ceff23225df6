"""What keeps a bridge with several workers from starting, and what does not.

The end of a bridge with several workers: which signals reach it, and what becomes of calls in flight.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

import bridge
from bridge.process.signals import STOP_SIGNALS
from bridge.sandbox.behaviours import after, hang, terminated
from bridge.sandbox.server import FaultServer, bound_socket
from tests.support.processes import SERVE, SOURCES, bridge_command, program
from tests.support.serving import NOWHERE, TWO, key_in, supervised
from tests.support.settings_files import PRIVATE_KEY
from tests.support.whole_path import environment

ROOT = str(Path(bridge.__file__).parents[1])


async def test_a_worker_that_cannot_start() -> None:
    """A secret that can be read only once: the first worker says what it lacks, once, and the exit code is 2."""
    environ = environment(NOWHERE, {**TWO, **key_in(Path("/dev/stdin"))})
    async with program(*SERVE, env=os.environ | environ, stdin=asyncio.subprocess.PIPE) as command:
        stdin = command.process.stdin
        assert stdin is not None
        stdin.write(PRIVATE_KEY.encode())
        stdin.close()
        assert await command.end() == 2
    assert command.problems[0].startswith("wallet.providers.777.private_key: must be ")
    assert command.problems[1:] == ["worker 1 has ended with exit code 2 before it served"]


@pytest.mark.parametrize("setting", ["listen", "health_listen"])
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.short("1-listen")
async def test_a_port_in_use(setting: str, workers: str) -> None:
    """A port that is taken is one problem that names the setting, and exit code 2; no worker is started."""
    with bound_socket() as taken:
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environ = environment(NOWHERE, {"SERVER__WORKERS": workers, f"SERVER__{setting.upper()}": address})
        async with bridge_command("serve", environ=environ) as command:
            assert await command.end() == 2
    assert len(command.problems) == 1
    assert "worker started" not in command.output
    assert command.problems[0].startswith(f"server.{setting}: cannot listen on {address}")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.long
async def test_a_port_of_other_workers(workers: str) -> None:
    """The port of a bridge with workers is taken for any other bridge, with workers or without."""
    async with FaultServer(terminated) as wallet, supervised(wallet) as bridge:
        settings = {"SERVER__WORKERS": workers, "SERVER__LISTEN": bridge.address}
        async with bridge_command("serve", environ=environment(NOWHERE, settings)) as command:
            assert await command.end() == 2
        assert command.problems[0].startswith(f"server.listen: cannot listen on {bridge.address}")


@pytest.mark.long
async def test_modules_of_the_working_directory(tmp_path: Path) -> None:
    """A module that lies in the working directory is imported by workers only if it is by the supervisor."""
    (tmp_path / "bridge.py").write_text("raise SystemExit('another module')")
    environ = {**environment(NOWHERE, TWO), "PYTHONPATH": ROOT}
    async with program(sys.executable, "-P", *SERVE[1:], env=os.environ | environ, cwd=tmp_path) as command:
        await command.address()
        command.process.terminate()
        assert await command.end() == 0


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
@pytest.mark.short("SIGTERM")
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


@pytest.mark.long
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


@pytest.mark.long
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


@pytest.mark.long
async def test_ctrl_c_during_the_start(tmp_path: Path) -> None:
    """Ctrl-C, which a terminal sends to all its processes, reaches no worker that cannot handle it yet."""
    (tmp_path / "sitecustomize.py").write_text(HELD_WORKERS)
    path = f"{tmp_path}{os.pathsep}{SOURCES}"
    env = os.environ | environment(NOWHERE, TWO) | {"PYTHONPATH": path}
    async with program(*SERVE, env=env, start_new_session=True) as command:
        await command.line('"worker started"')
        os.killpg(command.process.pid, signal.SIGINT)
        assert await command.end() == 0
    assert "Traceback" not in command.output
    assert '"serving"' not in command.output
