"""Bridges that live through everything with canaries, each with a wallet of its own.

alone      JSON in its log, metrics; overload, and a drain with calls
workers    two of them, one of which is killed; tracing, a log for a console
settling   settlement, written before each call is sent, with tracing, and the store that it leaves behind
with_tls   mutual TLS on both sides, callers that may not call, health on a port of its own
"""

import asyncio
import base64
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc.aio
from cryptography import x509
from grpc_health.v1 import health_pb2

from bridge.sandbox.server import FaultServer
from tests.canaries.record import Collector, Record, arguments_of, collecting, command_line
from tests.canaries.scene import TIMEOUT_S, CanaryWallet, Scene, Talk, canary_environment
from tests.support.canaries import CANARIES
from tests.support.certificates import write_certificates
from tests.support.metrics_page import get
from tests.support.ports import reserved_address
from tests.support.processes import bridge_command, children_of
from tests.support.random_wallet import FAULTS, GOOD
from tests.support.secure_callers import Authority, channel_to, tls_settings
from tests.support.serving import call_over, health_of
from tests.support.whole_path import CHANNEL_OPTIONS, NO_SETTINGS, PATIENCE_S

MET_AGAIN = ("RST_STREAM INTERNAL_ERROR", "code 2", "not JSON")
"""Faults, all of which come at once, that the settler meets, too. Each failure in a row doubles the longest delay
before its next attempt, so that all faults would take minutes, and more of them on a busy machine."""


async def alone(record: Record, folder: Path) -> None:
    """Run a bridge that is one process."""
    key_file = folder / "fingerprint_key"
    key_file.write_text(CANARIES["fingerprint key"], encoding="utf-8")
    settings = {
        "SERVER__MAX_IN_FLIGHT": "2",
        "SERVER__MAX_QUEUED": "0",
        "TELEMETRY__FINGERPRINT_KEY_FILE": str(key_file),
    }
    wallet = CanaryWallet()
    async with FaultServer(wallet) as server, _bridge(server.url, folder, settings) as talk:
        record.say("command lines", await command_line(talk.command.process))
        async with grpc.aio.insecure_channel(talk.address, options=CHANNEL_OPTIONS) as channel:
            scene = Scene(talk, server, wallet, channel, folder)
            await _everything(scene)
            await scene.overload()
            await scene.use_replaced_keys()
            record.say("metrics", *await asyncio.to_thread(_pages, talk.further))
            await scene.drain()
    record.take("log", talk.command.output, scene.ends, server.requests)
    record.take_files("files left behind", *_places_of_work(folder))


async def workers(record: Record, folder: Path) -> None:
    """Run a bridge of two workers, with tracing to a collector."""
    settings = {
        "SERVER__WORKERS": "2",
        "TELEMETRY__LOG_FORMAT": "console",
        "TELEMETRY__TRACING": "true",
        "TELEMETRY__FINGERPRINT_KEY": CANARIES["fingerprint key in the environment"],
    }
    wallet = CanaryWallet()
    async with collecting() as record.collector, FaultServer(wallet) as server:
        async with _bridge(server.url, folder, settings, _tracing_to(record.collector)) as talk:
            supervisor = talk.command.process
            children = [int(child) for child in children_of(supervisor.pid).split()]
            record.say("command lines", *map(arguments_of, (supervisor.pid, *children)))
            async with grpc.aio.insecure_channel(talk.address, options=CHANNEL_OPTIONS) as channel:
                scene = Scene(talk, server, wallet, channel, folder)
                await _everything(scene)
                await scene.use_replaced_keys()
            os.kill(children[0], signal.SIGKILL)
            await talk.until("worker ended")
            record.say("metrics of workers", (await asyncio.to_thread(get, talk.further))[1].encode())
            supervisor.terminate()
            await talk.end()
        record.say("spans", *record.collector.bodies)
    record.take("log for a console, of workers", talk.command.output, scene.ends, server.requests)
    record.take_files("files left behind", *_places_of_work(folder))


async def settling(record: Record, folder: Path) -> None:
    """Run a bridge that finishes what ends UNKNOWN; list what it has kept."""
    key_file, store = folder / "settlement_key", folder / "store"
    key_file.write_bytes(base64.b64encode(CANARIES["settlement key"].encode()))
    store.mkdir()
    settings = {
        "TELEMETRY__TRACING": "true",
        "SETTLEMENT__STORE": f"sqlite://{store}/settlement.db",
        "SETTLEMENT__KEY_FILE": str(key_file),
        "SETTLEMENT__DURABILITY": "before",
    }
    wallet = CanaryWallet()
    async with collecting() as collector, FaultServer(wallet) as server:
        async with _bridge(server.url, folder, settings, _tracing_to(collector)) as talk:
            async with grpc.aio.insecure_channel(talk.address, options=CHANNEL_OPTIONS) as channel:
                scene = Scene(talk, server, wallet, channel, folder)
                scene.replace_keys()
                for fault in FAULTS:
                    scene.then = (fault, GOOD) if fault in MET_AGAIN else (GOOD,)
                    await scene.call(fault, PATIENCE_S if fault in MET_AGAIN else TIMEOUT_S)
                await scene.cancels()
            await server.until(lambda: _most_often_sent(server) > 2)  # the settler has met one of them
            await talk.until('"settlement changed"', '"SETTLED"')
            await talk.until("reload failed")
            record.say("metrics, with settlement", *await asyncio.to_thread(_pages, talk.further))
            environ = canary_environment(server.url, folder, settings)
            async with bridge_command("settlement", "list", "--json", environ=environ) as listing:
                assert await listing.end() == 0
            record.say("settlement list", listing.output.encode())
            record.take_files("settlement store", store)
            talk.command.process.terminate()
            assert await talk.end() == 0
        record.say("spans, with settlement", *collector.bodies)
    record.take("log, with settlement", talk.command.output, scene.ends, server.requests)
    record.take_files("settlement store", store)
    record.take_files("files left behind", *_places_of_work(folder))


