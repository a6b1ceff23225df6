"""Certificates with a life of their own, for what the doctor says of a certificate's time."""

import ipaddress
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from tests.support.certificates import Identity

FOR_LOCALHOST = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])


def issued(folder: Path, *names: str, days: float = 300, begun_days: float = 400) -> tuple[Path, ssl.SSLContext]:
    """Make an authority, and a server that has a certificate from it for these names and so many days."""
    now = datetime.now(UTC)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    leaf = authority.issue_cert(
        *names, not_before=now - timedelta(days=begun_days), not_after=now + timedelta(days=days)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)
    context.set_alpn_protocols(["h2"])
    return folder / "ca.pem", context


def chain_with_expired_middle(folder: Path) -> ssl.SSLContext:
    """Write a root to ca.pem, and make a server whose own certificate is good while the one between them is over."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    root, middle, own = (
        signed(keys[0], keys[0], "root", "root", days=300, is_authority=True),
        signed(keys[1], keys[0], "middle", "root", days=-1, is_authority=True),
        signed(keys[2], keys[1], "own", "middle", days=300, is_authority=False),
    )
    (folder / "ca.pem").write_bytes(root)
    (folder / "own.pem").write_bytes(own + middle)
    write_key(folder / "own.key", keys[2])
    return Identity(folder / "own.pem", folder / "own.key").server_context()


def signed(  # noqa: PLR0913 - what a certificate consists of
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePrivateKey,
    name: str,
    issuer: str,
    *,
    days: float,
    is_authority: bool,
    extensions: Sequence[x509.ExtensionType] = (FOR_LOCALHOST,),
) -> bytes:
    """Make a certificate that is good for so many days, for 127.0.0.1 unless its extensions are others."""
    now = datetime.now(UTC)
    usage = dict.fromkeys(("key_encipherment", "data_encipherment", "key_agreement", "content_commitment"), False)
    usage |= dict.fromkeys(("encipher_only", "decipher_only"), False)
    usage |= {"digital_signature": True, "key_cert_sign": is_authority, "crl_sign": is_authority}
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer_key, hashes.SHA256()).public_bytes(Encoding.PEM)


def with_malformed_name() -> Sequence[x509.ExtensionType]:
    """Name 127.0.0.1, and an address of one byte."""
    names = bytes([0x87, 4, 127, 0, 0, 1, 0x87, 1, 0])
    return [x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes([0x30, len(names)]) + names)]


def for_clients_only() -> Sequence[x509.ExtensionType]:
    """Name 127.0.0.1, and no server's purpose."""
    return [FOR_LOCALHOST, x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])]


def self_signed(folder: Path, extensions: Sequence[x509.ExtensionType]) -> ssl.SSLContext:
    """Write a certificate that has signed itself to own.pem, and make a server that has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "own.pem").write_bytes(signed(key, key, "own", "own", days=300, is_authority=True, extensions=extensions))
    write_key(folder / "own.key", key)
    return Identity(folder / "own.pem", folder / "own.key").server_context()


def write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a private key as PEM."""
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
