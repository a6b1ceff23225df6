"""What one call costs the bridge in CPU time, side by side with the floor and the textbook (see rows.py).

Needs nginx and h2load: on Debian, apt-get install nginx-light nghttp2-client. Each row is a process on core 0; nginx as
the wallet, h2load and this script share core 1. h2load keeps 64 calls in flight on 4 connections. The upstream is kind
to every row: nothing is recycled, more streams are allowed than are ever open, and the answer is fixed, right for the
one request that is sent. The rows take turns, so that a noisy machine disturbs all alike.

A call counts as OK when its response came: a gRPC failure carries no message, so the bytes of DATA that h2load got,
divided by those of one response, are the calls that truly ended OK. nginx's own count says how many of them reached it.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import socket
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import httpx

from benchmark.rows import ANSWER, response
from bridge.sandbox.example import TERMINATE_REQUEST
from nginx import MISSING, NGINX, Front, running_nginx
from wallet.v1.wallet_service_pb2 import TerminateRequest
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub
from whole_path import environment

H2LOAD = shutil.which("h2load")
H2LOAD_MISSING = "h2load is not installed; on Debian: apt-get install nghttp2-client"
METHOD = "/wallet.v1.WalletService/Terminate"
SERVER_CORE, LOAD_CORE = 0, 1
CONNECTIONS, STREAMS_EACH = 4, 16
WARM_UP_CALLS = 500
FLOOR_RATIO_MAX, TEXTBOOK_RATIO_MIN = 2.0, 3.0

# `return` alone would answer before the body is read, and end every stream with a reset: the mirror reads it first.
UPSTREAM = Front(
    location="mirror /read; log_not_found off; error_page 404 = @answer;",
    directives=f"""
        keepalive_requests 1000000000; keepalive_timeout 1h; http2_max_concurrent_streams 1000;
        location = /read {{ internal; return 204; }}
        location @answer {{ default_type application/json; return 200 '{json.dumps(ANSWER)}'; }}
        location = /count {{ stub_status; }}
    """,
    workers=1,
)
ROWS = Path(__file__).with_name("rows.py")
BRIDGE = ("-m", "bridge", "serve")
BRIDGES = {"bridge": "info", "bridge, quiet": "error"}
"""By the row's name: its log level. The difference is what logging costs."""


@dataclass(frozen=True)
class Round:
    """One row's load, measured."""

    calls: int
    ok: int
    reached: int
    """POSTs that nginx counted; each of a connection's own requests, so retries too."""
    cpu_us: float
    """Of one call that was made."""
    calls_per_s: float


@dataclass(frozen=True)
class Server:
    """A running row."""

    name: str
    pid: int
    port: int

    def cpu_s(self) -> float:
        """Return the CPU time of all its threads so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def running(name: str, arguments: Sequence[str], port: int, settings: Mapping[str, str]) -> AsyncIterator[Server]:
    """Run a row on its core until the context ends; return when it has answered a call."""
    process = await asyncio.create_subprocess_exec(
        *("taskset", "--cpu-list", str(SERVER_CORE), sys.executable, *arguments),
        env={**os.environ, **settings},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await WalletServiceStub(channel).Terminate(
                TerminateRequest(**TERMINATE_REQUEST), wait_for_ready=True, timeout=20
            )
        yield Server(name, process.pid, port)
    finally:
        process.terminate()
        await process.wait()


@dataclass(frozen=True)
class Load:
    """What h2load sends: one Terminate after the other, always the same."""

    body_file: Path
    response_bytes: int
    wallet_url: str

    async def run(self, server: Server, calls: int) -> Round:
        """Load a row and measure it."""
        before, reached = server.cpu_s(), self._reached()
        output = await self._h2load(server.port, calls)
        cpu_s = server.cpu_s() - before
        return Round(
            calls=calls,
            ok=_number(r"([0-9]+)\) data", output) // self.response_bytes,
            reached=self._reached() - reached - 1,  # the second count counts itself
            cpu_us=cpu_s / calls * 1e6,
            calls_per_s=_number(r"finished in [^,]*, ([0-9]+)", output),
        )

    async def _h2load(self, port: int, calls: int) -> str:
        process = await asyncio.create_subprocess_exec(
            str(H2LOAD),
            *(f"--requests={calls}", f"--clients={CONNECTIONS}", f"--max-concurrent-streams={STREAMS_EACH}"),
            *(f"--data={self.body_file}", "--header=content-type: application/grpc", "--header=te: trailers"),
            f"http://127.0.0.1:{port}{METHOD}",
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
        return output.decode()

    def _reached(self) -> int:
        with httpx.Client(http1=False, http2=True, trust_env=False) as client:
            counts = client.get(f"{self.wallet_url}/count").text
        # "server accepts handled requests", and below it three numbers.
        return _number(r"requests\n +[0-9]+ +[0-9]+ +([0-9]+)", counts)


@asynccontextmanager
async def loading() -> AsyncIterator[Load]:
    """Run the wallet until the context ends; yield what loads a row in front of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        body_file = folder / "terminate.grpc"
        body_file.write_bytes(framed(TerminateRequest(**TERMINATE_REQUEST).SerializeToString()))
        async with running_nginx(UPSTREAM, folder) as nginx:
            yield Load(body_file, len(framed(response(ANSWER).SerializeToString())), nginx.url)


