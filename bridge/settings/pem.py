"""Faults of PEM files of certificates and keys, in words that hold nothing of the file (RFC 7468).

OpenSSL decides whether a file can be used (types.py). Here is only the reason why it cannot.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]*)-----")
CERTIFICATE = re.compile(rb"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----(.*?)-----END \1-----", re.DOTALL)
"""A certificate; RFC 7468, section 5, and OpenSSL's names for the same thing."""

BOM_UTF8, BOMS_UTF16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
DER_SEQUENCE = b"\x30"
"""First byte of every certificate and key in DER: X.690, section 8.9."""
PKCS12_VERSION = b"\x02\x01\x03"
"""Start of the contents of PKCS#12: version 3 (RFC 7292, section 4)."""

ENCRYPTED_MARKS = (b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED")
"""RFC 5958 in PEM (RFC 7468, section 11), and the older form (RFC 1421, section 4.6.1.1)."""

NO_CERTIFICATE: Mapping[bytes, str] = MappingProxyType(
    {
        b"PRIVATE KEY": "holds a private key and no certificate: are the two files swapped?",
        b"CERTIFICATE REQUEST": "holds a certificate request (CSR), not the certificate that was issued for it",
        b"PUBLIC KEY": "holds a public key and no certificate",
        b"PKCS7": "holds PKCS#7: convert it with openssl pkcs7 -print_certs",
        b"CMS": "holds PKCS#7: convert it with openssl pkcs7 -print_certs",
        b"X509 CRL": "holds a revocation list (CRL) and no certificate",
    }
)
"""End of a PEM label -> what is wrong with a file of certificates that holds only this."""

NO_KEY: Mapping[bytes, str] = MappingProxyType(
    {
        b"OPENSSH PRIVATE KEY": "holds a key in OpenSSH's own form: convert it with ssh-keygen -p -m PKCS8",
        b"CERTIFICATE REQUEST": "holds a certificate request (CSR) and no private key",
        b"CERTIFICATE": "holds a certificate and no private key: are the two files swapped?",
        b"PUBLIC KEY": "holds a public key, not the private one",
        b"EC PARAMETERS": "holds only the parameters of a key, not the key",
    }
)
"""The same for a file of a private key."""

CERTIFICATE_DER: Mapping[bool, str] = MappingProxyType(
    {
        False: "is DER, not PEM: convert it with openssl x509 -inform der",
        True: "is PKCS#12, not PEM: convert it with openssl pkcs12 -nokeys",
    }
)
"""Whether it is PKCS#12 -> what to do."""
KEY_DER: Mapping[bool, str] = MappingProxyType(
    {
        False: "is DER, not PEM: convert it with openssl pkey -inform der",
        True: "is PKCS#12, not PEM: convert it with openssl pkcs12 -nocerts -nodes",
    }
)

GRPC_CURVES = frozenset({"secp256r1", "secp384r1", "secp521r1"})

OPENSSL_REASONS: Mapping[str, str] = MappingProxyType(
    {
        "EE_KEY_TOO_SMALL": "the certificate's key is too short to be safe: RSA must have 2048 bits or more",
        "CA_KEY_TOO_SMALL": "a key in the chain is too short to be safe: RSA must have 2048 bits or more",
        "CA_MD_TOO_WEAK": "a certificate is signed with a digest that is not safe, like SHA-1: have it issued again",
    }
)
"""OpenSSL's name of an error -> what is wrong with a pair whose halves can both be read."""


def begins_with_bom(content: bytes) -> bool:
    """Say whether a byte order mark hides the first line of a PEM file, which OpenSSL would then skip silently."""
    return content.startswith(BOM_UTF8 + b"-----BEGIN")


def certificates_problem(content: bytes) -> str:
    """Return why OpenSSL finds no certificate in a file, or not all of them."""
    if problem := _form_problem(content, "CERTIFICATE", CERTIFICATE_DER):
        return problem
    labels = BEGIN.findall(content)
    if not any(label.endswith(b"CERTIFICATE") for label in labels):
        return _instead(labels, NO_CERTIFICATE) or "holds no certificate"
    return _damage(content, b"CERTIFICATE", _damaged_certificate)


def key_problem(content: bytes) -> str:
    """Return why OpenSSL finds no key in a file; "" where it should find one."""
    if problem := _form_problem(content, "PRIVATE KEY", KEY_DER):
        return problem
    labels = BEGIN.findall(content)
    if b"OPENSSH PRIVATE KEY" in labels or not any(label.endswith(b"PRIVATE KEY") for label in labels):
        return _instead(labels, NO_KEY) or "holds no private key"
    if any(mark in content for mark in ENCRYPTED_MARKS):
        return "is encrypted, and the bridge has no passphrase: decrypt it with openssl pkey -in FILE -out NEW"
    return "" if _public_key(content) else _damage(content, b"PRIVATE KEY", _damaged_key)


def pair_problem(certificates: bytes, key: bytes, certificate_name: str, openssl_reason: str) -> str:
    """Return why two files that can be read are no pair. `openssl_reason`: its name of the error; "" for none."""
    own = _public_key(key)
    shown = [_public_key_of_certificate(der) for der in _blocks(certificates)]
    if own in shown[1:]:
        return (
            f"is the key of certificate {shown.index(own, 1) + 1} in {certificate_name}, where it must be that of the "
            "first: put the bridge's own certificate first, then those above it"
        )
    if own not in shown:
        return f"is not the key of the certificate in {certificate_name}: it belongs to another certificate"
    reason = OPENSSL_REASONS.get(openssl_reason, f"OpenSSL refuses it ({openssl_reason or 'without a reason'})")
    return f"cannot be used with {certificate_name}: {reason}"


def grpc_problem(content: bytes) -> str:
    """Return why gRPC could not show this certificate to callers; "" where it can: BoringSSL knows fewer kinds."""
    found = CERTIFICATE.search(content)
    if found is not None and found[1] == b"TRUSTED CERTIFICATE":
        return "holds a certificate in a form of OpenSSL's own (TRUSTED): convert it with openssl x509"
    if found is None or _is_kind_for_grpc(_decoded(found[2])):
        return ""
    return "has a kind of key that gRPC cannot use: take RSA, ECDSA with P-256, P-384 or P-521, or Ed25519"


def _is_kind_for_grpc(der: bytes) -> bool:
    # With it come 10 MB that a bridge without such files can do without; so below.
    from cryptography import x509  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - likewise

    key = _public_key_of_certificate(der)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name in GRPC_CURVES
    kinds = {x509.PublicKeyAlgorithmOID.RSAES_PKCS1_v1_5, x509.PublicKeyAlgorithmOID.ED25519}
    return key is None or x509.load_der_x509_certificate(der).public_key_algorithm_oid in kinds


# --- the parts of a file ----------------------------------------------------------------------------------------


def _form_problem(content: bytes, label: str, der: Mapping[bool, str]) -> str:
    """Return why a file is no PEM at all; "" where it is."""
    if not content.strip():
        return "is empty"
    if content.startswith(BOMS_UTF16):
        return "is UTF-16, not PEM: save it as UTF-8 without a byte order mark"
    if begins_with_bom(content):
        return "begins with a byte order mark (BOM): save it as UTF-8 without one"
    if BEGIN.search(content):
        return ""
    if content.startswith(DER_SEQUENCE):
        return der[PKCS12_VERSION in content[:8]]
    return f"is not PEM: it has no line -----BEGIN {label}-----"


def _instead(labels: list[bytes], problems: Mapping[bytes, str]) -> str:
    found = (problem for end, problem in problems.items() if any(label.endswith(end) for label in labels))
    return next(found, "")


def _damage(content: bytes, label: bytes, damaged: Callable[[bytes], str]) -> str:
    """Return what happened to a file of the right kind on its way."""
    if rb"\n" in content:
        return r"has \n written out where its lines should end: put line ends there"
    begins, ends = (re.findall(rb"-----%s [A-Z0-9 ]*%s-----" % (word, label), content) for word in (b"BEGIN", b"END"))
    if len(begins) != len(ends):
        return f"is cut off: a line -----END {label.decode()}----- is missing"
    if not re.search(rb"^-----BEGIN [A-Z0-9 ]*-----\s*$", content, re.MULTILINE):
        return "is indented, or all on one line: a line -----BEGIN ...----- must stand alone, at its left end"
    return damaged(content)


def _damaged_certificate(content: bytes) -> str:
    for number, der in enumerate(_blocks(content), 1):
        if _public_key_of_certificate(der) is None:
            return f"is damaged: certificate {number} in it cannot be read"
    return "holds no certificate that OpenSSL can read"


def _damaged_key(_content: bytes) -> str:
    return "is damaged: the private key in it cannot be read"


def _blocks(content: bytes) -> list[bytes]:
    return [_decoded(block) for _, block in CERTIFICATE.findall(content)]


def _decoded(block: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(block.split()), validate=True)
    except binascii.Error:
        return b""


def _public_key_of_certificate(der: bytes) -> object:
    """Return what can be compared with a key; None where the certificate cannot be read."""
    from cryptography import x509  # noqa: PLC0415 - see above

    try:
        return x509.load_der_x509_certificate(der).public_key()
    except Exception:  # noqa: BLE001 - whatever the parser makes of it, it is no certificate
        return None


def _public_key(pem: bytes) -> object:
    """Return the public half of a private key; None where it cannot be read."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415 - see above

    try:
        return load_pem_private_key(pem, password=None).public_key()
    except Exception:  # noqa: BLE001 - likewise
        return None
