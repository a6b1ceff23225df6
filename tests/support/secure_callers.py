"""Callers over TLS for tests: authorities that issue certificates with any names, a bridge with TLS, channels to it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bridge.events import Emit, ignore
from bridge.server.app import BridgeServer, running
from bridge.settings.model import load
from tests.support.certificates import Identity
from tests.support.serving import call_over
from tests.support.tls_chains import AUTHORITY, WORKLOAD, Extension, new_key, pem_of, signed
from tests.support.whole_path import CHANNEL_OPTIONS, End, environment

DAYS = (1, 1)
"""Since when, and for how long, certificates are valid."""


class Authority:
    """A CA that writes itself and what it issues into a folder, as <name>.pem and <name>_key.pem."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name, self._key = folder, name, new_key()
        self._certificate = signed(self._key, self._key, name, name, AUTHORITY, DAYS)
        self.ca_file = folder / f"{name}.pem"
        self.ca_file.write_bytes(self._certificate.public_bytes(Encoding.PEM))

    def server(self, name: str) -> Identity:
        """Issue a certificate for 127.0.0.1."""
        return self._issue(name, WORKLOAD)

    def client(self, name: str, *names: x509.GeneralName) -> Identity:
        """Issue a client's certificate with these subject alternative names, which may be URIs, or with none."""
        return self._issue(name, [(x509.SubjectAlternativeName(names), False)] if names else [])

    def _issue(self, name: str, extensions: Sequence[Extension]) -> Identity:
        key = new_key()
        issued = signed(key, self._key, "common.example", self._name, extensions, DAYS)
        identity = Identity(self._folder / f"{name}.pem", self._folder / f"{name}_key.pem")
        identity.certificate_file.write_bytes(issued.public_bytes(Encoding.PEM))
        identity.key_file.write_bytes(pem_of(key))
        return identity


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
