"""Why a TLS handshake with the wallet failed, and what to do, in words."""

import ssl
from datetime import datetime

from bridge.config import Wallet
from bridge.doctor.certificate import Certificate, judged
from bridge.doctor.finding import Level
from bridge.settings_text import one_line

NAMES_SHOWN_MAX = 5

# The numbers of OpenSSL's verification errors (x509_vfy.h).
OUT_OF_TIME = frozenset({9, 10})
UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})
OTHER_NAME = frozenset({62, 64})

CLIENT_CERTIFICATE_WANTED = (
    "the wallet wants a client certificate: set wallet.client_certificate_file and wallet.client_key_file"
)
CLIENT_CERTIFICATE_REFUSED = (
    "the wallet refuses our client certificate: check wallet.client_certificate_file with whoever runs the wallet"
)
NO_TLS_THERE = "what answers there does not speak TLS: check the port in wallet.url; http:// is for tests alone"
NO_COMMON_VERSION = "the wallet speaks no version of TLS that is allowed here: it must offer TLS 1.2 or newer"
NO_COMMON_CIPHER = (
    "the wallet breaks the handshake off: it shares no cipher with us, or wants a client certificate "
    "(wallet.client_certificate_file)"
)
HUNG_UP = (
    "the wallet closes the connection before TLS or HTTP/2 stands: its allow-list may lack this machine's address, "
    "or it wants a client certificate (wallet.client_certificate_file)"
)

ALERTS = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": CLIENT_CERTIFICATE_WANTED,
    "SSLV3_ALERT_BAD_CERTIFICATE": CLIENT_CERTIFICATE_REFUSED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": CLIENT_CERTIFICATE_REFUSED,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": CLIENT_CERTIFICATE_REFUSED,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": CLIENT_CERTIFICATE_REFUSED,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": CLIENT_CERTIFICATE_REFUSED,
    "TLSV1_ALERT_ACCESS_DENIED": CLIENT_CERTIFICATE_REFUSED,
    "TLSV1_ALERT_UNKNOWN_CA": CLIENT_CERTIFICATE_REFUSED,
    "TLSV1_ALERT_PROTOCOL_VERSION": NO_COMMON_VERSION,
    "UNSUPPORTED_PROTOCOL": NO_COMMON_VERSION,
    "WRONG_SSL_VERSION": NO_COMMON_VERSION,
    "SSLV3_ALERT_HANDSHAKE_FAILURE": NO_COMMON_CIPHER,
    "TLSV1_UNRECOGNIZED_NAME": "the wallet does not know the name: check wallet.url",
    "WRONG_VERSION_NUMBER": NO_TLS_THERE,
    "RECORD_LAYER_FAILURE": NO_TLS_THERE,
    "PACKET_LENGTH_TOO_LONG": NO_TLS_THERE,
}
"""OpenSSL's names for what ended a handshake (ssl.SSLError.reason), in words."""


def is_no_common_protocol(error: OSError) -> bool:
    """Say whether a server broke the handshake off because it has none of our protocols (RFC 7301, section 3.2)."""
    # Not by its reason, for which Python 3.11 has no name.
    return isinstance(error, ssl.SSLError) and "no application protocol" in str(error)


def handshake_problem(error: OSError, wallet: Wallet, host: str, certificate: Certificate | None, now: datetime) -> str:
    """Return why a handshake failed. `certificate` is what the wallet showed, where that is known."""
    if isinstance(error, TimeoutError):
        return f"no TLS handshake within wallet.connect_timeout_s = {wallet.connect_timeout_s:g} s"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(error, wallet, host, certificate, now)
    if isinstance(error, ssl.SSLError):
        return ALERTS.get(error.reason or "", f"the handshake fails: {one_line(str(error.strerror))}")
    return HUNG_UP


def _distrust(
    error: ssl.SSLCertVerificationError, wallet: Wallet, host: str, certificate: Certificate | None, now: datetime
) -> str:
    if error.verify_code in OTHER_NAME:
        names = _names(certificate)
        return f"the certificate is for {names}, not {host}: check wallet.url, or the wallet's certificate"
    if error.verify_code in OUT_OF_TIME:
        return _out_of_time(error, certificate, now)
    if error.verify_code in UNKNOWN_AUTHORITY:
        issuer = f" ({one_line(certificate.issuer)})" if certificate and certificate.issuer else ""
        return f"the wallet's certificate comes from an authority{issuer} that is not {_trusted(wallet)}"
    return f"the wallet's certificate cannot be trusted: {error.verify_message}"


def _out_of_time(error: ssl.SSLCertVerificationError, certificate: Certificate | None, now: datetime) -> str:
    whose = "of the wallet"
    if certificate is not None:
        level, text = judged(certificate.not_before, certificate.not_after, now, warn_days=0)
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