async def with_tls(record: Record, folder: Path) -> None:
    """Run a bridge that knows its callers and its wallet by certificates; replace its key by nonsense."""
    authority = Authority(folder, "callers_ca")
    ours, other = (authority.client(name, x509.DNSName(f"{name}.example")) for name in ("ours", "other"))
    shown, certificates = authority.server("shown"), write_certificates(folder)
    settings = {
        **tls_settings(shown, authority.ca_file, "ours.example"),
        "WALLET__CA_FILE": str(certificates.ca_file),
        "WALLET__CLIENT_CERTIFICATE_FILE": str(certificates.client.certificate_file),
        "WALLET__CLIENT_KEY_FILE": str(certificates.client.key_file),
    }
    for identity in (shown, certificates.client):
        record.take_key(identity.key_file)
    wallet_tls = certificates.server.server_context(client_ca_file=certificates.ca_file)
    wallet = CanaryWallet()
    async with (
        FaultServer(wallet, tls=wallet_tls) as server,
        _bridge(server.url, folder, settings, further="SERVER__HEALTH_LISTEN") as talk,
    ):
        async with channel_to(talk.address, authority.ca_file, ours) as channel:
            scene = Scene(talk, server, wallet, channel, folder)
            await scene.answers()
        async with channel_to(talk.address, authority.ca_file, other) as channel:
            scene.ends.append(await call_over(channel))
        async with channel_to(talk.address) as channel:
            scene.ends.append(await call_over(channel))
        record.say("health", *[word async for word in _health_at(talk.further)])
        for file in (shown.key_file, certificates.client.key_file):
            file.write_text(file.read_text(encoding="ascii")[:-40], encoding="ascii")
        await talk.until("reload failed", "server.tls_key_file")
        await talk.until("reload failed", "wallet.client_key_file")
        talk.command.process.terminate()
        assert await talk.end() == 0
    record.take("log, with TLS", talk.command.output, scene.ends, server.requests)


def _tracing_to(collector: Collector) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={CANARIES['collector key']}",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }


async def _everything(scene: Scene) -> None:
    scene.replace_keys()
    await scene.answers()
    await scene.refusals()
    await scene.cancels()


@asynccontextmanager
async def _bridge(
    wallet_url: str,
    folder: Path,
    settings: Mapping[str, str],
    others: Mapping[str, str] = NO_SETTINGS,
    further: str = "TELEMETRY__METRICS_LISTEN",
) -> AsyncIterator[Talk]:
    """Run a bridge until it serves. `others`: further variables. `further`: the setting of its second address."""
    cwd, temporary = _places_of_work(folder)
    with reserved_address() as address:
        environ = canary_environment(wallet_url, folder, {**settings, further: address})
        environ |= {"TMPDIR": str(temporary), **others}
        async with bridge_command("serve", environ=environ, folder=cwd) as command, Talk(command) as talk:
            talk.address, talk.further = _address(await talk.until("serving", "wallet_url")), address
            yield talk


def _places_of_work(folder: Path) -> tuple[Path, Path]:
    """Make and return the folder in which a bridge works, and the one for temporary files."""
    places = folder / "cwd", folder / "tmp"
    for place in places:
        place.mkdir(exist_ok=True)
    return places


def _most_often_sent(server: FaultServer) -> int:
    return max(Counter(request.token for request in server.requests).values())


def _pages(address: str) -> list[bytes]:
    return [get(address, path)[1].encode() for path in ("/metrics", "/")]


async def _health_at(address: str) -> AsyncIterator[bytes]:
    async with channel_to(address) as channel:
        for service in ("", "wallet.v1.WalletService"):
            answer = await health_of(channel).Check(health_pb2.HealthCheckRequest(service=service))
            yield f"{answer}".encode() + answer.SerializeToString()


def _address(serving: str) -> str:
    """Return the address of a line about the event "serving", in either format."""
    if serving.startswith("{"):
        return str(json.loads(serving)["address"])
    return next(word for word in serving.split() if word.startswith("address=")).removeprefix("address=")
