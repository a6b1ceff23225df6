"""Bridges that serve, as processes and in the test's own, channels to them, and calls that meet each worker."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bridge.events import Emit, ignore
from bridge.sandbox.server import FaultServer
from bridge.server.app import BridgeServer, running
from bridge.settings.model import load
from tests.support.certificates import Identity
from tests.support.processes import Command, bridge_command, children_of
from tests.support.settings_files import ACCESS_KEY
from tests.support.whole_path import CHANNEL_OPTIONS, NO_SETTINGS, PATIENCE_S, End, call_over, environment

health_of: Any = health_pb2_grpc.HealthStub
"""A stub for health on a channel; its generated type is that of another kind of channel."""

CALLS_MAX = 64
"""The kernel chooses a connection's worker by a hash: that so many have the same one is as likely as 1 in 2^63."""

NOWHERE = "http://127.0.0.1:1"
"""A wallet for tests that do not call it."""

TWO = {"SERVER__WORKERS": "2"}


@asynccontextmanager
async def serving(
    wallet_url: str, settings: Mapping[str, str] = NO_SETTINGS, within: Sequence[str] = (), **variables: str
) -> AsyncIterator[tuple[Command, grpc.aio.Channel]]:
    """Run `bridge serve` until it serves, with these variables beside the settings; yield a channel to it, too."""
    environ = {**environment(wallet_url, settings), **variables}
    async with (
        bridge_command("serve", environ=environ, within=within) as command,
        channel_to(await command.address()) as channel,
    ):
        yield command, channel


def listening_bridge(
    wallet_url: str, settings: Mapping[str, str], emit: Emit = ignore
) -> AbstractAsyncContextManager[BridgeServer]:
    """Run a bridge, without a channel to it, that looks for new files all the time."""
    return running(load(None, environment(wallet_url, settings)), emit=emit, watch_interval_s=0.01)


def tls_settings(identity: Identity, client_ca_file: Path | None = None, allowed: str = "") -> dict[str, str]:
    """Return the settings of TLS with this certificate, and of mutual TLS with this CA and allow-list."""
    settings = {
        "SERVER__TLS_CERTIFICATE_FILE": str(identity.certificate_file),
        "SERVER__TLS_KEY_FILE": str(identity.key_file),
        "SERVER__TLS_CLIENT_CA_FILE": str(client_ca_file or ""),
        "SERVER__ALLOWED_IDENTITIES": allowed,
    }
    return {name: value for name, value in settings.items() if value}


def channel_to(address: str, ca_file: Path | None = None, identity: Identity | None = None) -> grpc.aio.Channel:
    """Open a channel with a connection of its own: over TLS if given a CA to trust, with a certificate if given one."""
    if ca_file is None:
        return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    pair = (identity.key_file.read_bytes(), identity.certificate_file.read_bytes()) if identity else ()
    credentials = grpc.ssl_channel_credentials(ca_file.read_bytes(), *pair)
    return grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)


async def call_once(address: str, ca_file: Path | None = None, identity: Identity | None = None, **fields: Any) -> End:
    """Call Terminate over a channel of its own, with what `call_over` takes."""
    async with channel_to(address, ca_file, identity) as channel:
        return await call_over(channel, **fields)


def watch_health(channel: grpc.aio.Channel) -> Any:
    """Watch the health of the whole."""
    return health_of(channel).Watch(health_pb2.HealthCheckRequest())


@dataclass
class Supervised:
    """A running `bridge serve` with two workers, before a wallet."""

    command: Command
    wallet: FaultServer
    address: str = ""
    pids: dict[int, int] = field(default_factory=dict)
    """The process id of the worker in each place, as far as the log was read."""

    async def event(self, name: str) -> dict[str, Any]:
        """Read on in the log until an event of this name; return its fields."""
        while True:
            fields: dict[str, Any] = json.loads(await self.command.line('"event"'))
            if fields["event"] == "worker started":
                self.pids[fields["worker"]] = fields["pid"]
            if fields["event"] == name:
                return fields

    async def until_all_drain(self) -> None:
        """Read on until every worker has said that it drains."""
        for _ in self.pids:
            await self.event("draining")

    async def call(self, **fields: Any) -> End:
        """Call on a connection of its own, with what `call_over` takes."""
        return await call_once(self.address, **fields)

    async def meet_all(self) -> None:
        """Call, one call after the other, until all workers have carried out one; all calls must be OK.

        A worker is known by its connection to the wallet: it has only one, and none before its first call.
        """
        async with asyncio.timeout(PATIENCE_S):
            while len(self.wallet.open_connections) < len(self.pids):
                end = await self.call()
                assert end.code == "OK", end

    async def hold_calls(self) -> dict[str, asyncio.Task[End]]:
        """Call until every worker has a call in flight, which the wallet must hold; return all calls by their token."""
        calls: dict[str, asyncio.Task[End]] = {}
        while len(self.wallet.open_connections) < len(self.pids):
            token = f"held-{len(calls)}"
            calls[token] = asyncio.create_task(self.call(token=token))
            await self.wallet.until(lambda: len(self.wallet.requests) == len(calls))
            assert len(calls) < CALLS_MAX
        return calls


@asynccontextmanager
async def supervised(
    wallet: FaultServer, settings: Mapping[str, str] = NO_SETTINGS, *arguments: str, **variables: str
) -> AsyncIterator[Supervised]:
    """Run `bridge serve` with two workers until all serve, and leave nothing of it behind.

    `variables` of the environment are none of the bridge's settings.
    """
    environ = environment(wallet.url, {**TWO, "WALLET__CONNECTIONS_MAX": "1", **settings})
    async with bridge_command("serve", *arguments, environ=environ | variables) as command:
        bridge = Supervised(command, wallet)
        try:
            bridge.address = (await bridge.event("serving"))["address"]
            yield bridge
        finally:
            if command.process.returncode is None:
                # A supervisor that is stopped starts no others, and collects none, so that no id is another process's.
                command.process.send_signal(signal.SIGSTOP)
                for worker in children_of(command.process.pid).split():
                    os.kill(int(worker), signal.SIGKILL)
                command.process.kill()


def key_in(file: Path) -> dict[str, str]:
    """Return the settings of one more provider, whose private key is in this file."""
    provider = "WALLET__PROVIDERS__777"
    return {f"{provider}__ACCESS_KEY": ACCESS_KEY, f"{provider}__PRIVATE_KEY_FILE": str(file)}
