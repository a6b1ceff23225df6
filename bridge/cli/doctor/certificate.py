"""What a certificate says of itself, read from its DER: RFC 5280, section 4.1; X.690 for the encoding.

ssl shows this only of a certificate that it has verified, and the doctor has to tell what is wrong with the others.
Nothing is decided by it: whether a certificate is to be trusted is OpenSSL's business.
"""

import base64
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bridge.cli.doctor.finding import Level

# RFC 7468, section 5, and OpenSSL's names for the same thing; the trusted one has more behind the certificate.
PEM = re.compile(rb"-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----(.*?)-----END \1-----", re.DOTALL)

LONG_LENGTH = 0x80
VERSION, EXTENSIONS = 0xA0, 0xA3
DNS_NAME, IP_ADDRESS = 0x82, 0x87
SUBJECT_ALT_NAME = bytes.fromhex("551d11")
COMMON_NAME, ORGANIZATION = bytes.fromhex("550403"), bytes.fromhex("55040a")

UTC_TIME = 0x17
CENTURY_BEGINS = "50"  # RFC 5280, section 4.1.2.5.1: a year of two digits is 1950 to 2049

Element = tuple[int, bytes]
"""Tag and content."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """The part of a certificate that people are told about. Names are as its maker wrote them."""

    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]
    """The host names and addresses that it is for."""
    issuer: str
    """The common name of the authority that signed it, else its organization; "" where it gives neither."""


def certificates_of(pem: bytes) -> tuple[Certificate, ...]:
    """Return every certificate in a PEM file; raise ValueError for one that cannot be read."""
    return tuple(read_certificate(base64.b64decode(block)) for _, block in PEM.findall(pem))


def read_certificate(der: bytes) -> Certificate:
    """Return what a certificate says; raise ValueError for bytes that are none."""
    (_, certificate), *_ = _elements(der)
    (_, to_be_signed), *_ = _elements(certificate)
    fields = [field for field in _elements(to_be_signed) if field[0] != VERSION]
    _serial, _algorithm, (_, issuer), (_, validity), _subject, _key, *rest = fields
    not_before, not_after = map(_time, _elements(validity))
    extensions = b"".join(content for tag, content in rest if tag == EXTENSIONS)
    return Certificate(not_before, not_after, tuple(_alternative_names(extensions)), _name(issuer))


def _elements(data: bytes) -> Iterator[Element]:
    while data:
        (tag, size), data = _split(data, 2)
        if size >= LONG_LENGTH:
            length, data = _split(data, size - LONG_LENGTH)
            size = int.from_bytes(length)
        content, data = _split(data, size)
        yield tag, content


def _split(data: bytes, size: int) -> tuple[bytes, bytes]:
    if len(data) < size:
        raise ValueError("cut short")
    return data[:size], data[size:]


def _time(element: Element) -> datetime:
    tag, content = element
    text = content.decode()
    if tag == UTC_TIME:
        text = ("19" if text[:2] >= CENTURY_BEGINS else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _name(name: bytes) -> str:
    parts: dict[bytes, str] = {}
    for _, attributes in _elements(name):
        for _, attribute in _elements(attributes):
            (_, kind), (_, value) = _elements(attribute)
            parts[kind] = value.decode(errors="replace")
    return parts.get(COMMON_NAME) or parts.get(ORGANIZATION, "")


def _alternative_names(extensions: bytes) -> Iterator[str]:
    for _, sequence in _elements(extensions):
        for _, extension in _elements(sequence):
            (_, kind), *_, (_, value) = _elements(extension)
            if kind == SUBJECT_ALT_NAME:
                ((_, names),) = _elements(value)
                yield from _host_names(names)


def _host_names(names: bytes) -> Iterator[str]:
    for tag, name in _elements(names):
        if tag == DNS_NAME:
            yield name.decode(errors="replace")
        elif tag == IP_ADDRESS:
            yield str(ipaddress.ip_address(name))


def rated(not_before: datetime, not_after: datetime, now: datetime, warn_days: int) -> tuple[Level, str]:
    """Return how good a certificate's time is now, and the words for it, which follow the certificate's name."""
    left = not_after - now
    if now < not_before:
        return Level.FAIL, f"is valid only from {not_before:%Y-%m-%d %H:%M} UTC: is this machine's clock right?"
    if left < timedelta(0):
        return Level.FAIL, f"has expired, on {not_after:%Y-%m-%d}: it must be renewed"
    if left < timedelta(days=warn_days):
        return Level.WARN, f"expires on {not_after:%Y-%m-%d}, in {left.days} days: it must be renewed"
    return Level.OK, f"is valid until {not_after:%Y-%m-%d}"
