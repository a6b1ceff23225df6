"""Cause and detail of a failed exchange or connection: words of two fixed lists, by tables.

    cause     for callers, operators and metrics: dns, refused, timeout, tls, http2_required, network, closed
    detail    for the log, narrower: the reason of a TLS failure, an errno, what the name server said, an HTTP/2 error

Both are words of ours, of OpenSSL's or of the system's headers: no text of a peer is ever among them.
"""

import errno
import socket
import ssl
from collections.abc import Mapping
from typing import Final, NamedTuple

from bridge.http2.frames import ErrorCode

OTHER: Final = "other"
HTTP2_REQUIRED: Final = "http2_required"
CLOSED: Final = "closed"


class Why(NamedTuple):
    """Cause and detail; "" for a detail that nothing is known of."""

    cause: str
    detail: str


class Http2RequiredError(ConnectionError):
    """The server does not speak HTTP/2. No byte of a request has left."""


def why(error: BaseException) -> Why:
    """Return why a connection could not be made. `error`: TimeoutError, UnicodeError or OSError."""
    if isinstance(error, ssl.SSLError):
        # RFC 7301, section 3.2: a server that has none of our protocols may say so with an alert.
        return Why(HTTP2_REQUIRED, "") if is_no_common_protocol(error) else Why("tls", tls_reason(error))
    cause = next(cause for kind, cause in CAUSES if isinstance(error, kind))
    return Why(cause, _detail(cause, error))


CAUSES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (TimeoutError, "timeout"),
    (Http2RequiredError, HTTP2_REQUIRED),
    (socket.gaierror, "dns"),
    (UnicodeError, "dns"),  # a name that cannot be one
    (ConnectionRefusedError, "refused"),
    (OSError, "network"),
)
"""Which exception of a connect has which cause; the first row that fits wins."""


def _detail(cause: str, error: BaseException) -> str:
    if isinstance(error, UnicodeError):
        return "not_a_name"
    number = getattr(error, "errno", None)
    if cause == "dns":
        return NAME_ERRORS.get(number, OTHER)
    return errno.errorcode.get(number, OTHER) if cause == "network" and number else ""


NAME_ERRORS: Final[Mapping[int | None, str]] = {
    getattr(socket, name): detail
    for name, detail in {
        "EAI_NONAME": "no_such_name",
        "EAI_NODATA": "no_address",
        "EAI_ADDRFAMILY": "no_address",
        "EAI_AGAIN": "try_again",
        "EAI_FAIL": "server_failure",
        "EAI_MEMORY": "out_of_memory",
        "EAI_SYSTEM": "system_error",
    }.items()
    if hasattr(socket, name)
}
"""Errors of getaddrinfo (RFC 3493, section 6.1; not every system has every one)."""


# --- HTTP/2 -----------------------------------------------------------------------------------------------------


def code_name(error_code: int) -> str:
    """Return the name of an HTTP/2 error code (RFC 9113, section 7); a server may send any number."""
    return ErrorCode(error_code).name if error_code in ErrorCode.__members__.values() else OTHER


def cause_of_code(error_code: int) -> str:
    """Return the cause that an error code of the server's names: http2_required, or "" for any other."""
    return HTTP2_REQUIRED if error_code == ErrorCode.HTTP_1_1_REQUIRED else ""


# --- TLS --------------------------------------------------------------------------------------------------------


def is_no_common_protocol(error: OSError) -> bool:
    """Say whether a server broke the handshake off because it has none of our protocols (RFC 7301, section 3.2)."""
    # Not by its reason, for which Python 3.11 has no name.
    return isinstance(error, ssl.SSLError) and "no application protocol" in str(error)


def tls_reason(error: ssl.SSLError) -> str:
    """Return why a handshake failed: a word of VERIFY_ERRORS or HANDSHAKE_ERRORS, or "other"."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return VERIFY_ERRORS.get(error.verify_code, OTHER)
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "closed"
    # One that no handshake has raised, but a library, has no reason.
    return HANDSHAKE_ERRORS.get(getattr(error, "reason", None) or "", OTHER)


def _by_key(words: Mapping[str, tuple[int, ...]]) -> Mapping[int, str]:
    return {number: word for word, numbers in words.items() for number in numbers}


VERIFY_ERRORS: Final = _by_key(
    {
        "not_yet_valid": (9,),
        "expired": (10,),
        "self_signed": (18,),
        "unknown_authority": (2, 19, 20, 21, 27),
        # 24 was "invalid CA" before OpenSSL 3; 25: the authority may not have this many others below it.
        "authority_may_not_sign": (24, 25, 32, 79),
        "wrong_purpose": (26,),
        "wrong_name": (62, 64),
        "name_not_permitted": (47, 48, 49, 50, 51, 52, 53),
        "bad_signature": (7,),
        "weak_key": (66, 67, 68),
        "chain_too_long": (22,),
    }
)
"""The numbers of OpenSSL's verification errors (x509_vfy.h), as ssl.SSLCertVerificationError.verify_code has them."""

HANDSHAKE_ERRORS: Final[Mapping[str, str]] = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "client_certificate_wanted",
    "SSLV3_ALERT_BAD_CERTIFICATE": "client_certificate_refused",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "client_certificate_refused",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "client_certificate_refused",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "client_certificate_refused",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "client_certificate_refused",
    "TLSV1_ALERT_ACCESS_DENIED": "client_certificate_refused",
    "TLSV1_ALERT_UNKNOWN_CA": "client_certificate_refused",
    "TLSV1_ALERT_PROTOCOL_VERSION": "protocol_version",
    "UNSUPPORTED_PROTOCOL": "protocol_version",
    "WRONG_SSL_VERSION": "protocol_version",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "handshake_failure",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "handshake_failure",
    "TLSV1_ALERT_INTERNAL_ERROR": "server_error",
    "TLSV1_UNRECOGNIZED_NAME": "unknown_host",
    "WRONG_VERSION_NUMBER": "no_tls",
    "RECORD_LAYER_FAILURE": "no_tls",
    "PACKET_LENGTH_TOO_LONG": "no_tls",
    "HTTP_REQUEST": "no_tls",
    "DH_KEY_TOO_SMALL": "weak_key",
    "BAD_DH_VALUE": "weak_key",
    "UNEXPECTED_EOF_WHILE_READING": "closed",
}
"""OpenSSL's names for what ended a handshake (ssl.SSLError.reason): alerts of RFC 8446, section 6, and its own."""

TLS_REASONS: Final = frozenset({*VERIFY_ERRORS.values(), *HANDSHAKE_ERRORS.values(), OTHER})
"""Every detail that a failure with the cause tls can have."""
