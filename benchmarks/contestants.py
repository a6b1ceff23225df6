"""Who is compared: the table of rows, and each of them as a running server."""

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any

import grpc.aio

from benchmarks import envoy, forms, procfs
from benchmarks.forms import Form
from benchmarks.rows import ANSWER, response
from bridge.process.scheduling import Policy
from bridge.sandbox.operations import TERMINATE_REQUEST
from tests.support.whole_path import environment
from wallet.v1.wallet_service_pb2 import TerminateRequest
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

STEPS_FILE = "steps.json"
START_TIMEOUT_S = 20.0
SAMPLED_CALLS, SAMPLED_IN_FLIGHT = 128, 64


class Kind(Enum):
    """How a row is run."""

    SCRIPT = "rows.py"
    BRIDGE = "bridge serve"
    INSTRUMENTED = "instrumented.py"
    FULL_BATCHES = "full_batches.py"
    ENVOY = "envoy"


@dataclass(frozen=True)
class Row:
    """One that is compared."""

    name: str
    what: str
    """For a reader of the table."""
    kind: Kind
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the bridge, as `whole_path.environment` names them."""
    asks_the_wallet: bool = True
    source: Path | None = None
    """The work tree whose bridge it is (against.py); None: this one."""
    form: Form = Form.PURE
    """Of a bridge; the other kinds are in Python, or C++, as they are."""
    packages: Path | None = None
    """Where the packages of that work tree's lock are; None: those of this environment fit."""
    empty_field_bytes: int = 0
    """Of the fields in its response that it writes although they are empty, which says the same."""

    @property
    def response_bytes(self) -> int:
        """DATA bytes of its one right response."""
        return len(framed(response(ANSWER).SerializeToString())) + self.empty_field_bytes

    @property
    def is_ours(self) -> bool:
        """Whether it is the bridge."""
        return self.kind is Kind.BRIDGE


FLOOR, TEXTBOOK, BRIDGE, NATIVE_FLOOR, NATIVE, ENVOY = (
    *("floor", "textbook", "bridge", "native floor", "bridge (native)"),
    "Envoy",
)

NATIVE_SETTINGS = {"SERVER__ENGINE": "native", "SERVER__NATIVE_TRUSTS_CALLERS": "true"}

ROWS = (
    Row(FLOOR, "an empty grpc.aio handler on uvloop: nothing in grpcio is cheaper", Kind.SCRIPT, asks_the_wallet=False),
    Row(TEXTBOOK, "what one would write: grpc.aio, json, hmac, `httpx.AsyncClient(http2=True)`", Kind.SCRIPT),
    Row(BRIDGE, "`bridge serve` with its log at info", Kind.BRIDGE, form=Form.COMPILED),
    Row(
        NATIVE_FLOOR,
        "the floor's handler on `pygrpc_native.aio`: nothing on that engine is cheaper",
        Kind.SCRIPT,
        asks_the_wallet=False,
    ),
    Row(NATIVE, 'the bridge with `server.engine = "native"`', Kind.BRIDGE, NATIVE_SETTINGS, form=Form.COMPILED),
    Row(
        ENVOY,
        "`grpc_json_reverse_transcoder` in C++: no validation, no signature, no verdict",
        Kind.ENVOY,
        empty_field_bytes=2,  # the field `message`, of length 0
    ),
)

BY_NAME = {row.name: row for row in ROWS}
OURS = tuple(row for row in ROWS if row.is_ours)
"""In the form that is published."""


def pure(row: Row) -> Row:
    """Return one of our rows in the form of its sources, under its own name."""
    return replace(row, form=Form.PURE)


INSTRUMENTED = Row("bridge (timed)", "the bridge with a timer around each step", Kind.INSTRUMENTED)


def framed(message: bytes) -> bytes:
    """Return a message as it stands in a stream: gRPC over HTTP/2, Length-Prefixed-Message."""
    return b"\0" + len(message).to_bytes(4) + message


class StartError(Exception):
    """A row that did not come to answer a call, with what to try."""


@dataclass(frozen=True)
class Server:
    """A running row."""

    row: Row
    pid: int
    port: int

    def cpu_time(self) -> procfs.CpuTime:
        """Return the CPU time of its processes so far."""
        return procfs.cpu_time(self.pid)

    def memory_mb(self) -> float:
        """Return the most memory that its processes have held so far, in MB."""
        return procfs.memory_mb(self.pid)

    async def wrong_of_sample(self) -> int:
        """Make some calls with a real gRPC client; return how many did not end OK with exactly the right message."""
        limit = asyncio.Semaphore(SAMPLED_IN_FLIGHT)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            stub = WalletServiceStub(channel)
            ends = await asyncio.gather(*(_is_right(stub, limit) for _ in range(SAMPLED_CALLS)))
        return ends.count(False)


