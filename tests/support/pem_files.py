"""A folder of certificates and keys, of which each but the good ones has one thing wrong."""

import base64
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

from tests.support.certificates import PrivateKey, certified, days

PKCS8, OPENSSL = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL


def write_pem_files(folder: Path) -> None:
    """Fill a folder; every file's name says what is in it."""
    ca = certified("authority")
    own = certified("bridge.example", issuer=ca)
    pem, key, key_pem, ca_pem = own.pem, own.key, own.key_bytes(), ca.pem
    request = x509.CertificateSigningRequestBuilder(own.certificate.subject)
    revocations = x509.CertificateRevocationListBuilder(ca.certificate.subject, *days(0, 1))
    damaged = pem.replace(pem.splitlines()[3], b"A" * 64)
    files = {
        "own.pem": pem,
        "own.key": key_pem,
        "ca.pem": ca_pem,
        "chain.pem": pem + ca_pem,
        "combined.pem": pem + key_pem,
        "chain-reversed.pem": ca_pem + pem,
        "chain-damaged.pem": pem + damaged,
        "other.key": certified("other").key_bytes(),
        "empty.pem": b"",
        "blank.pem": b" \n\n",
        "text.pem": b"this is no certificate\n",
        "bom.pem": b"\xef\xbb\xbf" + pem,
        "bom-before-two.pem": b"\xef\xbb\xbf" + pem + ca_pem,
        "bom.key": b"\xef\xbb\xbf" + key_pem,
        "utf-16.pem": pem.decode().encode("utf-16"),
        "der.pem": own.certificate.public_bytes(Encoding.DER),
        "der.key": own.key_bytes(Encoding.DER),
        "pkcs12.pem": pkcs12.serialize_key_and_certificates(b"x", key, own.certificate, None, NoEncryption()),
        "pkcs7.pem": pkcs7.serialize_certificates([own.certificate], Encoding.PEM),
        "request.pem": request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM),
        "revocations.pem": revocations.sign(ca.key, hashes.SHA256()).public_bytes(Encoding.PEM),
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
    keys: dict[str, PrivateKey] = {
        "rsa": rsa.generate_private_key(65537, 2048),
        "short": rsa.generate_private_key(65537, 1024),  # noqa: S505 - it is the fault
        "k1": ec.generate_private_key(ec.SECP256K1()),
        "p384": ec.generate_private_key(ec.SECP384R1()),
        "ed448": ed448.Ed448PrivateKey.generate(),
    }
    for name, each in keys.items():
        made = certified(name, issuer=ca, key=each)
        files |= {f"{name}.pem": made.pem, f"{name}.key": made.key_bytes()}
    for name, period in (("expired", days(20, -10)), ("future", days(-10, 20)), ("soon", days(20, 10))):
        files[f"{name}.pem"] = certified(name, (), period, ca, key).pem
        files[f"{name}-behind.pem"] = pem + files[f"{name}.pem"]
    root = certified("authority", (), days(20, -10), key=ca.key).pem
    files["authorities.pem"] = root + ca_pem
    files["expired-root-behind.pem"] = pem + root
    files["path"] = b"/run/secrets/access_key\n"
    files["settlement.key"] = base64.b64encode(bytes(range(32)))
    for name, content in files.items():
        (folder / name).write_bytes(content)
