"""Bridges that live through everything with canaries, each with a wallet of its own.

alone      JSON in its log, metrics; overload, and a drain with calls
workers    two of them, one of which is killed; tracing, a log for a console
settling   settlement, written before each call is sent, with tracing, and the store that it leaves behind
with_tls   mutual TLS on both sides, callers that may not call, health on a port of its own
"""

import asyncio
import base64
import os
import signal
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography import x509
from grpc_health.v1 import health_pb2

from bridge.sandbox.server import FaultServer
from tests.canaries.record import Record, arguments_of, command_line
from tests.canaries.scene import TIMEOUT_S, Scene, canary_environment
from tests.support.canaries import CANARIES
from tests.support.certificates import Authority, Certificates
from tests.support.metrics_page import get
from tests.support.ports import reserved_address
from tests.support.processes import bridge_command, children_of
from tests.support.random_wallet import FAULTS, GOOD, RandomWallet
from tests.support.serving import call_once, channel_to, health_of, tls_settings
from tests.support.whole_path import PATIENCE_S, call_over

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
    async with _bridge(record, "", folder, settings) as scene:
        record.say("command lines", await command_line(scene.command.process))
        await _everything(scene)
        await scene.overload()
        await scene.use_replaced_keys()
        record.say("metrics", *await asyncio.to_thread(_pages, scene.further))
        await scene.drain()


async def workers(record: Record, folder: Path) -> None:
    """Run a bridge of two workers, with tracing to a collector."""
    settings = {
        "SERVER__WORKERS": "2",
        "TELEMETRY__LOG_FORMAT": "console",
        "TELEMETRY__TRACING": "true",
        "TELEMETRY__FINGERPRINT_KEY": CANARIES["fingerprint key in the environment"],
    }
    async with _bridge(record, ", of workers", folder, settings) as scene:
        supervisor = scene.command.process
        children = [int(child) for child in children_of(supervisor.pid).split()]
        record.say("command lines", *map(arguments_of, (supervisor.pid, *children)))
        await _everything(scene)
        await scene.use_replaced_keys()
        os.kill(children[0], signal.SIGKILL)
        await scene.command.until("worker ended")
        record.say("metrics, of workers", *await asyncio.to_thread(_pages, scene.further))
        await scene.command.stop()


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
    async with _bridge(record, ", with settlement", folder, settings) as scene:
        scene.replace_keys()
        for fault in FAULTS:
            scene.then = (fault, GOOD) if fault in MET_AGAIN else (GOOD,)
            await scene.call(fault, PATIENCE_S if fault in MET_AGAIN else TIMEOUT_S)
        await scene.cancels()
        await scene.server.until(lambda: max(scene.tokens.values()) > 2)  # the settler has met one of them
        await scene.command.until('"settlement changed"', '"SETTLED"')
        await scene.command.until("reload failed")
        record.say("metrics, with settlement", *await asyncio.to_thread(_pages, scene.further))
        environ = canary_environment(scene.server.url, folder, settings)
        async with bridge_command("settlement", "list", "--json", environ=environ) as listing:
            assert await listing.end() == 0
        record.say("settlement list", listing.output.encode())
        record.take_files("settlement store", store)
        assert await scene.command.stop() == 0
    record.take_files("settlement store", store)


async def with_tls(record: Record, folder: Path) -> None:
    """Run a bridge that knows its callers and its wallet by certificates; replace its key by nonsense."""
    authority = Authority(folder, "callers_ca")
    ours, other = (authority.client(name, x509.DNSName(f"{name}.example")) for name in ("ours", "other"))
    shown, certificates = authority.server("shown"), Certificates(folder)
    settings = {
        **tls_settings(shown, authority.ca_file, "ours.example"),
        "WALLET__CA_FILE": str(certificates.ca_file),
        "WALLET__CLIENT_CERTIFICATE_FILE": str(certificates.client.certificate_file),
        "WALLET__CLIENT_KEY_FILE": str(certificates.client.key_file),
    }
    key_files = (shown.key_file, certificates.client.key_file)
    for file in key_files:
        record.take_key(file)
    tls = certificates.server.server_context(client_ca_file=certificates.ca_file)
    async with _bridge(record, ", with TLS", folder, settings, further="SERVER__HEALTH_LISTEN", tls=tls) as scene:
        scene.ends.append(await call_over(scene.channel))
        scene.ends.append(await call_once(scene.address, authority.ca_file, other))
        async with channel_to(scene.address, authority.ca_file, ours) as scene.channel:
            await scene.answers()
        async with channel_to(scene.further) as channel:
            for service in ("", "wallet.v1.WalletService"):
                answer = await health_of(channel).Check(health_pb2.HealthCheckRequest(service=service))
                record.say("health", f"{answer}".encode(), answer.SerializeToString())
        for file in key_files:
            file.write_text(file.read_text(encoding="ascii")[:-40], encoding="ascii")
        await scene.command.until("reload failed", "server.tls_key_file")
        await scene.command.until("reload failed", "wallet.client_key_file")
        assert await scene.command.stop() == 0


async def _everything(scene: Scene) -> None:
    scene.replace_keys()
    await scene.answers()
    await scene.refusals()
    await scene.cancels()


@asynccontextmanager
async def _bridge(  # noqa: PLR0913 - what each of them has otherwise
    record: Record,
    which: str,
    folder: Path,
    settings: Mapping[str, str],
    *,
    further: str = "TELEMETRY__METRICS_LISTEN",
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Scene]:
    """Run a wallet, a collector, a bridge and a caller in plaintext; record what the bridge says and leaves behind.

    `further`: the setting of its second address. `tls`: the wallet's.
    """
    cwd, temporary = folder / "cwd", folder / "tmp"
    for place in (cwd, temporary):
        place.mkdir()
    wallet = RandomWallet()
    async with FaultServer(wallet, tls=tls) as server, record.collecting(f"spans{which}") as collector:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
            "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={CANARIES['collector key']}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "TMPDIR": str(temporary),
        }
        with reserved_address() as address:
            environ = canary_environment(server.url, folder, {**settings, further: address})
            async with bridge_command("serve", environ=environ | variables, folder=cwd) as command:
                serving = await command.address()
                async with channel_to(serving) as channel:
                    scene = Scene(command, serving, address, server, wallet, channel, folder)
                    yield scene
    record.take(f"log{which}", command.output, scene.ends, server.requests)
    record.take_files("files left behind", cwd, temporary)


def _pages(address: str) -> list[bytes]:
    return [get(address, path)[1].encode() for path in ("/metrics", "/")]
