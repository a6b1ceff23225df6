"""Everything that a bridge and the commands beside it say, in a run in which everything happens with canaries.

Two bridges, side by side, each with a wallet of its own: one alone, with JSON in its log; one of two workers, with
tracing, and its log for a console. What was said is bytes, by the place where it was said.
"""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path

import grpc.aio

from canaries import CANARIES
from canary_scene import CanaryWallet, Scene, Talk, canary_environment
from collector import Collector, collecting
from faults.behaviours import answer
from faults.record import Received
from faults.server import FaultServer
from metrics_page import get
from processes import bridge_command
from whole_path import End

PLACES = (
    "log",
    "log for a console, of workers",
    "metrics",
    "metrics of workers",
    "spans",
    "statuses",
    "command lines",
    "doctor",
    "doctor, as JSON",
    "serve --check",
    "settings that are refused",
)


@dataclass
class Run:
    """What came of it."""

    said: dict[str, bytes] = field(default_factory=lambda: dict.fromkeys(PLACES, b""))
    ends: list[End] = field(default_factory=list)
    """Of all calls that were no success, at either bridge."""
    received: list[Received] = field(default_factory=list)
    """Every request that came to a wallet."""
    collector: Collector = field(default_factory=Collector)

    @property
    def secrets(self) -> dict[str, str]:
        """The canaries, and what was made of them: every signature, and every authorization without its scheme."""
        secrets = dict(CANARIES)
        for request in self.received:
            headers = dict(request.headers)
            secrets[f"signature of {request.token}"] = headers["x-request-signature"]
            secrets[f"authorization {len(secrets)}"] = headers["authorization"].removeprefix("Basic ")
        return secrets

    def take(self, scene: Scene, log: str) -> None:
        """Add what was said at a bridge that has ended."""
        self.said[log] += scene.talk.command.output.encode()
        self.received += scene.server.requests
        self.ends += scene.ends
        self.said["statuses"] += b"\n".join(_bytes_of(end) for end in scene.ends)


async def run(folder: Path) -> Run:
    """Let everything happen; return what was said."""
    collected = Run()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_alone(collected, _made(folder / "alone")))
        tasks.create_task(_workers(collected, _made(folder / "workers")))
        tasks.create_task(_other_commands(collected, _made(folder / "others")))
    return collected


async def _alone(collected: Run, folder: Path) -> None:
    metrics = _free_address()
    key_file = folder / "fingerprint_key"
    key_file.write_text(CANARIES["fingerprint key"], encoding="utf-8")
    settings = {
        "SERVER__MAX_IN_FLIGHT": "2",
        "SERVER__MAX_QUEUED": "0",
        "TELEMETRY__METRICS_LISTEN": metrics,
        "TELEMETRY__FINGERPRINT_KEY_FILE": str(key_file),
    }
    async with _scene(folder, settings) as scene:
        collected.said["command lines"] += _command_line(scene.talk.command.process.pid)
        await _everything(scene)
        await scene.overload()
        await scene.use_replaced_keys()
        collected.said["metrics"] += await asyncio.to_thread(_page, metrics)
        await scene.drain()
    collected.take(scene, "log")


async def _workers(collected: Run, folder: Path) -> None:
    metrics = _free_address()
    settings = {
        "SERVER__WORKERS": "2",
        "TELEMETRY__METRICS_LISTEN": metrics,
        "TELEMETRY__LOG_FORMAT": "console",
        "TELEMETRY__TRACING": "true",
        "TELEMETRY__FINGERPRINT_KEY": CANARIES["fingerprint key in the environment"],
    }
    async with collecting() as collected.collector:
        tracing = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collected.collector.url,
            "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={CANARIES['collector key']}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        async with _scene(folder, settings, tracing) as scene:
            supervisor = scene.talk.command.process
            workers = _children(supervisor.pid)
            collected.said["command lines"] += b"\n".join(map(_command_line, (supervisor.pid, *workers)))
            await _everything(scene)
            await scene.use_replaced_keys()
            os.kill(workers[0], signal.SIGKILL)
            await scene.talk.until("worker ended")
            collected.said["metrics of workers"] += await asyncio.to_thread(_page, metrics)
            supervisor.terminate()
            await scene.talk.end()
        collected.said["spans"] += b"".join(collected.collector.bodies)
    collected.take(scene, "log for a console, of workers")


async def _everything(scene: Scene) -> None:
    scene.replace_keys()
    await scene.answers()
    await scene.refusals()
    await scene.cancels()


async def _other_commands(collected: Run, folder: Path) -> None:
    async with FaultServer(answer(404)) as server:
        right = canary_environment(server.url, folder, {})
        wrong = right | {
            "BRIDGE_WALLET__PROVIDERS__3__PRIVATE_KEY": CANARIES["bad new private key"],
            "BRIDGE_WALLET__PROVIDERS__3__ACCESKEY": CANARIES["access key in the environment"],
            "BRIDGE_TELEMETRY__FINGERPRINT_KEY": CANARIES["token"][:15],
        }
        commands = {
            "doctor": (("doctor",), right),
            "doctor, as JSON": (("doctor", "--json"), right),
            "serve --check": (("serve", "--check"), right),
            "settings that are refused": (("serve",), wrong),
        }
        for place, (arguments, environ) in commands.items():
            async with bridge_command(*arguments, environ=environ) as command:
                collected.said["command lines"] += _command_line(command.process.pid)
                await command.end()
            collected.said[place] += command.output.encode()


@asynccontextmanager
async def _scene(
    folder: Path, settings: Mapping[str, str], others: Mapping[str, str] | None = None
) -> AsyncIterator[Scene]:
    """Run a bridge until it serves. `others`: variables that are none of its settings."""
    wallet = CanaryWallet()
    async with FaultServer(wallet) as server:
        environ = canary_environment(server.url, folder, settings) | dict(others or {})
        async with bridge_command("serve", environ=environ) as command, Talk(command) as talk:
            address = _address(await talk.until("serving", "wallet_url"))
            async with grpc.aio.insecure_channel(address, options=(("grpc.enable_retries", 0),)) as channel:
                yield Scene(talk, server, wallet, channel, folder)


# --- small things -----------------------------------------------------------------------------------------------


def _address(serving: str) -> str:
    """Return the address of a line about the event "serving", in either format."""
    if serving.startswith("{"):
        return str(json.loads(serving)["address"])
    return next(word for word in serving.split() if word.startswith("address=")).removeprefix("address=")


def _bytes_of(end: End) -> bytes:
    trailers = reduce(
        lambda text, value: text + (value if isinstance(value, bytes) else value.encode()), end.trailers.values(), b""
    )
    return f"{end.code} {end.message} {end.details} ".encode() + trailers


def _page(address: str) -> bytes:
    return get(address)[1].encode()


def _command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"
