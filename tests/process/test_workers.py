"""Several workers on one port, as an operator runs them: real processes, signals and calls."""

import asyncio
import os
import signal
from pathlib import Path

import grpc.aio
import httpx
import pytest
from grpc_health.v1 import health_pb2

from bridge.sandbox.behaviours import after, terminated
from bridge.sandbox.server import FaultServer
from tests.support.ports import reserved_address
from tests.support.serving import health_of, key_in, serving, supervised
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY
from tests.support.whole_path import NO_SETTINGS, PATIENCE_S, call_over

CALLS_OK = 'wallet_bridge_calls_total{grpc_method="wallet.v1.WalletService/Terminate",outcome="OK",reason="OK"}'


def arguments_of(pid: int) -> str:
    """Return what everybody on the machine can see of how a process was started."""
    return Path(f"/proc/{pid}/cmdline").read_text()


@pytest.mark.long
async def test_all_workers_serve_one_port() -> None:
    """Calls on many connections to one port are carried out by both workers, also when the port was 0."""
    async with FaultServer(terminated) as wallet, supervised(wallet) as bridge:
        assert not bridge.address.endswith(":0")
        await bridge.meet_all()
        assert len({*bridge.pids.values(), bridge.command.process.pid}) == 3


@pytest.mark.long
async def test_workers_read_the_same_file(tmp_path: Path) -> None:
    """What only the configuration file says holds for the workers, too."""
    config = tmp_path / "bridge.toml"
    config.write_text(f'[wallet.providers.777]\naccess_key = "{ACCESS_KEY}"\nprivate_key = "{PRIVATE_KEY}"\n')
    async with FaultServer(terminated) as wallet, supervised(wallet, NO_SETTINGS, "--config", str(config)) as bridge:
        assert (await bridge.call(provider_id=777)).code == "OK"


@pytest.mark.long
async def test_no_secret_in_the_arguments() -> None:
    """A list of the processes shows no key."""
    async with FaultServer(terminated) as wallet, supervised(wallet) as bridge:
        shown = [arguments_of(pid) for pid in (bridge.command.process.pid, *bridge.pids.values())]
        assert ["--worker" in arguments for arguments in shown] == [False, True, True]
        assert [secret for secret in (ACCESS_KEY, PRIVATE_KEY) if secret in "".join(shown)] == []


@pytest.mark.long
async def test_workers_share_the_health_port() -> None:
    """The port for health alone is shared, too."""
    with reserved_address() as address:
        async with (
            FaultServer(terminated) as wallet,
            supervised(wallet, {"SERVER__HEALTH_LISTEN": address}),
            grpc.aio.insecure_channel(address) as channel,
        ):
            answer = await health_of(channel).Check(health_pb2.HealthCheckRequest())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_metrics_are_those_of_all_workers(tmp_path: Path) -> None:
    """One endpoint reports the sum over all workers, also of those that are gone, and no file is written for it."""
    with reserved_address() as address:
        settings = {"TELEMETRY__METRICS_LISTEN": address}
        async with FaultServer(terminated) as wallet, supervised(wallet, settings, TMPDIR=str(tmp_path)) as bridge:
            await bridge.meet_all()
            # A worker reports once a second what it has counted; what it has not reported is lost when it is killed.
            await until_counted(address, len(wallet.requests))
            os.kill(bridge.pids[1], signal.SIGKILL)
            await bridge.event("worker ended")
            await bridge.event("worker started")
            metrics = await metrics_at(address)
            assert metrics["wallet_bridge_workers"] == 2
            assert metrics["wallet_bridge_worker_restarts_total"] == 1
            assert metrics[CALLS_OK] == len(wallet.requests)
            assert files_in(tmp_path) == []
            bridge.command.process.terminate()
            assert await bridge.command.end() == 0
    assert files_in(tmp_path) == []


@pytest.mark.long
async def test_a_worker_that_ends_reports_all_it_has_counted() -> None:
    """The last counts of a worker that drains are not lost, however soon after its last call it ends."""
    with reserved_address() as address:
        async with (
            FaultServer(terminated) as wallet,
            supervised(wallet, {"TELEMETRY__METRICS_LISTEN": address}) as bridge,
        ):
            await bridge.meet_all()
            for pid in bridge.pids.values():
                os.kill(pid, signal.SIGTERM)
            for _ in bridge.pids:
                await bridge.event("worker ended")
            assert (await metrics_at(address))[CALLS_OK] == len(wallet.requests)


FULL = """
mount -t tmpfs -o size=64k tmpfs "$0" && dd if=/dev/zero of="$0/all" bs=4k status=none 2>/dev/null; exec "$@"
"""
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


