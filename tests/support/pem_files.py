"""A folder of certificates and keys, of which each but the good ones has one thing wrong."""

import base64
import datetime as dt
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
    pkcs12,
)

from tests.support.tls_chains import PrivateKey, name_of, new_key, pem_of, signed

PKCS8, OPENSSL = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL


def write_pem_files(folder: Path) -> None:
    """Fill a folder; every file's name says what is in it."""
    key, other, authority = (new_key() for _ in range(3))

    def certificate(of: PrivateKey, name: str, days: tuple[float, float] = (1, 400)) -> x509.Certificate:
        return signed(of, authority, name, "authority", (), days)

    ca, own = certificate(authority, "authority"), certificate(key, "bridge.example")
    pem, key_pem, ca_pem = own.public_bytes(Encoding.PEM), pem_of(key), ca.public_bytes(Encoding.PEM)
    damaged = pem.replace(pem.splitlines()[3], b"A" * 64)
    files = {
        "own.pem": pem,
        "own.key": key_pem,
        "ca.pem": ca_pem,
        "chain.pem": pem + ca_pem,
        "combined.pem": pem + key_pem,
        "chain-reversed.pem": ca_pem + pem,
        "chain-damaged.pem": pem + damaged,
        "other.key": pem_of(other),
        "empty.pem": b"",
        "blank.pem": b" \n\n",
        "text.pem": b"this is no certificate\n",
        "bom.pem": b"\xef\xbb\xbf" + pem,
        "bom-before-two.pem": b"\xef\xbb\xbf" + pem + ca_pem,
        "bom.key": b"\xef\xbb\xbf" + key_pem,
        "utf-16.pem": pem.decode().encode("utf-16"),
        "der.pem": own.public_bytes(Encoding.DER),
        "der.key": pem_of(key, Encoding.DER),
        "pkcs12.pem": pkcs12.serialize_key_and_certificates(b"x", key, own, None, NoEncryption()),
        "pkcs7.pem": pkcs7.serialize_certificates([own], Encoding.PEM),
        "request.pem": request(key),
        "revocations.pem": revocations(authority),
        "public.pem": key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "cut-off.pem": pem[:300],
        "cut-off.key": key_pem[:100],
        "damaged.pem": damaged,
        "damaged.key": key_pem.replace(key_pem.splitlines()[1], b"A" * 64),
        "escaped.pem": pem.replace(b"\n", rb"\n"),
        "escaped.key": key_pem.replace(b"\n", rb"\n"),
        "indented.pem": b"".join(b"    " + line for line in pem.splitlines(keepends=True)),
        "one-line.pem": pem.replace(b"\n", b" "),
        "encrypted.key": key.private_bytes(Encoding.PEM, PKCS8, BestAvailableEncryption(b"x")),
        "encrypted-old.key": key.private_bytes(Encoding.PEM, OPENSSL, BestAvailableEncryption(b"x")),
        "openssh.key": key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        "trusted.pem": pem.replace(b"CERTIFICATE", b"TRUSTED CERTIFICATE"),
    }
    kinds: dict[str, PrivateKey] = {
        "rsa": rsa.generate_private_key(65537, 2048),
        "short": rsa.generate_private_key(65537, 1024),  # noqa: S505 - it is the fault
        "k1": ec.generate_private_key(ec.SECP256K1()),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "ed448": ed448.Ed448PrivateKey.generate(),
    }
    for name, each in kinds.items():
        files[f"{name}.pem"] = certificate(each, name).public_bytes(Encoding.PEM)
        files[f"{name}.key"] = pem_of(each)
    for name, days in (("expired", (20, -10)), ("future", (-10, 20)), ("soon", (20, 10))):
        dated = certificate(key, name, days)
        files[f"{name}.pem"] = dated.public_bytes(Encoding.PEM)
        files[f"{name}-behind.pem"] = pem + dated.public_bytes(Encoding.PEM)
    root = certificate(authority, "authority", (20, -10))
    files["authorities.pem"] = root.public_bytes(Encoding.PEM) + ca_pem
    files["path"] = b"/run/secrets/access_key\n"
    files["settlement.key"] = base64.b64encode(bytes(range(32)))
    files["expired-root-behind.pem"] = pem + root.public_bytes(Encoding.PEM)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def request(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a certificate request."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(name_of("bridge.example"))
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def revocations(authority: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a revocation list."""
    now = dt.datetime.now(dt.UTC)
    builder = x509.CertificateRevocationListBuilder(name_of("authority"), now, now + dt.timedelta(days=1))
    return builder.sign(authority, hashes.SHA256()).public_bytes(Encoding.PEM)
