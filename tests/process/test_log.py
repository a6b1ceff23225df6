"""The log of real processes: it is not read, its reader has gone, its disk is full; and what else writes there.

Which process a log line is of, with real processes.
"""

import asyncio
import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

import bridge
from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from tests.support.engines import current, on_both_engines
from tests.support.metrics_page import scrape
from tests.support.ports import reserved_address
from tests.support.processes import SOURCES, bridge_command, children_of
from tests.support.serving import NOWHERE, health_of, supervised
from tests.support.whole_path import (
    CHANNEL_OPTIONS,
    NO_SETTINGS,
    PATIENCE_S,
    bridge_to,
    call_over,
    end_of,
    environment,
    terminate_request,
)
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

PIPE_BYTES = 4096
CALLS = 60
"""Their lines, at debug, are far more than the pipe holds."""
STARTED_S = 120.0
"""A bridge of several processes starts far sooner, on a busy machine too; nothing waits for it to pass."""


@asynccontextmanager
async def bridge_with_log(
    stderr: int, wallet_url: str, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[tuple[asyncio.subprocess.Process, grpc.aio.Channel]]:
    """Run `bridge serve` with this standard error until it serves; kill what is left of it."""
    # Held as long as the bridge runs: of a port that is merely free now, another test's server may be next.
    with reserved_address() as address:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bridge", "serve"),
            env={**os.environ, **environment(wallet_url, {"SERVER__LISTEN": address, **settings})},
            stderr=stderr,
        )
        try:
            async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
                async with asyncio.timeout(STARTED_S):
                    await channel.channel_ready()
                yield process, channel
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def works_and_ends(process: asyncio.subprocess.Process, channel: grpc.aio.Channel) -> None:
    """See that calls, health and SIGTERM work."""
    stub, health = WalletServiceStub(channel), health_of(channel)
    for _ in range(CALLS):
        assert (await end_of(stub.Terminate(terminate_request(), timeout=PATIENCE_S))).code == "OK"
    answer = await health.Check(health_pb2.HealthCheckRequest(service="liveness"), timeout=PATIENCE_S)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING
    process.terminate()
    async with asyncio.timeout(PATIENCE_S):
        assert await process.wait() == 0


def small_pipe() -> tuple[int, int]:
    """Return both ends of a pipe that holds little."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return reading, writing


DEBUG = {"TELEMETRY__LOG_LEVEL": "debug"}
SETTINGS = {name: {"TELEMETRY__LOG_FORMAT": name, **DEBUG} for name in ("json", "console")}
SETTINGS["two workers"] = {"SERVER__WORKERS": "2", **DEBUG}


@on_both_engines
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.short("grpcio-json", "native-console")
async def test_the_log_is_not_read(settings: Mapping[str, str]) -> None:
    """Calls, health and SIGTERM do not care whether anybody reads standard error, of one process or of several."""
    reading, writing = small_pipe()
    try:
        async with FaultServer(terminated) as wallet, bridge_with_log(writing, wallet.url, settings) as running:
            await works_and_ends(*running)
    finally:
        os.close(reading)
        os.close(writing)


async def dropped(address: str) -> float:
    """Return how many lines are missing, by the metric."""
    return (await asyncio.to_thread(scrape, address)).value("wallet_bridge_log_lines_dropped_total")


async def test_the_reader_of_the_log_has_gone() -> None:
    """A closed pipe ends nothing, and the metric says how many lines are missing."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with reserved_address() as address:
            settings = {"TELEMETRY__METRICS_LISTEN": address, **DEBUG}
            async with FaultServer(terminated) as wallet, bridge_with_log(writing, wallet.url, settings) as running:
                stub = WalletServiceStub(running[1])
                assert (await end_of(stub.Terminate(terminate_request()))).code == "OK"
                async with asyncio.timeout(PATIENCE_S):
                    while not await dropped(address):  # noqa: ASYNC110 - it is sampled once a second
                        await asyncio.sleep(0.1)
                await works_and_ends(*running)
    finally:
        os.close(writing)


@pytest.mark.long
async def test_the_disk_of_the_log_is_full() -> None:
    """Nor does a full disk end anything."""
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        async with FaultServer(terminated) as wallet, bridge_with_log(full, wallet.url, DEBUG) as running:
            await works_and_ends(*running)
    finally:
        os.close(full)


