"""Callers over TLS for tests: authorities that issue certificates with any names, a bridge with TLS, channels to it."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import grpc.aio
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bridge.events import Event
from bridge.server.app import BridgeServer, running
from bridge.settings.model import load
from tests.support.certificates import Identity
from tests.support.whole_path import End, end_of, environment, terminate_request
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

# No retries that hide what the bridge did, and no connection that another channel has made.
OPTIONS = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))

EventT = TypeVar("EventT", bound=Event)


class Authority:
    """A CA that writes itself and what it issues into a folder, as <name>.pem and <name>_key.pem."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.ca_file = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(str(self.ca_file))

    def server(self, name: str) -> Identity:
        """Issue a certificate for 127.0.0.1."""
        issued = self._ca.issue_cert("127.0.0.1")
        return self._write(name, issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())

    def client(self, name: str, *names: x509.GeneralName) -> Identity:
        """Issue a client's certificate with these subject alternative names, which may be URIs, or with none."""
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = x509.load_pem_x509_certificate(self._ca.cert_pem.bytes())
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder(
            issuer_name=issuer.subject,
            subject_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "common.example")]),
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - dt.timedelta(hours=1),
            not_valid_after=now + dt.timedelta(hours=1),
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        signed = builder.sign(self._signing_key(), hashes.SHA256())
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        return self._write(name, signed.public_bytes(serialization.Encoding.PEM), key.private_bytes(*form))

    def _signing_key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self._ca.private_key_pem.bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key

    def _write(self, name: str, certificate: bytes, key: bytes) -> Identity:
        identity = Identity(self._folder / f"{name}.pem", self._folder / f"{name}_key.pem")
        identity.certificate_file.write_bytes(certificate)
        identity.key_file.write_bytes(key)
        return identity


@dataclass
class Received:
    """Events of a bridge, to be waited for."""

    _events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)

    def __call__(self, event: Event) -> None:
        """Take an event."""
        self._events.put_nowait(event)

    async def next(self, kind: type[EventT]) -> EventT:
        """Wait for the next event of a kind; forget others on the way."""
        while True:
            event = await self._events.get()
            if isinstance(event, kind):
                return event


def tls_settings(identity: Identity, client_ca_file: Path | None = None, allowed: str = "") -> dict[str, str]:
    """Return the settings of TLS with this certificate, and of mutual TLS with this CA and allow-list."""
    settings = {
        "SERVER__TLS_CERTIFICATE_FILE": str(identity.certificate_file),
        "SERVER__TLS_KEY_FILE": str(identity.key_file),
        "SERVER__TLS_CLIENT_CA_FILE": str(client_ca_file or ""),
        "SERVER__ALLOWED_IDENTITIES": allowed,
    }
    return {name: value for name, value in settings.items() if value}


@asynccontextmanager
async def listening_bridge(
    wallet_url: str, settings: Mapping[str, str], received: Received | None = None
) -> AsyncIterator[BridgeServer]:
    """Run a bridge, without a channel to it, that looks for new files all the time."""
    configured = load(None, environment(wallet_url, settings))
    async with running(configured, emit=received or Received(), watch_interval_s=0.01) as bridge:
        yield bridge


def channel_to(address: str, ca_file: Path | None = None, identity: Identity | None = None) -> grpc.aio.Channel:
    """Open a channel with a connection of its own: over TLS if given a CA to trust, with a certificate if given one."""
    if ca_file is None:
        return grpc.aio.insecure_channel(address, options=OPTIONS)
    pair = (
        (None, None) if identity is None else (identity.key_file.read_bytes(), identity.certificate_file.read_bytes())
    )
    credentials = grpc.ssl_channel_credentials(ca_file.read_bytes(), *pair)
    return grpc.aio.secure_channel(address, credentials, options=OPTIONS)


async def call_over(channel: grpc.aio.Channel) -> End:
    """Call Terminate with the wallet page's example."""
    return await end_of(WalletServiceStub(channel).Terminate(terminate_request()))


async def call_once(address: str, ca_file: Path | None = None, identity: Identity | None = None) -> End:
    """Call Terminate over a channel of its own."""
    async with channel_to(address, ca_file, identity) as channel:
        return await call_over(channel)


async def shown_certificate(address: str) -> str:
    """Return the certificate that a new connection is shown, as PEM."""
    host, _, port = address.rpartition(":")
    return await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
