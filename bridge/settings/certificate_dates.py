"""Validity of the certificates in use: when each file's ends, and which new ones are not taken up (RFC 5280, 4.1.2.5).

a certificate with its chain    its first certificate counts, which is the one that is shown
authorities                     those that are valid now count: a file may still hold others that have ended
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.events import CertificateInUse, Emit, Event, Reloaded
from bridge.settings.file_watch import ReloadError
from bridge.settings.files import read_file

if TYPE_CHECKING:
    from cryptography import x509

CERTIFICATES = ("server.tls_certificate_file", "wallet.client_certificate_file")
AUTHORITIES = ("server.tls_client_ca_file", "wallet.ca_file")

WARN_DAYS = 14
"""Time before its end at which a certificate is worth a warning. The alert has the same number of days."""


def check_dates(contents: Mapping[str, bytes], now: datetime | None = None) -> None:
    """Raise ReloadError for files, setting -> PEM, of which one holds nothing that is valid now."""
    moment = datetime.now(UTC) if now is None else now
    for key, pem in contents.items():
        if (certificate := _counting(key, pem, moment)) is not None and (why := _invalid(certificate, moment)):
            name = key.rpartition(".")[2]
            raise ReloadError(f"{name}: {why}", passes_with_time=moment < certificate.not_valid_before_utc)


def certificate_in_use(key: str, pem: bytes, now: datetime | None = None) -> CertificateInUse | None:
    """Return when the certificate ends that a setting's file holds; None where it is no file of certificates."""
    moment = datetime.now(UTC) if now is None else now
    if (certificate := _counting(key, pem, moment)) is None:
        return None
    end = certificate.not_valid_after_utc
    problem = _invalid(certificate, moment)
    if not problem and end - moment < timedelta(days=WARN_DAYS):
        problem = f"it ends within {WARN_DAYS} days"
    return CertificateInUse(key, f"{end:%Y-%m-%dT%H:%M:%SZ}", end.timestamp(), problem)


def reporting_dates(emit: Emit, files: Mapping[str, Path]) -> Emit:
    """Return a listener that hands events on, and reports the end of each certificate that comes into use."""

    def reported(event: Event) -> None:
        emit(event)
        if isinstance(event, Reloaded) and event.key in files:
            report_dates(emit, {event.key: files[event.key]})

    return reported


def report_dates(emit: Emit, files: Mapping[str, Path]) -> None:
    """Report when the certificates in these files end, setting -> path."""
    for key, path in files.items():
        content, problem = read_file(path)
        if not problem and (found := certificate_in_use(key, content)) is not None:
            emit(found)


def _counting(key: str, pem: bytes, now: datetime) -> "x509.Certificate | None":
    """Return the certificate of a file that counts; of several authorities that are valid, the first to end."""
    if key not in {*CERTIFICATES, *AUTHORITIES}:
        return None
    # With it come 10 MB that a bridge without such files can do without.
    from cryptography import x509  # noqa: PLC0415 - see above

    try:
        certificates: Sequence[x509.Certificate] = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return None  # OpenSSL takes it, as the settings' check has shown: it is no reason to stop
    if key in CERTIFICATES:
        return certificates[0]
    valid = [each for each in certificates if not _invalid(each, now)]
    if valid:
        return min(valid, key=lambda each: each.not_valid_after_utc)
    return max(certificates, key=lambda each: each.not_valid_after_utc)


def _invalid(certificate: "x509.Certificate", now: datetime) -> str:
    """Return why a certificate is not valid now; "" where it is."""
    if now > certificate.not_valid_after_utc:
        return f"has expired, on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC: renew it"
    if now < certificate.not_valid_before_utc:
        return (
            f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC: it is taken up then, "
            "or is this machine's clock wrong?"
        )
    return ""
