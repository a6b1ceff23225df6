"""Bridges that serve, in processes of their own and in the test's, channels to them, and what is asked over those."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bridge.events import Emit, ignore
from bridge.server.app import BridgeServer, running
from bridge.settings.model import load
from tests.support.certificates import Identity
from tests.support.processes import Command, bridge_command
from tests.support.whole_path import CHANNEL_OPTIONS, NO_SETTINGS, End, call_over, environment

health_of: Any = health_pb2_grpc.HealthStub
"""A stub for health on a channel; its generated type is that of another kind of channel."""


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
