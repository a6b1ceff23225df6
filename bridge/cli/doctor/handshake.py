"""Why a TLS handshake with the wallet failed, and what to do, in words."""

import ssl
from datetime import datetime

from bridge.cli.doctor.certificate import Certificate, rated
from bridge.cli.doctor.finding import Level
from bridge.http2.causes import tls_reason
from bridge.settings.messages import one_line
from bridge.settings.model import Wallet

NAMES_SHOWN_MAX = 5

CLIENT_CERTIFICATE_WANTED = (
    "the wallet requires a client certificate: set wallet.client_certificate_file and wallet.client_key_file"
)
CLIENT_CERTIFICATE_REFUSED = (
    "the wallet refuses our client certificate: check wallet.client_certificate_file with the wallet's operator"
)
NO_TLS_THERE = "what answers there does not speak TLS: check the port in wallet.url; http:// is for tests alone"
NO_COMMON_VERSION = "the wallet speaks no version of TLS that is allowed here: it must offer TLS 1.2 or newer"
NO_COMMON_CIPHER = (
    "the wallet breaks the handshake off: it shares no cipher with us, or requires a client certificate "
    "(wallet.client_certificate_file)"
)
HUNG_UP = (
    "the wallet closes the connection before TLS or HTTP/2 stands: its allow-list may lack this machine's address, "
    "or it requires a client certificate (wallet.client_certificate_file)"
)

OUT_OF_TIME = frozenset({"expired", "not_yet_valid"})
UNKNOWN_AUTHORITY = frozenset({"unknown_authority", "self_signed"})

HANDSHAKES = {
    "client_certificate_wanted": CLIENT_CERTIFICATE_WANTED,
    "client_certificate_refused": CLIENT_CERTIFICATE_REFUSED,
    "protocol_version": NO_COMMON_VERSION,
    "handshake_failure": NO_COMMON_CIPHER,
    "server_error": "the wallet breaks the handshake off for an error of its own: its people must look at its log",
    "unknown_host": "the wallet does not know the name: check wallet.url",
    "no_tls": NO_TLS_THERE,
    "weak_key": "the wallet offers a key that is too short to be safe: its people must replace it",
    "closed": HUNG_UP,
}
"""Causes of a broken handshake (a detail of `bridge.http2.causes`), in words."""

CERTIFICATES = {
    "authority_may_not_sign": (
        "an authority above the wallet's certificate may not sign certificates by its own words (basic constraints, "
        "key usage): it must be issued again as an authority"
    ),
    "wrong_purpose": "the wallet's certificate is not for servers (extended key usage): it must be issued again",
    "name_not_permitted": "an authority above the wallet's certificate may not sign for this name (name constraints)",
    "bad_signature": "a signature above the wallet's certificate is wrong: an authority of the same name, another key",
    "weak_key": "a key or a signature of the wallet's certificates is too weak to be safe: it must be issued again",
    "chain_too_long": "the wallet shows more certificates, one above the other, than are looked at",
}
"""Why a certificate is not trusted, in words, where these need nothing of the certificate itself."""


def handshake_problem(error: OSError, wallet: Wallet, host: str, certificate: Certificate | None, now: datetime) -> str:
    """Return why a handshake failed. `certificate` is what the wallet showed, where that is known."""
    if isinstance(error, TimeoutError):
        return f"no TLS handshake within wallet.connect_timeout_s = {wallet.connect_timeout_s:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(error, wallet, host, certificate, now)
    if isinstance(error, ssl.SSLError):
        return HANDSHAKES.get(tls_reason(error)) or f"the handshake fails: {one_line(str(error.strerror))}"
    return HUNG_UP


def _distrust(
    error: ssl.SSLCertVerificationError, wallet: Wallet, host: str, certificate: Certificate | None, now: datetime
) -> str:
    reason = tls_reason(error)
    if reason == "wrong_name":
        names = _names(certificate)
        return f"the certificate is for {names}, not {host}: check wallet.url, or the wallet's certificate"
    if reason in OUT_OF_TIME:
        return _out_of_time(error, certificate, now)
    if reason in UNKNOWN_AUTHORITY:
        issuer = f" ({one_line(certificate.issuer)})" if certificate and certificate.issuer else ""
        return f"the wallet's certificate comes from an authority{issuer} that is not {_trusted(wallet)}"
    return CERTIFICATES.get(reason) or f"the wallet's certificate cannot be trusted: {error.verify_message}"


def _out_of_time(error: ssl.SSLCertVerificationError, certificate: Certificate | None, now: datetime) -> str:
    whose = "of the wallet"
    if certificate is not None:
        level, text = rated(certificate.not_before, certificate.not_after, now, warn_days=0)
        if level is Level.FAIL:
            return f"the wallet's certificate {text}"
        whose = "above the wallet's own"
    return f"a certificate {whose} is out of its time ({error.verify_message}): it must be renewed"


def _names(certificate: Certificate | None) -> str:
    names = certificate.names if certificate else ()
    shown = ", ".join(map(one_line, names[:NAMES_SHOWN_MAX])) or "another host"
    return f"{shown} and others" if len(names) > NAMES_SHOWN_MAX else shown


def _trusted(wallet: Wallet) -> str:
    if wallet.ca_file is not None:
        return "in wallet.ca_file: put its certificate there, if it is the right one"
    return "known to this machine: set wallet.ca_file to its certificate, if it is the right one"