def missing() -> str:
    """Return what has to be installed before anything can be measured; "" when all is there."""
    return MISSING if NGINX is None else H2LOAD_MISSING if H2LOAD is None else ""


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    if found is None:
        raise SystemExit(f"cost: cannot read this output:\n{text}")
    return int(found[1])


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def _start(stack: AsyncExitStack, wallet_url: str) -> list[Server]:
    servers = []
    for name in ("floor", "textbook", *BRIDGES):
        port = free_port()
        arguments: Sequence[str] = BRIDGE if name in BRIDGES else (str(ROWS), name, str(port), wallet_url)
        settings = {"SERVER__LISTEN": f"127.0.0.1:{port}", "TELEMETRY__LOG_LEVEL": BRIDGES.get(name, "info")}
        row = running(name, arguments, port, environment(wallet_url, settings))
        servers.append(await stack.enter_async_context(row))
    return servers


async def measure(calls: int, rounds: int) -> dict[str, list[Round]]:
    """Run all rows in turns and return the rounds of each."""
    async with AsyncExitStack() as stack:
        load = await stack.enter_async_context(loading())
        servers = await _start(stack, load.wallet_url)
        for server in servers:
            await load.run(server, WARM_UP_CALLS)
        measured: dict[str, list[Round]] = {server.name: [] for server in servers}
        for number in range(1, rounds + 1):
            for server in servers:
                each = await load.run(server, calls)
                measured[server.name].append(each)
                print(f"round {number} of {rounds}: {row_line(server.name, each)}", flush=True)
    return measured


def framed(message: bytes) -> bytes:
    """Return a message as it goes over the wire: gRPC over HTTP/2, Length-Prefixed-Message."""
    return b"\0" + len(message).to_bytes(4) + message


def row_line(name: str, one: Round) -> str:
    """Return what a round came to, on one line."""
    return f"{name:<14}{one.cpu_us:7.0f} us  {one.calls_per_s:6.0f} calls/s  {one.ok} of {one.calls} OK"


def report(measured: Mapping[str, Sequence[Round]]) -> bool:
    """Print the table; return whether the bridge reaches its targets."""
    print(f"\n{'row':<14}{'CPU us/call':>12}{'calls/s':>9}{'OK':>9}{'/ floor':>20}{'textbook /':>20}")
    for name, rounds in measured.items():
        cpu_us = statistics.median(one.cpu_us for one in rounds)
        per_s = statistics.median(one.calls_per_s for one in rounds)
        ok = sum(one.ok for one in rounds) / sum(one.calls for one in rounds)
        to_floor = spread(ratios(rounds, measured["floor"]))
        to_textbook = spread(ratios(measured["textbook"], rounds))
        print(f"{name:<14}{cpu_us:12.0f}{per_s:9.0f}{ok:9.2%}{to_floor:>20}{to_textbook:>20}")
    bridge = measured["bridge"]
    to_floor_ratio = statistics.median(ratios(bridge, measured["floor"]))
    to_textbook_ratio = statistics.median(ratios(measured["textbook"], bridge))
    is_exact = all(one.ok == one.reached == one.calls for name in BRIDGES for one in measured[name])
    print(f"\ntargets: at most {FLOOR_RATIO_MAX:.1f} x floor, textbook at least {TEXTBOOK_RATIO_MIN:.1f} x the bridge")
    print(f"every call of the bridge OK, and at the wallet exactly once: {'yes' if is_exact else 'NO'}")
    return is_exact and to_floor_ratio <= FLOOR_RATIO_MAX and to_textbook_ratio >= TEXTBOOK_RATIO_MIN


def ratios(rounds: Sequence[Round], others: Sequence[Round]) -> list[float]:
    """Return the cost of each round in relation to that of another row in the same round."""
    return [one.cpu_us / other.cpu_us for one, other in zip(rounds, others, strict=True)]


def spread(values: Sequence[float]) -> str:
    """Return the median, and in brackets the least and the most."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> int:
    """Measure and print; return 1 when a target is missed, 2 when something is not installed."""
    parser = argparse.ArgumentParser(description="CPU time of one call: floor, textbook, bridge")
    parser.add_argument("--quick", action="store_true", help="two short rounds, under a minute")
    quick = parser.parse_args().quick
    if problem := missing():
        print(f"cost: {problem}", file=sys.stderr)
        return 2
    # What this process starts stays on this core, but for the rows, which are moved.
    os.sched_setaffinity(0, {LOAD_CORE})
    calls, rounds = (3000, 2) if quick else (20_000, 5)
    print(f"{rounds} rounds of {calls} calls a row, {CONNECTIONS * STREAMS_EACH} in flight", flush=True)
    return 0 if report(asyncio.run(measure(calls, rounds))) else 1


if __name__ == "__main__":
    sys.exit(main())
