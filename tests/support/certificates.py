"""Certificates for tests, good and bad: with any extensions, in chains, of authorities, as files and TLS contexts."""

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtensionOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed448.Ed448PrivateKey
Extension = tuple[x509.ExtensionType, bool]
"""An extension, and whether it is critical."""
Period = tuple[datetime, datetime]

USAGES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)

# RFC 5280, section 4.2.1.6: the context tags of a GeneralName.
OTHER_NAME, EMAIL, DNS, URI, IP = 0xA0, 0x81, 0x82, 0x86, 0x87
SEQUENCE = 0x30

HOST = "127.0.0.1"
EVER, OVER = ((datetime(2000, 1, 1, tzinfo=UTC), datetime(year, 1, 1, tzinfo=UTC)) for year in (3000, 2002))


def days(begun: float, left: float) -> Period:
    """Return what began so many days ago and has so many left."""
    now = datetime.now(UTC)
    return now - timedelta(days=begun), now + timedelta(days=left)


def usage(*names: str, critical: bool = True) -> Extension:
    """Return a keyUsage extension with these usages."""
    return x509.KeyUsage(**dict.fromkeys(USAGES, False) | dict.fromkeys(names, True)), critical


def constraints(*, ca: bool, critical: bool = True, path_length: int | None = None) -> Extension:
    """Return a basicConstraints extension."""
    return x509.BasicConstraints(ca=ca, path_length=path_length), critical


def alternative(*names: x509.GeneralName) -> Extension:
    """Return a subjectAltName extension with these names."""
    return x509.SubjectAlternativeName(names), False


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


SAN = alternative(*(x509.IPAddress(ip_address(each)) for each in (HOST, "::1")), x509.DNSName("localhost"))
AUTHORITY: Sequence[Extension] = (constraints(ca=True), usage("key_cert_sign", "crl_sign"))
WORKLOAD: Sequence[Extension] = (SAN, constraints(ca=False))


@dataclass(frozen=True)
class Identity:
    """A certificate with its private key, both PEM files."""

    certificate_file: Path
    key_file: Path

    def server_context(self, alpn: Sequence[str] = ("h2",), client_ca_file: Path | None = None) -> ssl.SSLContext:
        """Be a server that presents this certificate, and demands one of its clients if given a CA to check them by.

        An empty `alpn` is a server that does not know ALPN.
        """
        # Not the default context: that obeys SSLKEYLOGFILE.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate_file, self.key_file)
        if client_ca_file:
            context.load_verify_locations(client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
        if alpn:
            context.set_alpn_protocols(list(alpn))
        return context


@dataclass(frozen=True)
class Certified:
    """A certificate with its private key, in memory."""

    key: PrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    def key_bytes(self, encoding: Encoding = Encoding.PEM) -> bytes:
        """Return the private key as PKCS#8, not encrypted."""
        return self.key.private_bytes(encoding, PrivateFormat.PKCS8, NoEncryption())

    def written(self, folder: Path, name: str, further: bytes = b"") -> Identity:
        """Write both into a folder, the certificate with further ones behind it."""
        identity = Identity(folder / f"{name}.pem", folder / f"{name}_key.pem")
        identity.certificate_file.write_bytes(self.pem + further)
        identity.key_file.write_bytes(self.key_bytes())
        return identity


def certified(
    name: str,
    extensions: Sequence[Extension] = (),
    period: Period = EVER,
    issuer: Certified | None = None,
    key: PrivateKey | None = None,
) -> Certified:
    """Make a certificate, which signs itself unless it is given an issuer, for a new key unless it is given one."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(period[0])
        .not_valid_after(period[1])
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return Certified(key, builder.sign(issuer.key if issuer else key, hashes.SHA256()))


def certificate(
    *extensions: x509.ExtensionType, is_authority: bool = False, usages: Sequence[str] = ("digital_signature",)
) -> bytes:
    """Return a certificate with these key usages as PEM; an authority is one by its basic constraints."""
    own = [*((extension, False) for extension in extensions), constraints(ca=is_authority), usage(*usages)]
    return certified("own", own).pem


class Chain(list[Certified]):
    """A server's certificate and the authorities above it, the root last."""

    def ca_file(self, folder: Path) -> Path:
        """Write the root and return its file."""
        path = folder / "ca.pem"
        path.write_bytes(self[-1].pem)
        return path

    def server_context(self, folder: Path) -> ssl.SSLContext:
        """Return the context of a server that shows everything below the root."""
        return self[0].written(folder, "own", b"".join(each.pem for each in self[1:-1])).server_context()


def chain(
    *levels: Sequence[Extension], common_name: str = "own", periods: Mapping[int, Period] = MappingProxyType({})
) -> Chain:
    """Make a chain of certificates with these extensions: the server's first, the root last, which signs itself.

    They are valid for another day, unless their level has a period.
    """
    made = Chain()
    for level, extensions in reversed(list(enumerate(levels))):
        name = f"authority {level}" if level else common_name
        made.insert(0, certified(name, extensions, periods.get(level) or days(1, 1), made[0] if made else None))
    return made


class Authority:
    """A CA that writes itself and what it issues into a folder, as <name>.pem and <name>_key.pem."""

    def __init__(self, folder: Path, name: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._folder, identifier = folder, x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        self._own = certified(name, [*AUTHORITY, (identifier, False)], key=key)
        self._identifier = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        self.ca_file = folder / f"{name}.pem"
        self.ca_file.write_bytes(self._own.pem)

    def server(self, name: str, period: Period = EVER) -> Identity:
        """Issue a certificate for 127.0.0.1, ::1 and localhost."""
        return self._issue(name, WORKLOAD, period)

    def client(self, name: str, *names: x509.GeneralName) -> Identity:
        """Issue a client's certificate with these subject alternative names, which may be URIs, or with none."""
        return self._issue(name, [alternative(*names)] if names else [], EVER)

    def _issue(self, name: str, extensions: Sequence[Extension], period: Period) -> Identity:
        extensions = [*extensions, (self._identifier, False)]
        return certified("common.example", extensions, period, self._own).written(self._folder, name)


class Certificates:
    """What a test needs for TLS on 127.0.0.1, in a folder. All identities but `untrusted` come from the CA."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder, "ca")
        self.ca_file = authority.ca_file
        self.server = authority.server("server")
        self.expired = authority.server("expired", OVER)
        """As `server`, but its time is over."""
        self.client = authority.client("client", x509.DNSName("client.example"))
        """To be shown by a client."""
        self.wrong_name = authority.client("wrong_name", x509.DNSName("another.example"))
        """For another host."""
        self.untrusted = Authority(folder, "other_ca").server("untrusted")
        """As `server`, but from a CA that is not in `ca_file`."""

    def client_context(self) -> ssl.SSLContext:
        """Be a client that trusts the CA and speaks HTTP/2."""
        context = ssl.create_default_context(cafile=self.ca_file)
        context.set_alpn_protocols(["h2"])
        return context


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Make certificates of every kind, once; no test changes them."""
    return Certificates(tmp_path_factory.mktemp("certificates"))
