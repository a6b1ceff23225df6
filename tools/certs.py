"""Certificates for trying TLS on one machine: `python tools/certs.py FOLDER`.

    ca.pem                       the authority that signed the others; its key is thrown away
    wallet.pem, wallet_key.pem   of a sandbox, for localhost
    bridge.pem, bridge_key.pem   of a bridge, for localhost
    game.pem, game_key.pem       of a caller, game.example

Files that are there are replaced, so that all of them belong together. They end after 30 days: not for production.
"""

import datetime as dt
import ipaddress
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID as Use
from cryptography.x509.oid import NameOID

VALID = dt.timedelta(days=30)
SKEW = dt.timedelta(minutes=5)
"""How far another machine's clock may be behind."""

HERE = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
)
LEAVES: dict[str, tuple[tuple[x509.GeneralName, ...], x509.ObjectIdentifier]] = {
    "wallet": (HERE, Use.SERVER_AUTH),
    "bridge": (HERE, Use.SERVER_AUTH),
    "game": ((x509.DNSName("game.example"),), Use.CLIENT_AUTH),
}
"""Name -> the names that it proves, and what it is for."""

NO_USAGE = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


@dataclass(frozen=True)
class Authority:
    """An authority with the key that signs; the key is never written."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def new_authority() -> Authority:
    """Make an authority that may sign certificates of servers and clients, and no other authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "wallet-bridge example authority")])
    builder = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(**{**NO_USAGE, "key_cert_sign": True, "crl_sign": True}), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(key, builder.sign(key, hashes.SHA256()))


def issued(
    authority: Authority, name: str, names: tuple[x509.GeneralName, ...], use: x509.ObjectIdentifier
) -> tuple[bytes, bytes]:
    """Return a new certificate of these names for this use, and its key, both PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"wallet-bridge example {name}")])
    signer = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    certificate = (
        _builder(subject, authority.certificate.subject, key.public_key())
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**{**NO_USAGE, "digital_signature": True}), critical=True)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(signer), critical=False)
        .sign(authority.key, hashes.SHA256())
    )
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(*form)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), now - SKEW, now + VALID)


def write(folder: Path) -> None:
    """Make new certificates and write them into this folder, keys readable for their owner alone."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = new_authority()
    (folder / "ca.pem").write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    for name, (names, use) in LEAVES.items():
        certificate, key = issued(authority, name, names, use)
        (folder / f"{name}.pem").write_bytes(certificate)
        key_file = folder / f"{name}_key.pem"
        # Not by chmod afterwards: the key must not be readable for a moment.
        key_file.unlink(missing_ok=True)
        key_file.touch(mode=0o600)
        key_file.write_bytes(key)


def main(folder: Path) -> int:
    """Write the certificates, and say where."""
    write(folder)
    print(f"certs: ca, {', '.join(LEAVES)} in {folder}, for {VALID.days} days, not for production")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
