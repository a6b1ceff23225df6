"""Certificates for tests, good and bad, as files and as TLS contexts. The private keys live as long as the folder."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme


@dataclass(frozen=True)
class Identity:
    """A certificate with its private key, both PEM files."""

    certificate_file: Path
    key_file: Path

    def server_context(self, alpn: Sequence[str] = ("h2",), client_ca_file: Path | None = None) -> ssl.SSLContext:
        """Be a server that presents this certificate, and demands one of its clients if given a CA to check them by.

        An empty `alpn` is a server that does not know ALPN.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca_file)
        context.load_cert_chain(self.certificate_file, self.key_file)
        if client_ca_file:
            context.verify_mode = ssl.CERT_REQUIRED
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


@dataclass(frozen=True)
class Certificates:
    """What a test needs for TLS on 127.0.0.1. All identities but `untrusted` come from the CA in `ca_file`."""

    ca_file: Path
    server: Identity
    """For 127.0.0.1, ::1 and localhost."""
    client: Identity
    """For client.example, to be shown by a client."""
    expired: Identity
    """As `server`, but its time is over."""
    wrong_name: Identity
    """For another host."""
    untrusted: Identity
    """As `server`, but from a CA that is not in `ca_file`."""

    def client_context(self) -> ssl.SSLContext:
        """Be a client that trusts the CA and speaks HTTP/2."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.set_alpn_protocols(["h2"])
        return context


def write_certificates(folder: Path) -> Certificates:
    """Make new certificates and write them into this folder."""
    ca, other = trustme.CA(), trustme.CA()
    ca_file = folder / "ca.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    here = ("127.0.0.1", "::1", "localhost")
    expired = ca.issue_cert(*here, not_after=datetime(2002, 1, 1, tzinfo=UTC))
    return Certificates(
        ca_file=ca_file,
        server=_write(folder, "server", ca.issue_cert(*here)),
        client=_write(folder, "client", ca.issue_cert("client.example")),
        expired=_write(folder, "expired", expired),
        wrong_name=_write(folder, "wrong_name", ca.issue_cert("another.example")),
        untrusted=_write(folder, "untrusted", other.issue_cert(*here)),
    )


def _write(folder: Path, name: str, leaf: trustme.LeafCert) -> Identity:
    identity = Identity(certificate_file=folder / f"{name}.pem", key_file=folder / f"{name}_key.pem")
    leaf.cert_chain_pems[0].write_to_path(str(identity.certificate_file))
    leaf.private_key_pem.write_to_path(str(identity.key_file))
    return identity


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make certificates of every kind, once; no test changes them."""
    return write_certificates(tmp_path_factory.mktemp("certificates"))
