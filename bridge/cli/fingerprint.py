"""`bridge fingerprint`: what the log shows for a token; and a warning where replicas would not show the same.

A token comes on standard input and never as an argument, which `ps` shows to everybody on the machine.
"""

import argparse
import ipaddress
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from bridge.address import split_listen
from bridge.cli.token_input import token_from_input
from bridge.settings.model import Settings, SettingsError, load
from bridge.telemetry.fingerprint import Fingerprint

NO_KEY = (
    "telemetry.fingerprint_key: is not set, so each process makes a key of its own, and it is unknown what its "
    "log shows for a token; set it, or fingerprint_key_file, to the same value for all replicas"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `bridge fingerprint`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="bridge.toml; BRIDGE_SECTION__KEY overrides it")


def run(arguments: argparse.Namespace, given: BinaryIO | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Print the fingerprint of the token in `given` (None: standard input); raise SettingsError where there is none."""
    key = load(arguments.config, environ).telemetry.fingerprint_key
    if key is None:
        raise SettingsError(NO_KEY)
    sys.stdout.write(f"{Fingerprint(key.get_secret_value().encode())(token_from_input(given))}\n")
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


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"
