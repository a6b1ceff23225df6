"""Clients' certificates for tests of identities: any subject alternative names, byte for byte."""

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID

from tests.support.doctor_certificates import signed

KEY = ec.generate_private_key(ec.SECP256R1())

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


def certificate(*extensions: x509.ExtensionType, is_authority: bool = False) -> bytes:
    """Return a certificate as PEM: of a workload, or one that may sign others."""
    return signed(KEY, KEY, "a.example", "a.example", days=1, is_authority=is_authority, extensions=extensions)


def with_usages(san: x509.ExtensionType, *usages: str) -> bytes:
    """Return a certificate with these names that is no authority's, and yet has these key usages."""
    flags = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
            *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([]))
    whole = x509.load_pem_x509_certificate(certificate())
    builder = builder.public_key(KEY.public_key()).serial_number(7).not_valid_before(whole.not_valid_before_utc)
    builder = builder.not_valid_after(whole.not_valid_after_utc).add_extension(san, critical=False)
    builder = builder.add_extension(x509.KeyUsage(**(flags | dict.fromkeys(usages, True))), critical=True)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
