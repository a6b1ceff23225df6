"""Callers over TLS for tests: a bridge with TLS, channels to it."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import grpc.aio

from bridge.events import Emit, ignore
from bridge.server.app import BridgeServer, running
from bridge.settings.model import load
from tests.support.certificates import Identity
from tests.support.serving import call_over
from tests.support.whole_path import CHANNEL_OPTIONS, End, environment


def tls_settings(identity: Identity, client_ca_file: Path | None = None, allowed: str = "") -> dict[str, str]:
    """Return the settings of TLS with this certificate, and of mutual TLS with this CA and allow-list."""
    settings = {
        "SERVER__TLS_CERTIFICATE_FILE": str(identity.certificate_file),
        "SERVER__TLS_KEY_FILE": str(identity.key_file),
        "SERVER__TLS_CLIENT_CA_FILE": str(client_ca_file or ""),
        "SERVER__ALLOWED_IDENTITIES": allowed,
    }
    return {name: value for name, value in settings.items() if value}


def listening_bridge(
    wallet_url: str, settings: Mapping[str, str], emit: Emit = ignore
) -> AbstractAsyncContextManager[BridgeServer]:
    """Run a bridge, without a channel to it, that looks for new files all the time."""
    return running(load(None, environment(wallet_url, settings)), emit=emit, watch_interval_s=0.01)


def channel_to(address: str, ca_file: Path | None = None, identity: Identity | None = None) -> grpc.aio.Channel:
    """Open a channel with a connection of its own: over TLS if given a CA to trust, with a certificate if given one."""
    if ca_file is None:
        return grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    pair = (
        (None, None) if identity is None else (identity.key_file.read_bytes(), identity.certificate_file.read_bytes())
    )
    credentials = grpc.ssl_channel_credentials(ca_file.read_bytes(), *pair)
    return grpc.aio.secure_channel(address, credentials, options=CHANNEL_OPTIONS)


async def call_once(address: str, ca_file: Path | None = None, identity: Identity | None = None) -> End:
    """Call Terminate over a channel of its own."""
    async with channel_to(address, ca_file, identity) as channel:
        return await call_over(channel)
