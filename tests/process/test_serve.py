"""The bridge as an operator runs it: processes, signals, exit codes, and one line for every mistake."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2

from bridge.process.signals import STOP_SIGNALS
from bridge.sandbox import ROWS
from bridge.sandbox.behaviours import after, terminated
from bridge.sandbox.server import FaultServer, bound_socket
from tests.support.processes import bridge_command, children_of
from tests.support.serving import serving, watch_health
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY
from tests.support.whole_path import call_over, end_of, terminate_request
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
@pytest.mark.short("SIGTERM")
async def test_drain_finishes_what_is_in_flight(number: signal.Signals) -> None:
    """On SIGTERM, SIGINT or SIGQUIT a call in flight still gets its answer, then the process ends with 0."""
    may_answer = asyncio.Event()
    async with FaultServer(after(may_answer, terminated)) as wallet, serving(wallet.url) as (command, channel):
        call = asyncio.create_task(call_over(channel))
        await wallet.until(lambda: len(wallet.requests) == 1)
        command.process.send_signal(number)
        await command.line('"draining"')
        may_answer.set()
        assert (await call).code == "OK"
        assert await command.end() == 0
        assert '"stopped"' in command.output


async def test_calls_are_served_in_the_first_step_of_a_drain() -> None:
    """While it drains, health says NOT_SERVING and calls are still served, for as long as `drain_s` says."""
    settings = {"SERVER__DRAIN_S": "300"}  # a second signal ends it
    async with FaultServer(terminated) as wallet, serving(wallet.url, settings) as (command, channel):
        health = watch_health(channel)
        assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        command.process.terminate()
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert (await call_over(channel)).code == "OK"
        command.process.terminate()
        assert await command.end() == -signal.SIGTERM


CONTAINER = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc")


@pytest.mark.parametrize("number", STOP_SIGNALS, ids=lambda number: number.name)
@pytest.mark.short("SIGTERM")
async def test_second_signal_in_a_container(number: signal.Signals) -> None:
    """To the first process of a container the kernel leaves out signals in their default: it ends all the same."""
    tried = await asyncio.create_subprocess_shell(" ".join([*CONTAINER, "true"]), stderr=asyncio.subprocess.DEVNULL)
    if await tried.wait():
        pytest.skip("this machine gives no namespace of processes to unshare(1)")
    async with (
        FaultServer(after(asyncio.Event())) as wallet,
        serving(wallet.url, within=CONTAINER) as (command, channel),
    ):
        call = WalletServiceStub(channel).Terminate(terminate_request())
        await wallet.until(lambda: len(wallet.requests) == 1)
        first = int(children_of(command.process.pid))
        os.kill(first, number)
        await command.line('"draining"')
        os.kill(first, number)
        assert await command.end() == 128 + number
        call.cancel()


async def run(*arguments: str, environ: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a command to its end; return exit code and output."""
    async with bridge_command(*arguments, environ=environ) as command:
        return await command.end(), command.output


@pytest.mark.long
async def test_a_sandbox_on_a_port_in_use() -> None:
    """A port that is taken is one line that names the address, and exit code 2."""
    with bound_socket() as taken:
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, output = await run("sandbox", "--listen", address)
    assert (code, output.count("\n")) == (2, 1)
    assert output.startswith("bridge: ")
    assert address in output


async def test_demo() -> None:
    """`bridge demo` shows the page's example as a typed answer and the grpcurl line, and ends with 0 on Ctrl-C.

    A proxy that the environment names, where no process listens, is not asked.
    """
    no_proxy = {"grpc_proxy": "http://127.0.0.1:1", "no_grpc_proxy": "", "no_proxy": ""}
    async with bridge_command("demo", environ={"BRIDGE_SERVER__LISTEN": "127.0.0.1:0", **no_proxy}) as command:
        assert (await command.line("serving until Ctrl-C")).startswith("serving until Ctrl-C")
        command.process.send_signal(signal.SIGINT)
        assert await command.end() == 0
    assert 'value: "22085.75"' in command.output
    assert "\ngrpcurl -plaintext -d '{" in command.output


@pytest.mark.long
async def test_sandbox_command(tmp_path: Path) -> None:
    """`bridge sandbox` serves the providers of a config file, says what it answered, and ends with 0 on Ctrl-C."""
    config = tmp_path / "bridge.toml"
    config.write_text(
        f'[wallet]\nurl = "https://wallet.example"\n[wallet.providers.1]\naccess_key = "{ACCESS_KEY}"\n'
        f'private_key = "{PRIVATE_KEY}"\n'
    )
    async with bridge_command("sandbox", "--listen", "127.0.0.1:0", "--config", str(config)) as sandbox:
        url = (await sandbox.line("http://")).split()[3].rstrip(",")
        async with serving(url) as (_, channel):
            for token, provider_id in (("test-rejected", 1), ("any", 1), ("any", 12345)):
                request = terminate_request(token, provider_id=provider_id)
                await end_of(WalletServiceStub(channel).Terminate(request))
        sandbox.process.send_signal(signal.SIGINT)
        assert await sandbox.end() == 0
    said = [line for line in sandbox.output.splitlines() if line.startswith("POST")]
    assert said[0] == "POST /api/wallet/terminate: 409 (test-rejected)"
    assert said[1] == "POST /api/wallet/terminate: 200 (success)"
    assert said[2].startswith("POST /api/wallet/terminate: 401 (")


@pytest.mark.long
async def test_sandbox_tokens() -> None:
    """`bridge sandbox --tokens` prints the table of test tokens."""
    code, output = await run("sandbox", "--tokens")
    assert code == 0
    assert all(row.token in output for row in ROWS)


@pytest.mark.long
async def test_sandbox_bad_address() -> None:
    """An address that is none is one line, and exit code 2."""
    assert await run("sandbox", "--listen", "here") == (
        2,
        'bridge: --listen: must be host:port, like "127.0.0.1:8080"\n',
    )


async def test_version() -> None:
    """`bridge --version` prints the version."""
    assert (await run("--version"))[1].startswith("bridge 0.")