@pytest.mark.parametrize("temporary", ["full", "missing", "read-only"])
@pytest.mark.long
async def test_telemetry_needs_no_disk(tmp_path: Path, temporary: str) -> None:
    """Whatever the folder for temporary files is like, workers serve, and their metrics are on the page."""
    within: tuple[str, ...] = ()
    folder = tmp_path / "tmp"
    if temporary != "missing":
        folder.mkdir()
    if temporary == "full":
        tried = await asyncio.create_subprocess_exec(*NAMESPACE, "true", stderr=asyncio.subprocess.DEVNULL)
        if await tried.wait():
            pytest.skip("this machine gives no namespace of mounts to unshare(1)")
        within = (*NAMESPACE, "sh", "-c", FULL, str(folder))
    elif temporary == "read-only":
        # Root may write anywhere, but not into /proc.
        folder = Path("/proc/self")
    with reserved_address() as address:
        settings = {"SERVER__WORKERS": "2", "TELEMETRY__METRICS_LISTEN": address}
        async with (
            FaultServer(terminated) as wallet,
            serving(wallet.url, settings, within, TMPDIR=str(folder)) as (command, channel),
        ):
            for _ in range(20):
                assert (await call_over(channel)).code == "OK"
            await until_counted(address, 20)
            command.process.terminate()
            assert await command.end() == 0


async def until_counted(address: str, calls: int) -> None:
    """Wait until so many calls are on the page."""
    async with asyncio.timeout(PATIENCE_S):
        while (await metrics_at(address)).get(CALLS_OK, 0) < calls:  # noqa: ASYNC110 - it is reported once a second
            await asyncio.sleep(0.1)


def files_in(folder: Path) -> list[Path]:
    """Return what is in a folder."""
    return list(folder.iterdir())


async def metrics_at(address: str) -> dict[str, float]:
    """Return what Prometheus would scrape."""
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        text = (await client.get(f"http://{address}/metrics")).text
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


async def test_a_killed_worker_loses_only_its_own_calls() -> None:
    """After a SIGKILL under load the other worker's calls are OK, and a successor is started at once, and serves."""
    may_answer = asyncio.Event()
    async with FaultServer(after(may_answer)) as wallet, supervised(wallet) as bridge:
        calls = await bridge.hold_calls()
        killed = bridge.pids[1]
        os.kill(killed, signal.SIGKILL)
        ended = await bridge.event("worker ended")
        assert (ended["worker"], ended["pid"], ended["exit_code"]) == (1, killed, -signal.SIGKILL)
        assert ended["restart_s"] == 0
        await wallet.until(lambda: len(wallet.open_connections) == 1)
        left = wallet.open_connections[0].number
        may_answer.set()
        codes = {(request.connection == left, (await calls[request.token]).code) for request in wallet.requests}
        assert codes == {(True, "OK"), (False, "UNAVAILABLE")}
        assert (await bridge.event("worker started"))["worker"] == 1
        await bridge.meet_all()


@pytest.mark.long
async def test_a_worker_that_leaves_is_replaced() -> None:
    """SIGTERM to one worker drains that one, and a successor takes its place."""
    async with FaultServer(terminated) as wallet, supervised(wallet) as bridge:
        os.kill(bridge.pids[2], signal.SIGTERM)
        ended = await bridge.event("worker ended")
        assert (ended["worker"], ended["exit_code"]) == (2, 0)
        await bridge.event("worker started")
        await bridge.meet_all()


@pytest.mark.long
async def test_a_crash_loop_backs_off(tmp_path: Path) -> None:
    """A successor that cannot start is replaced, but not at once; the other worker serves; in the end both do."""
    key = tmp_path / "key"
    key.write_text(PRIVATE_KEY)
    async with FaultServer(terminated) as wallet, supervised(wallet, key_in(key)) as bridge:
        key.unlink()
        os.kill(bridge.pids[1], signal.SIGKILL)
        ends = [await bridge.event("worker ended") for _ in range(2)]
        assert [end["exit_code"] for end in ends] == [-signal.SIGKILL, 2]
        assert ends[0]["restart_s"] == 0 < ends[1]["restart_s"]
        assert (await bridge.call()).code == "OK"
        assert bridge.command.problems[0].startswith("wallet.providers.777.private_key")
        key.write_text(PRIVATE_KEY)
        await bridge.event("worker started")
        await bridge.meet_all()


@pytest.mark.long
async def test_a_worker_that_hangs_is_replaced() -> None:
    """One whose event loop does not turn is killed and replaced; the other worker and the supervisor serve on."""
    async with FaultServer(terminated) as wallet, supervised(wallet) as bridge:
        hanging = bridge.pids[1]
        os.kill(hanging, signal.SIGSTOP)
        ended = await bridge.event("worker ended")
        assert (ended["worker"], ended["pid"], ended["exit_code"]) == (1, hanging, -signal.SIGKILL)
        assert f"worker process {hanging} hangs" in bridge.command.output
        await bridge.event("worker started")
        await bridge.meet_all()
