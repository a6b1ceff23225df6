"""Authorities with peculiarities, and servers that have certificates from them."""

import ipaddress
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed448.Ed448PrivateKey
Extension = tuple[x509.ExtensionType, bool]
"""An extension, and whether it is critical."""

USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)

HOST = "127.0.0.1"
SAN: Extension = (x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), False)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new private key."""
    return ec.generate_private_key(ec.SECP256R1())


def pem_of(key: PrivateKey, encoding: Encoding = Encoding.PEM) -> bytes:
    """Return a private key as PKCS#8, not encrypted."""
    return key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())


def usage(*names: str, critical: bool = True) -> Extension:
    """Return a keyUsage extension with these usages."""
    return x509.KeyUsage(**dict.fromkeys(USAGES, False) | dict.fromkeys(names, True)), critical


def constraints(*, ca: bool, critical: bool = True, path_length: int | None = None) -> Extension:
    """Return a basicConstraints extension."""
    return x509.BasicConstraints(ca=ca, path_length=path_length), critical


AUTHORITY: Sequence[Extension] = (constraints(ca=True), usage("key_cert_sign", "crl_sign"))
WORKLOAD: Sequence[Extension] = (SAN, constraints(ca=False))


@dataclass(frozen=True)
class Chain:
    """A server's certificate and the authorities above it, the root last."""

    keys: Sequence[ec.EllipticCurvePrivateKey]
    certificates: Sequence[x509.Certificate]

    def ca_file(self, folder: Path) -> Path:
        """Write the root and return its file."""
        path = folder / "ca.pem"
        path.write_bytes(self.certificates[-1].public_bytes(Encoding.PEM))
        return path

    def server_context(self, folder: Path) -> ssl.SSLContext:
        """Return the context of a server that shows everything below the root."""
        shown = self.certificates[: max(1, len(self.certificates) - 1)]
        own, key = folder / "own.pem", folder / "own.key"
        own.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in shown))
        key.write_bytes(pem_of(self.keys[0]))
        # Not the default context: that obeys SSLKEYLOGFILE.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own, key)
        context.set_alpn_protocols(["h2"])
        return context


def chain(
    *levels: Sequence[Extension],
    common_name: str = "own",
    begun_days: float = 1,
    left_days: float = 1,
    left_days_above: Mapping[int, float] = MappingProxyType({}),
) -> Chain:
    """Make a chain of certificates with these extensions: the server's first, the root last, which signs itself.

    The server's is valid since so many days and for so many days; those above for 2, or for as many as their level has.
    """
    keys = [new_key() for _ in levels]
    names = [common_name, *(f"authority {level}" for level in range(1, len(levels)))]
    made = []
    for level, extensions in enumerate(levels):
        above = min(level + 1, len(levels) - 1)
        days = (begun_days, left_days) if level == 0 else (2, left_days_above.get(level, 2))
        made.append(signed(keys[level], keys[above], names[level], names[above], extensions, days))
    return Chain(keys, made)


def signed(  # noqa: PLR0913, PLR0917 - what a certificate consists of
    key: PrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    name: str,
    issuer: str,
    extensions: Sequence[Extension],
    days: tuple[float, float],
) -> x509.Certificate:
    """Return a certificate for this key, valid since so many days and for so many days."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(name))
        .issuer_name(name_of(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())


def name_of(common_name: str) -> x509.Name:
    """Return a name."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
