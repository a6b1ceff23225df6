"""What keeps a bridge with several workers from starting, and what does not."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

import bridge
from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer, bound_socket
from tests.support.processes import SERVE, bridge_command, program
from tests.support.supervised import NOWHERE, TWO, key_in, supervised
from tests.support.whole_path import PRIVATE_KEY, environment

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
async def test_a_port_in_use(setting: str) -> None:
    """A port that is taken is one problem that names the setting, and exit code 2; no worker is started."""
    with bound_socket() as taken:
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        environ = environment(NOWHERE, {**TWO, f"SERVER__{setting.upper()}": address})
        async with bridge_command("serve", environ=environ) as command:
            assert await command.end() == 2
    assert len(command.problems) == 1
    assert "worker started" not in command.output
    assert command.problems[0].startswith(f"server.{setting}: cannot listen on {address}; ")


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_port_of_other_workers(workers: str) -> None:
    """The port of a bridge with workers is taken for any other bridge, with workers or without."""
    async with FaultServer(terminated) as wallet, supervised(wallet) as bridge:
        settings = {"SERVER__WORKERS": workers, "SERVER__LISTEN": bridge.address}
        async with bridge_command("serve", environ=environment(NOWHERE, settings)) as command:
            assert await command.end() == 2
        assert command.problems[0].startswith(f"server.listen: cannot listen on {bridge.address}")


async def test_modules_of_the_working_directory(tmp_path: Path) -> None:
    """A module that lies in the working directory is imported by workers only if it is by the supervisor."""
    (tmp_path / "bridge.py").write_text("raise SystemExit('another module')")
    environ = {**environment(NOWHERE, TWO), "PYTHONPATH": ROOT}
    async with program(sys.executable, "-P", *SERVE[1:], env=os.environ | environ, cwd=tmp_path) as command:
        await command.line(lambda line: '"serving"' in line)
        command.process.terminate()
        assert await command.end() == 0
