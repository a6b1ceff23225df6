"""`bridge doctor` and `bridge certify` in tests: run in the test's process, beside its own servers."""

import argparse
import asyncio
import io
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bridge import __version__
from bridge.cli.certify import command as certify
from bridge.cli.doctor import command as doctor
from bridge.cli.doctor.resolver import Address, LookUp
from bridge.cli.main import parser_for
from bridge.sandbox.server import FaultServer
from tests.support.staging_wallet import LIVE, PLAYER_ID, SITE_ID
from tests.support.whole_path import NO_SETTINGS, environment

AFTER_TLS = ("alpn", "http2", "answer", "clock")

FLAGS = ("--player-id", str(PLAYER_ID), "--site-id", str(SITE_ID), "--game-id", "example", "--currency", "EUR")
PROVIDER = ("--provider-id", "1")

PATIENT = {"WALLET__CONNECT_TIMEOUT_S": "30", "WALLET__DEADLINE_DEFAULT_S": "120", "WALLET__DEADLINE_MAX_S": "120"}
"""Time for a busy machine: an answer that takes half of the default deadline is a finding of its own."""

MAPPED = {
    "WALLET__CODES__7__SUCCESS": "true",
    "WALLET__CODES__44__GRPC": "NOT_FOUND",
    "WALLET__CODES__44__REASON": "TOKEN_NOT_FOUND",
    "WALLET__CODES__45__GRPC": "FAILED_PRECONDITION",
    "WALLET__CODES__45__REASON": "TOKEN_OF_ANOTHER_SESSION",
}
"""What an operator says of the codes of StagingWallet."""


def parsed(command: str, *arguments: str) -> argparse.Namespace:
    """Parse what follows `bridge`."""
    return parser_for([command]).parse_args([command, *arguments])


@dataclass(frozen=True)
class Examined:
    """How a run of the doctor ended."""

    exit_code: int
    text: str

    def __getitem__(self, check: str) -> list[str]:
        """Return what this check found, each as "level text"."""
        rows = (line.split(maxsplit=2) for line in self.text.splitlines())
        return [f"{level} {text}" for level, name, text in rows if name == check]

    @property
    def failed(self) -> list[str]:
        """The checks that failed."""
        return [line.split()[1] for line in self.text.splitlines() if line.startswith("FAIL")]


def examine(environ: Mapping[str, str], *arguments: str, **seams: Any) -> Examined:
    """Run `bridge doctor` with these variables as its whole environment."""
    out = io.StringIO()
    exit_code = doctor.run(parsed("doctor", *arguments), out, environ, **seams)
    return Examined(exit_code, out.getvalue())


async def examined(url: str, settings: Mapping[str, str] = NO_SETTINGS, *arguments: str, **seams: Any) -> Examined:
    """Run `bridge doctor` on a thread of its own for this wallet and these settings."""
    return await asyncio.to_thread(examine, environment(url, settings), *arguments, **seams)


def assert_tls_failed(run: Examined, text: str) -> None:
    """Fail unless TLS failed with this, and nothing further was tried."""
    assert run["tls"] == [f"FAIL {text}"]
    assert [run[check] for check in AFTER_TLS] == [["skip because tls failed"]] * len(AFTER_TLS)
    assert (run.exit_code, run.failed) == (1, ["tls"])


@asynccontextmanager
async def unharmed(server: FaultServer) -> AsyncIterator[FaultServer]:
    """Run a wallet to which nothing may come but a GET without credentials, signature and body, to no operation."""
    async with server:
        yield server
        for request in server.requests:
            assert [name for name, _ in request.headers] == [":method", ":authority", ":scheme", ":path", "user-agent"]
            assert (request.method, request.body) == ("GET", b"")
            assert request.header("user-agent") == f"wallet-bridge/{__version__}"
            assert not request.path.endswith("/terminate")
        assert server.client_errors == []


def looked_up(*addresses: str) -> LookUp:
    """Return a resolver that knows these IPv4 addresses for every name."""

    def look_up(_host: str, port: int) -> list[Address]:
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)) for address in addresses]

    return look_up


def ca_setting(ca_file: Path) -> dict[str, str]:
    """Return the setting that trusts this authority."""
    return {"WALLET__CA_FILE": str(ca_file)}


@dataclass(frozen=True)
class Certified:
    """How a run ended."""

    exit_code: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """What --json printed."""
        report: dict[str, Any] = json.loads(self.out)
        return report

    @property
    def levels(self) -> dict[str, str]:
        """The findings that are neither ok nor a note: probe -> level."""
        found = self.report["findings"]
        return {each["probe"]: each["level"] for each in found if each["level"] not in {"ok", "note"}}

    @property
    def text(self) -> str:
        """All that was said."""
        return self.out + self.err


async def certified(
    url: str, *arguments: str, settings: Mapping[str, str] = NO_SETTINGS, token: str = LIVE, says: str | None = None
) -> Certified:
    """Run `bridge certify` for this wallet; `says`: what is typed when it asks, None: there is no terminal."""
    out, err = io.StringIO(), io.StringIO()
    terminal = certify.Terminal(out, err, io.BytesIO(token.encode()), lambda: says is not None, lambda: says or "")
    arguments = arguments if "--provider-id" in arguments else (*PROVIDER, *arguments)
    environ = environment(url, {**PATIENT, **settings})
    exit_code = await asyncio.to_thread(certify.run, parsed("certify", *FLAGS, *arguments), terminal, environ)
    return Certified(exit_code, out.getvalue(), err.getvalue())
