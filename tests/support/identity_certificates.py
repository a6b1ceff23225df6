"""Clients' certificates for tests of identities: any subject alternative names, byte for byte."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from tests.support.certificates import certified, constraints, usage

# RFC 5280, section 4.2.1.6: the context tags of a GeneralName.
OTHER_NAME, EMAIL, DNS, URI, IP = 0xA0, 0x81, 0x82, 0x86, 0x87
SEQUENCE = 0x30


def element(tag: int, content: bytes) -> bytes:
    """Return a DER element (X.690, section 8.1)."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def with_san(der: bytes) -> x509.ExtensionType:
    """Return a subjectAltName extension of these bytes, whether or not they are one."""
    return x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, der)


def names(*general_names: tuple[int, bytes]) -> x509.ExtensionType:
    """Return a subjectAltName extension with these names: tag and content."""
    return with_san(element(SEQUENCE, b"".join(element(tag, content) for tag, content in general_names)))


def certificate(
    *extensions: x509.ExtensionType, is_authority: bool = False, usages: Sequence[str] = ("digital_signature",)
) -> bytes:
    """Return a certificate with these key usages as PEM; an authority is one by its basic constraints."""
    own = [*((extension, False) for extension in extensions), constraints(ca=is_authority), usage(*usages)]
    return certified("own", own).pem
