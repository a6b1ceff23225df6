"""Certificates in the files that settings name: until when they are valid, and whether a chain is one.

a certificate with its chain    the first one is in use; those behind it are shown with it, and must sign one another
authorities                     those that are valid now are in use, and the first of them to end counts
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from cryptography import x509

from bridge.cli.doctor.certificate import rated
from bridge.cli.doctor.finding import Finding, Level
from bridge.settings.certificate_dates import CERTIFICATES
from bridge.settings.files import read_file

CHECK = "files"


def date_findings(files: Mapping[str, Path], now: datetime, warn_days: int) -> Iterator[Finding]:
    """Yield until when the certificate is valid that is in use, for each file, setting -> path."""
    for key, path in files.items():
        certificates, problem = _read(path)
        if problem:
            yield Finding(Level.WARN, CHECK, f"{key}: its dates cannot be read: {problem}")
            continue
        used = certificates[0] if key in CERTIFICATES else _first_to_end(certificates, now)
        level, text = _rated(used, now, warn_days)
        yield Finding(level, CHECK, f"{key} {text}")


def chain_findings(files: Mapping[str, Path], now: datetime, warn_days: int) -> Iterator[Finding]:
    """Yield what is wrong with the certificates that stand behind the first one of a chain."""
    for key in CERTIFICATES:
        certificates, _ = _read(files[key]) if key in files else ([], "")
        for number, (below, above) in enumerate(pairwise(certificates), 2):
            if below.issuer != above.subject:
                text = f"certificate {number} in it is not of the authority that signed certificate {number - 1}"
                yield Finding(Level.WARN, CHECK, f"{key}: {text}: put each authority behind what it signed")
            level, text = _rated(above, now, warn_days)
            # An authority that signs itself is not needed there: the other end trusts its own copy, or none.
            if level is not Level.OK and above.issuer != above.subject:
                yield Finding(level, CHECK, f"{key}: certificate {number} in it {text}")


def _read(path: Path) -> tuple[Sequence[x509.Certificate], str]:
    content, problem = read_file(path)
    if problem:
        return (), problem
    try:
        return x509.load_pem_x509_certificates(content), ""
    except ValueError:
        return (), "it holds no certificate in a usual form"


def _first_to_end(authorities: Sequence[x509.Certificate], now: datetime) -> x509.Certificate:
    valid = [each for each in authorities if each.not_valid_before_utc <= now <= each.not_valid_after_utc]
    if valid:
        return min(valid, key=lambda each: each.not_valid_after_utc)
    return max(authorities, key=lambda each: each.not_valid_after_utc)


def _rated(certificate: x509.Certificate, now: datetime, warn_days: int) -> tuple[Level, str]:
    return rated(certificate.not_valid_before_utc, certificate.not_valid_after_utc, now, warn_days)
