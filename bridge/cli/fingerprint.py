"""`bridge fingerprint`: what the log shows for a token; and a warning where replicas would not show the same.

A token comes on standard input and never as an argument, which `ps` shows to everybody on the machine.
"""

import argparse
import getpass
import ipaddress
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from bridge.address import split_listen
from bridge.settings.model import Settings, SettingsError, load
from bridge.telemetry.fingerprint import Fingerprint

TOKEN_BYTES_MAX = 4096
"""As in wallet_service.proto."""

NO_KEY = (
    "telemetry.fingerprint_key: is not set, so that each process makes a key of its own and nobody can say what its "
    "log shows for a token; set it, or fingerprint_key_file, to the same value for all replicas"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `bridge fingerprint`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="bridge.toml; BRIDGE_SECTION__KEY is stronger")


def run(arguments: argparse.Namespace, given: BinaryIO | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Print the fingerprint of the token in `given` (None: standard input); raise SettingsError where there is none."""
    key = load(arguments.config, environ).telemetry.fingerprint_key
    if key is None:
        raise SettingsError(NO_KEY)
    sys.stdout.write(f"{Fingerprint(key.get_secret_value().encode())(_token(given))}\n")
    return 0


def warning(settings: Settings) -> str:
    """Return a line for the operator where the log's fingerprints could not be compared with a replica's; else "".

    A bridge that listens beyond its own machine may be one of several; without a key each process has its own, and all
    workers of one bridge get one from their supervisor.
    """
    host, _ = split_listen(settings.server.listen)
    if settings.telemetry.fingerprint_key is not None or _is_loopback(host):
        return ""
    return (
        "telemetry.fingerprint_key is not set: each replica, and each restart, shows another fingerprint for the same "
        "token; set it, or fingerprint_key_file, to the same value for all"
    )


def _token(given: BinaryIO | None) -> str:
    if given is None and sys.stdin.isatty():
        return _checked(getpass.getpass("token: ").encode(errors="surrogateescape"))
    # One byte more than may be: what is too long is seen, and not cut.
    return _checked(re.sub(rb"\r?\n\Z", b"", (given or sys.stdin.buffer).read(TOKEN_BYTES_MAX + 3)))


def _checked(content: bytes) -> str:
    if not 0 < len(content) <= TOKEN_BYTES_MAX:
        raise SettingsError(f"standard input: wants a token, 1 to {TOKEN_BYTES_MAX} bytes")
    try:
        return content.decode()
    except UnicodeDecodeError:
        # Without the chain: it holds the token.
        raise SettingsError("standard input: wants a token in UTF-8") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
