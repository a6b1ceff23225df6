"""Channel of `bridge call` and `bridge health` to a bridge: plaintext, TLS, or mutual TLS.

    no flag                                       plaintext
    --tls                                         TLS; the public authorities that grpcio ships are trusted
    --ca-file                                     TLS; only the authorities of that file are trusted
    --client-certificate-file, --client-key-file  TLS; the client shows this certificate
    --server-name                                 TLS; the name that the bridge's certificate must have

A token travels only after the bridge's certificate has been verified: no flag switches that off.
"""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from bridge.address import is_host
from bridge.settings.model import SettingsError
from bridge.settings.pem import grpc_problem
from bridge.settings.tls_files import certificates_in, key_in

CHANNEL_OPTIONS = (
    # For debugging the first failure counts, as it was.
    ("grpc.enable_retries", 0),
    # A bridge is a neighbour; a proxy from the environment would come to read the token.
    ("grpc.enable_http_proxy", 0),
)

CLOSED = r"Socket closed|Connection reset|Broken pipe"
"""The other end closed the connection; which of these it is depends on what it had read by then."""
PLAINTEXT_HINTS = (
    # A TLS server ends a connection that does not begin with a handshake.
    (CLOSED, "does it want TLS? then --ca-file FILE, or --tls"),
)
TLS_HINTS = (
    ("WRONG_VERSION_NUMBER", "it does not speak TLS: leave the TLS flags out"),
    ("certificate has expired", "its certificate has expired"),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is of no authority that is trusted here: see --ca-file"),
    ("Hostname Verification Check failed", "its certificate is for another name: see --server-name"),
    # In TLS 1.3 the server refuses a client's certificate after the handshake (RFC 8446, section 4.4.2.4).
    (CLOSED, "does it want a client certificate, or another? see --client-certificate-file"),
)
NO_HINT = "is `bridge serve` running there?"


@dataclass(frozen=True, slots=True)
class Tls:
    """Credentials for TLS, and the name to verify; None: the host of the address."""

    credentials: grpc.ChannelCredentials
    server_name: str | None


def tls_of(arguments: argparse.Namespace) -> Tls | None:
    """Return what the TLS flags ask for, None for plaintext; raise SettingsError, which names the wrong flag."""
    flags = (arguments.ca_file, arguments.client_certificate_file, arguments.client_key_file, arguments.server_name)
    if not arguments.tls and flags == (None,) * len(flags):
        return None
    pair = _client_pair(arguments.client_certificate_file, arguments.client_key_file)
    authorities = None if arguments.ca_file is None else _authorities(arguments.ca_file)
    return Tls(grpc.ssl_channel_credentials(authorities, *pair), arguments.server_name)


def open_channel(address: str, tls: Tls | None) -> grpc.Channel:
    """Return a channel to host:port, which retries nothing by itself."""
    if tls is None:
        return grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
    name = () if tls.server_name is None else (("grpc.ssl_target_name_override", tls.server_name),)
    return grpc.secure_channel(address, tls.credentials, options=(*CHANNEL_OPTIONS, *name))


def hint_of(message: str, *, is_tls: bool) -> str:
    """Return what to do about a connection that failed with this message of gRPC."""
    hints = TLS_HINTS if is_tls else PLAINTEXT_HINTS
    return next((hint for pattern, hint in hints if re.search(pattern, message)), NO_HINT)


def _authorities(file: Path) -> bytes:
    return _usable("--ca-file", certificates_in(file))


def _client_pair(certificate_file: Path | None, key_file: Path | None) -> tuple[bytes | None, bytes | None]:
    """Return the key and the certificate chain, in the order that grpc takes them."""
    if certificate_file is None and key_file is None:
        return None, None
    if certificate_file is None or key_file is None:
        raise SettingsError("--client-certificate-file and --client-key-file: set both or neither")
    content, problem = certificates_in(certificate_file)
    certificate = _usable("--client-certificate-file", (content, problem or grpc_problem(content)))
    key = _usable("--client-key-file", key_in(key_file, certificate_file, "--client-certificate-file"))
    return key, certificate


def _usable(flag: str, found: tuple[bytes, str]) -> bytes:
    content, problem = found
    if problem:
        raise SettingsError(f"{flag}: {problem}")
    return content


def _server_name(text: str) -> str:
    if not is_host(text):
        raise argparse.ArgumentTypeError("must be a host's name, like bridge.example")
    return text


TLS_FLAGS: dict[str, dict[str, Any]] = {
    "--tls": {
        "action": "store_true",
        "help": "use TLS, and trust the public authorities (GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names others)",
    },
    "--ca-file": {"type": Path, "metavar": "FILE", "help": "use TLS, and trust these authorities alone; PEM"},
    "--client-certificate-file": {
        "type": Path,
        "metavar": "FILE",
        "help": "use TLS, and show this certificate, for a bridge with server.tls_client_ca_file; PEM",
    },
    "--client-key-file": {"type": Path, "metavar": "FILE", "help": "the client certificate's key; PEM"},
    "--server-name": {
        "type": _server_name,
        "metavar": "NAME",
        "help": "use TLS, and want a certificate for this name; default: the host of --address",
    },
}
"""The flags that make the channel."""
