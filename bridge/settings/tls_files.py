"""Files of certificates and keys: OpenSSL decides which can be used, pem.py says what is wrong with the others."""

import ssl
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from bridge.settings.files import read_file
from bridge.settings.messages import one_line
from bridge.settings.pem import begins_with_bom, certificates_problem, grpc_problem, key_problem, pair_problem
from bridge.settings.types import earlier, refused

PASTED = "-----BEGIN"


def certificates_in(path: Path) -> tuple[bytes, str]:
    """Return a file of at least one PEM certificate and "", or what there is and why it cannot be used."""
    content, problem = _content(path)
    if not problem and (begins_with_bom(content) or _certificate_count(path) == 0):
        problem = certificates_problem(content)
    return content, problem


def key_in(path: Path, certificate_file: Path, certificate_name: str) -> tuple[bytes, str]:
    """Return the file of a certificate's PEM key and "", or what there is and why it cannot be used.

    The certificate's file is one that `certificates_in` finds nothing wrong with; errors call it `certificate_name`.
    """
    content, problem = _content(path)
    if problem:
        return content, problem
    reason = _openssl_reason(certificate_file, path)
    if reason is None and not begins_with_bom(content):
        return content, ""
    certificates, _ = read_file(certificate_file)
    return content, key_problem(content) or pair_problem(certificates, content, certificate_name, reason or "")


def _certificates(path: Path) -> Path:
    _, problem = certificates_in(path)
    if problem:
        raise refused(problem)
    return path


CertificatesFile = Annotated[Path, AfterValidator(_certificates)]
"""File of one or more PEM certificates: authorities, or a certificate with its chain."""


def check_key_pair(key_file: Path | None, info: ValidationInfo, certificate_name: str) -> Path | None:
    """Return a key file that goes with the certificate file before it, or None where there is neither."""
    certificate_file: Path | None = earlier(info, certificate_name)
    if certificate_file is None and key_file is None:
        return None
    if certificate_file is None:
        raise refused(f"needs {certificate_name} too")
    if key_file is None:
        raise refused(f"is missing: {certificate_name} needs it")
    _, problem = key_in(key_file, certificate_file, certificate_name)
    if problem:
        raise refused(problem)
    return key_file


def check_for_grpc(certificate_file: Path | None) -> Path | None:
    """Return a certificate file that gRPC can show to callers; refuse one that only OpenSSL can use."""
    if certificate_file is not None and (problem := grpc_problem(read_file(certificate_file)[0])):
        raise refused(problem)
    return certificate_file


def _content(path: Path) -> tuple[bytes, str]:
    if PASTED in str(path):
        return b"", "must be the path of a file, not what the file holds"
    content, problem = read_file(path)
    return content, f"cannot be read: {problem}: {one_line(str(path))}" if problem else ""


def _certificate_count(path: Path) -> int:
    try:
        # Not `create_default_context`: that would open the file that SSLKEYLOGFILE names.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=path)
    except OSError:  # an ssl.SSLError is one
        return 0
    return context.cert_store_stats()["x509"]


def _openssl_reason(certificate_file: Path, key_file: Path) -> str | None:
    """Return OpenSSL's name for why the two cannot be used together, "" where it has none; None where they can."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # Without a password OpenSSL would ask for one on the terminal; an empty one makes an encrypted key an error.
        context.load_cert_chain(certificate_file, key_file, password="")
    except ssl.SSLError as error:
        return error.reason or ""
    except OSError:  # it was there a moment ago
        return ""
    return None
