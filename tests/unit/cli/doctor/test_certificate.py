"""Facts of certificates for people, and that bytes of a peer cannot break their reading."""

import contextlib
import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.cli.doctor.certificate import Certificate, rated, read_certificate

KEY = ec.generate_private_key(ec.SECP256R1())
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)
NAMES = ("wallet.example", "*.wallet.example", "203.0.113.7", "2001:db8::7")


def certificate(
    not_before: datetime = BEGIN,
    not_after: datetime = END,
    names: tuple[str, ...] = NAMES,
    issuer: tuple[tuple[Any, str], ...] = ((NameOID.COMMON_NAME, "An Authority"),),
) -> x509.Certificate:
    """Make a certificate."""
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in issuer])
    builder = (
        x509.CertificateBuilder()
        .issuer_name(name)
        .subject_name(x509.Name([]))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    return builder.sign(KEY, hashes.SHA256())


def _general(name: str) -> x509.GeneralName:
    if "@" in name:
        return x509.RFC822Name(name)
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def der(made: x509.Certificate) -> bytes:
    """Return a certificate's DER."""
    return made.public_bytes(serialization.Encoding.DER)


def test_what_a_certificate_says() -> None:
    """Dates, every host name and address, and the issuer's common name are read."""
    assert read_certificate(der(certificate())) == Certificate(BEGIN, END, NAMES, "An Authority")


def test_other_names_are_left_out() -> None:
    """A mail address among the names is none of a host, and a certificate may have no names at all."""
    assert read_certificate(der(certificate(names=("a.example", "post@a.example", "b.example")))).names == (
        "a.example",
        "b.example",
    )
    assert read_certificate(der(certificate(names=()))).names == ()


ISSUERS = {
    "organization": (((NameOID.ORGANIZATION_NAME, "Größe GmbH"),), "Größe GmbH"),
    "both": (((NameOID.ORGANIZATION_NAME, "O"), (NameOID.COMMON_NAME, "CN")), "CN"),
    "neither": (((NameOID.COUNTRY_NAME, "MT"),), ""),
}


@pytest.mark.parametrize(("issuer", "shown"), ISSUERS.values(), ids=ISSUERS.keys())
def test_issuer(issuer: tuple[tuple[Any, str], ...], shown: str) -> None:
    """The issuer is its common name, else its organization, else nothing."""
    assert read_certificate(der(certificate(issuer=issuer))).issuer == shown


moments = st.datetimes(min_value=datetime(1950, 1, 1), max_value=datetime(9999, 12, 30))  # noqa: DTZ001 - made aware below


@given(begin=moments, seconds=st.integers(1, 10**9))
@example(begin=datetime(9999, 5, 13), seconds=10**9)  # noqa: DTZ001 - made aware below
def test_dates(begin: datetime, seconds: int) -> None:
    """Dates of any year that a certificate can have are exact, whether written with two digits of the year or four."""
    not_before = begin.replace(tzinfo=UTC, microsecond=0)
    not_after = not_before + min(timedelta(seconds=seconds), datetime(9999, 12, 31, tzinfo=UTC) - not_before)
    read = read_certificate(der(certificate(not_before, not_after)))
    assert (read.not_before, read.not_after) == (not_before, not_after)


DER = der(certificate())


@given(data=st.binary())
def test_no_bytes_break_it(data: bytes) -> None:
    """Bytes that are no certificate are a ValueError, and nothing else."""
    with pytest.raises(ValueError):  # noqa: PT011 - its text is not what is tested
        read_certificate(data)


@given(place=st.integers(0, len(DER) - 1), byte=st.integers(0, 255))
def test_no_change_breaks_it(place: int, byte: int) -> None:
    """A certificate with any byte changed is read or is a ValueError."""
    with contextlib.suppress(ValueError):
        read_certificate(DER[:place] + bytes([byte]) + DER[place + 1 :])


@given(size=st.integers(0, len(DER) - 1))
def test_cut_short(size: int) -> None:
    """A certificate that is cut short is a ValueError."""
    with pytest.raises(ValueError, match="no certificate"):
        read_certificate(DER[:size])


TIMES = {
    "long": (timedelta(days=-1), timedelta(days=30), "ok is valid until 2026-07-01"),
    "soon": (timedelta(days=-1), timedelta(days=29.9), "warn expires on 2026-06-30, in 29 days: it must be renewed"),
    "now": (timedelta(days=-1), timedelta(0), "warn expires on 2026-06-01, in 0 days: it must be renewed"),
    "over": (timedelta(days=-9), timedelta(seconds=-1), "FAIL has expired, on 2026-05-31: it must be renewed"),
    "not-yet": (
        timedelta(minutes=1),
        timedelta(days=90),
        "FAIL is valid only from 2026-06-01 00:01 UTC: is this machine's clock right?",
    ),
}


@pytest.mark.parametrize(("begin", "end", "reported"), TIMES.values(), ids=TIMES.keys())
def test_checked(begin: timedelta, end: timedelta, reported: str) -> None:
    """A certificate's time is over, over soon, good, or has not begun, for which the clock may be to blame."""
    now = datetime(2026, 6, 1, tzinfo=UTC)
    assert " ".join(rated(now + begin, now + end, now, warn_days=30)) == reported
