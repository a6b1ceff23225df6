"""Causes and details of what a connect can fail with, by tables."""

import errno
import socket
import ssl

import pytest

from bridge.http2.causes import Http2RequiredError, Why, cause_of_code, code_name, why

CASES: dict[str, tuple[BaseException, str, str]] = {
    "time": (TimeoutError(), "timeout", ""),
    "time of the system": (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "timeout", ""),
    "HTTP/1.1": (Http2RequiredError("x"), "http2_required", ""),
    "no such name": (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "dns", "no_such_name"),
    "try again": (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "dns", "try_again"),
    "server failure": (socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure"), "dns", "server_failure"),
    "unknown number": (socket.gaierror(4711, "text of a peer"), "dns", "other"),
    "no number": (socket.gaierror("text of a peer"), "dns", "other"),
    "not a name": (UnicodeError("label too long: text of a peer"), "dns", "not_a_name"),
    "refused": (ConnectionRefusedError(errno.ECONNREFUSED, "x"), "refused", ""),
    "no route": (OSError(errno.EHOSTUNREACH, "x"), "network", "EHOSTUNREACH"),
    "no network": (OSError(errno.ENETUNREACH, "x"), "network", "ENETUNREACH"),
    "no descriptors": (OSError(errno.EMFILE, "x"), "network", "EMFILE"),
    "not permitted": (PermissionError(errno.EACCES, "x"), "network", "EACCES"),
    "reset": (ConnectionResetError(errno.ECONNRESET, "x"), "network", "ECONNRESET"),
    "reset without a number": (ConnectionResetError("text of a peer"), "network", ""),
    "unknown errno": (OSError(99_999, "text of a peer"), "network", "other"),
    "TLS of no known kind": (ssl.SSLError(1, "text of a peer"), "tls", "other"),
    "TLS that ends": (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "tls", "closed"),
    "TLS that ends with close_notify": (ssl.SSLZeroReturnError(6, "TLS connection has been closed"), "tls", "closed"),
    "ALPN": (ssl.SSLError(1, "[SSL] tlsv1 alert no application protocol (_ssl.c:1006)"), "http2_required", ""),
}


@pytest.mark.parametrize(("error", "cause", "detail"), CASES.values(), ids=CASES)
def test_why(error: BaseException, cause: str, detail: str) -> None:
    """Each kind of error has a cause, and as much detail as its number says; its text is never read."""
    assert why(error) == Why(cause, detail)


@pytest.mark.parametrize(
    ("error_code", "name", "cause"),
    [
        (0x0, "NO_ERROR", ""),
        (0x7, "REFUSED_STREAM", ""),
        (0xD, "HTTP_1_1_REQUIRED", "http2_required"),
        (0xE, "other", ""),
        (2**32 - 1, "other", ""),
    ],
)
def test_codes_of_http2(error_code: int, name: str, cause: str) -> None:
    """Every 32-bit number a server may send has a name (RFC 9113, section 7); one of them is a cause."""
    assert (code_name(error_code), cause_of_code(error_code)) == (name, cause)