async def test_a_late_reader_finds_every_line_whole() -> None:
    """Who reads late finds all lines that the buffer has kept, each of them JSON, and the end of the bridge."""
    reading, writing = small_pipe()
    async with FaultServer(terminated) as wallet, bridge_with_log(writing, wallet.url, DEBUG) as (process, channel):
        for _ in range(CALLS):
            await call_over(channel)
        process.terminate()
        text = await asyncio.to_thread(read_to_the_end, reading, writing)
    events = [json.loads(line)["event"] for line in text.splitlines()]
    assert events.count("call ended") == CALLS
    assert events[-1] == "stopped"


def read_to_the_end(reading: int, writing: int) -> str:
    """Read until no one can write any more; close both ends."""
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        return stream.read().decode()


@pytest.mark.long
async def test_the_output_of_the_sandbox_is_not_read() -> None:
    """The sandbox answers and ends however little of its lines is read."""
    reading, writing = small_pipe()
    with reserved_address() as address:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bridge", "sandbox", "--listen", address), stdout=writing, stderr=writing
        )
        try:
            async with bridge_to(f"http://{address}") as caller:
                while (await caller.terminate()).code == "UNAVAILABLE":
                    pass  # it does not listen yet
                for _ in range(2 * PIPE_BYTES // len("POST /api/wallet/terminate: 200 (success)")):
                    assert (await caller.terminate()).code == "OK"
            process.terminate()
            async with asyncio.timeout(PATIENCE_S):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
            os.close(reading)
            os.close(writing)


SECRET = "canary-4d1f"

OTHERS = {
    "Python's own writes": (f"print('{SECRET}', file=sys.stderr)", "something beside the log", ""),
    "bytes": (f"os.write(2, b'{SECRET}\\xff\\n')", "something beside the log", ""),
    "the C core": (
        f"os.write(2, b'E0000 00:00:00.000000 7 server_chttp2.cc:901] {SECRET}\\n')",
        "something beside the log",
        "server_chttp2.cc:901",
    ),
    "forged": (f"os.write(2, b'E0000 00:00:00.000000 7 {SECRET}.cc:1] {SECRET}\\n')", "something beside the log", ""),
    "a panic": (
        f"os.write(2, b\"thread 'x' panicked at src/front/main.rs:10:5:\\n{SECRET}\\n\")",
        "something beside the log",
        "main.rs:10",
    ),
    "a warning": (f"warnings.warn('{SECRET}', UserWarning)", "Python warns with UserWarning", "<string>:"),
    "a warning of a library": (
        f"logging.getLogger('{'a' * 3}.b').warning('x-request-id: {SECRET}')",
        "a library has logged a line",
        "<string>:",
    ),
    "a thread that fails": (
        f"t = threading.Thread(target=fail, args=('{SECRET}',)); t.start(); t.join()",
        "an exception has ended a thread",
        "",
    ),
    "a destructor that fails": (f"Bad('{SECRET}')", "an exception that could not be raised", ""),
    "a log record that cannot be made": (
        f"logging.getLogger('bridge.x').warning('%d', '{SECRET}')",
        "a log line could not be made",
        "",
    ),
    "a very long line": (f"os.write(2, b'{SECRET}' * 3000); os.write(2, b'\\n')", "something beside the log", ""),
    "an uncaught exception": (f"fail('{SECRET}')", "an uncaught exception", ""),
}

SCRIPT = """
import logging, os, sys, threading, warnings
from bridge.telemetry.standard_error import StandardError

def fail(text):
    raise ValueError(text)

class Bad:
    def __init__(self, text):
        self.text = text
    def __del__(self):
        raise ValueError(self.text)

LAST_BYTES = 4711
last_is_read = threading.Event()

def is_wanted(record):
    if record.args == (LAST_BYTES,):
        last_is_read.set()
    return record.args != (LAST_BYTES,)

def until_read():
    # A thread reads the pipe behind descriptor 2, line by line: what came before this line has been logged.
    os.write(2, b"." * LAST_BYTES + b"\\n")
    last_is_read.wait()
    last_is_read.clear()

logging.getLogger("bridge.telemetry.standard_error").addFilter(is_wanted)
log = StandardError.take("info", sys.argv[1])
for case in sys.argv[2:]:
    log.events.write(20, {"event": "case"})
    exec(case)
    until_read()
"""


def said_by_others(log_format: str) -> str:
    """Return what is on standard error of a process in which all of OTHERS happen, one after the other."""
    environ = {**os.environ, "PYTHONPATH": str(Path(bridge.__file__).parents[1])}
    command = [sys.executable, "-c", SCRIPT, log_format, *(code for code, _, _ in OTHERS.values())]
    ran = subprocess.run(command, env=environ, capture_output=True, check=False, timeout=STARTED_S)  # noqa: S603 - ours
    assert (ran.returncode, ran.stdout) == (1, b"")
    return ran.stderr.decode()


@pytest.fixture(scope="module")
def by_case() -> dict[str, list[dict[str, Any]]]:
    """Return the lines of each of OTHERS."""
    cases: list[list[dict[str, Any]]] = []
    for line in map(json.loads, said_by_others("json").splitlines()):
        if line["event"] == "case":
            cases.append([])
        else:
            cases[-1].append(line)
    return dict(zip(OTHERS, cases, strict=True))


@pytest.mark.parametrize("case", OTHERS)
def test_every_writer_gets_a_line_of_fixed_text(case: str, by_case: dict[str, list[dict[str, Any]]]) -> None:
    """Each line of standard error is a line of the log, with a place where there is one, and never the text itself."""
    _, event, place = OTHERS[case]
    lines = by_case[case]
    assert SECRET not in str(lines)
    assert lines
    assert all(line["event"].startswith(event) for line in lines)
    assert all(line["level"] in {"warning", "error", "critical"} for line in lines)
    assert lines[0].get("place", "").startswith(place)
    assert bool(lines[0].get("place")) == bool(place)
    if event.startswith("an exception"):
        assert re.match(r"ValueError at (<string>|[\w.]+):\d+ ", lines[0]["exception"])


def test_nor_do_people_see_such_a_text() -> None:
    """The format for people has the same lines."""
    text = said_by_others("console")
    assert SECRET not in text
    assert [event for _, event, _ in OTHERS.values() if event not in text] == []


HANGING = """
import asyncio, os, sys, threading
from bridge.settings.model import load
from bridge.server.app import running

async def main():
    async with running(load(None, os.environ)) as bridge:
        print(bridge.address, flush=True)
        # The loop turns until a line comes, and then no more.
        await asyncio.to_thread(sys.stdin.readline)
        print("hangs", flush=True)
        threading.Event().wait()

asyncio.run(main())
"""


@on_both_engines
@pytest.mark.short("grpcio")
async def test_liveness_asks_the_loop() -> None:
    """While the event loop turns the answer is SERVING; when it hangs there is none, though the port is open."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HANGING),
        env={**os.environ, **environment(NOWHERE), "PYTHONPATH": SOURCES},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = (await process.stdout.readline()).decode().strip()
        async with grpc.aio.insecure_channel(address) as channel:
            check = health_of(channel).Check
            request = health_pb2.HealthCheckRequest(service="liveness")
            assert (await check(request, timeout=PATIENCE_S)).status == health_pb2.HealthCheckResponse.SERVING
            process.stdin.write(b"now\n")
            assert await process.stdout.readline() == b"hangs\n"
            with pytest.raises(grpc.aio.AioRpcError, match="DEADLINE_EXCEEDED"):
                await check(request, timeout=1)
        host, _, port = address.rpartition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.close()
    finally:
        process.kill()
        await process.wait()


async def test_a_process_alone_names_itself() -> None:
    """A bridge without workers, which is the default, has no children; each line has its process id, and no worker."""
    async with bridge_command("serve", environ=environment(NOWHERE)) as command:
        await command.line('"event":"serving"')
        assert not children_of(command.process.pid)
        command.process.terminate()
        await command.end()
        pid = command.process.pid
    lines = [json.loads(line) for line in command.output.splitlines()]
    assert current() == "grpcio"
    assert [line["event"] for line in lines][-1] == "stopped"
    assert {(line["pid"], line.get("worker")) for line in lines} == {(pid, None)}


@pytest.mark.long
async def test_a_worker_names_itself() -> None:
    """A line of a worker has its number and its process id, which are those that its supervisor has logged."""
    async with FaultServer(terminated) as wallet, supervised(wallet) as bridge:
        bridge.command.process.terminate()
        reported = [await bridge.event("draining") for _ in range(2)]
    assert {line["worker"]: line["pid"] for line in reported} == bridge.pids


@pytest.mark.long
async def test_a_line_for_people_names_the_worker() -> None:
    """The console's format has the same fields."""
    settings = environment(NOWHERE, {"SERVER__WORKERS": "2", "TELEMETRY__LOG_FORMAT": "console"})
    async with bridge_command("serve", environ=settings) as command:
        await command.line(" serving ")
        command.process.terminate()
        await command.end()
    drains = [line for line in command.output.splitlines() if " draining " in line]
    assert sorted(re.findall(r"worker=(\d+)", " ".join(drains))) == ["1", "2"]
