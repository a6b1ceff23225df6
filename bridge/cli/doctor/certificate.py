"""Facts of certificates for people: dates, names, issuer (RFC 5280, section 4.1).

ssl shows these only for a certificate that it has verified, and the doctor reports what is wrong with the others.
Nothing is decided here: OpenSSL decides whether a certificate is trusted.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.x509.oid import NameOID

from bridge.cli.doctor.finding import Level


@dataclass(frozen=True, slots=True)
class Certificate:
    """The part of a certificate that people need. Names are as its maker wrote them."""

    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]
    """The host names and addresses that it is for."""
    issuer: str
    """The common name of the authority that signed it, else its organization; "" where it gives neither."""


def read_certificate(der: bytes) -> Certificate:
    """Return what a certificate says; raise ValueError for bytes that are none."""
    try:
        made = x509.load_der_x509_certificate(der)
        names = tuple(_host_names(made.extensions))
        return Certificate(made.not_valid_before_utc, made.not_valid_after_utc, names, _name(made.issuer))
    except Exception:  # noqa: BLE001 - bytes of a peer: whatever the parser makes of them, they are no certificate
        problem = "it is no certificate that can be read"
    # Raised out here, so that no exception hangs on it that holds a part of it.
    raise ValueError(problem)


def _host_names(extensions: x509.Extensions) -> Iterable[str]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return [str(name.value) for name in names if isinstance(name, (x509.DNSName, x509.IPAddress))]


def _name(name: x509.Name) -> str:
    for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME):
        for attribute in name.get_attributes_for_oid(kind):
            return attribute.value if isinstance(attribute.value, str) else attribute.value.decode(errors="replace")
    return ""


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