async def _is_right(stub: Any, limit: asyncio.Semaphore) -> bool:
    # Any: the type of an asynchronous stub is known to type checkers only.
    async with limit:
        try:
            return bool(await stub.Terminate(TerminateRequest(**TERMINATE_REQUEST), timeout=10) == response(ANSWER))
        except grpc.aio.AioRpcError:
            return False


@dataclass(frozen=True)
class Placement:
    """Where a row runs, and under which scheduling policy: the same for every row that is compared."""

    cores: frozenset[int]
    policy: Policy = "batch"
    under: tuple[str, ...] = ()
    """A tool that runs the row, like valgrind, with its options."""
    start_timeout_s: float = START_TIMEOUT_S
    """Longest time until the first answer."""

    @property
    def command(self) -> tuple[str, ...]:
        """The command that runs another one there. Its threads inherit the policy."""
        cores = ",".join(map(str, sorted(self.cores)))
        return ("chrt", f"--{self.policy}", "0", "taskset", "--cpu-list", cores, *self.under)


@asynccontextmanager
async def running(
    row: Row, wallet_url: str, folder: Path, placement: Placement, settings: Mapping[str, str] | None = None
) -> AsyncIterator[Server]:
    """Run a row in this place until the context ends, with further settings where it is a bridge.

    Enter when it has answered a call. Raise StartError where it does not.
    """
    port = free_port()
    chosen = {**row.settings, **(settings or {}), "SERVER__LISTEN": f"127.0.0.1:{port}"}
    chosen["SERVER__SCHEDULING"] = placement.policy
    environ = {**environment_for(row.source, wallet_url, chosen), **_imports(row)}
    process = await asyncio.create_subprocess_exec(
        *(*placement.command, *_command(row, port, wallet_url, folder)),
        cwd=row.source,
        env={**os.environ, **environ},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        await _answers(row, port, process, placement.start_timeout_s)
        yield Server(row, process.pid, port)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def _command(row: Row, port: int, wallet_url: str, folder: Path) -> Sequence[str]:
    if row.kind is Kind.BRIDGE:
        return (sys.executable, "-m", "bridge", "serve")
    if row.kind is Kind.ENVOY:
        return envoy.command(envoy.transcoder(port, int(wallet_url.rpartition(":")[2]), folder))
    if row.kind is Kind.INSTRUMENTED:
        return (sys.executable, "-m", "benchmarks.instrumented", str(folder / STEPS_FILE))
    if row.kind is Kind.FULL_BATCHES:
        return (sys.executable, "-m", "benchmarks.full_batches")
    return (sys.executable, "-m", "benchmarks.rows", row.name, str(port), wallet_url)


async def _answers(row: Row, port: int, process: asyncio.subprocess.Process, timeout_s: float) -> None:
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            request = TerminateRequest(**TERMINATE_REQUEST)
            await WalletServiceStub(channel).Terminate(request, wait_for_ready=True, timeout=timeout_s)
    except grpc.aio.AioRpcError as error:
        ended = "" if process.returncode is None else f" (it ended with {process.returncode})"
        raise StartError(
            f"the row {row.name!r} answers no call{ended}: {error.code().name} {error.details()}. "
            f"See what {row.kind.value} says when it is started by hand with {dict(row.settings) or 'its defaults'}."
        ) from None


def environment_for(source: Path | None, wallet_url: str, settings: Mapping[str, str]) -> Mapping[str, str]:
    """Return the bridge's environment, without settings of [server] that the work tree's lacks."""
    environ = environment(wallet_url, dict(settings))
    if source is None:
        return environ
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith("BRIDGE_SERVER__") or has_setting(source, name.removeprefix("BRIDGE_"))
    }


def has_setting(source: Path, name: str) -> bool:
    """Return whether the bridge of a work tree has this setting; an older one refuses what it does not know.

    `name`: as `whole_path.environment` has it, SECTION__KEY.
    """
    key = re.compile(rf"^ +{name.partition('__')[2].lower()}: ", re.MULTILINE)
    return any(key.search(file.read_text(encoding="utf-8")) for file in (source / "bridge").rglob("*.py"))


def _imports(row: Row) -> Mapping[str, str]:
    if row.source is None:
        return forms.variables(row.form)
    # Before what is installed, which is this work tree's.
    first = (row.source, row.source / "generated" / "python", *filter(None, (row.packages,)))
    return {"PYTHONPATH": os.pathsep.join(map(str, first))}


def free_port() -> int:
    """Return a port on which no process listens now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
