"""The sub-command: which checks there are, in which order, and what becomes of their findings."""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from bridge.cli.call_output import fitted
from bridge.cli.doctor.finding import Finding, Level, json_text
from bridge.cli.doctor.listeners import listen_findings
from bridge.cli.doctor.local import Subject, local_findings
from bridge.cli.doctor.network import network_findings
from bridge.cli.doctor.resolver import LookUp, system_look_up
from bridge.cli.doctor.settlement import CHECK as SETTLEMENT
from bridge.cli.doctor.settlement import settlement_findings
from bridge.cli.doctor.target import Place
from bridge.cli.event_loop import unless_interrupted
from bridge.server.handlers import SERVICES, routes
from bridge.settings.model import load

ALL_WELL, SOMETHING_WRONG = 0, 1
INTERRUPTED = 130
"""The exit code of shells for a command that Ctrl-C has ended: 128 + SIGINT."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `bridge doctor`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="bridge.toml; BRIDGE_SECTION__KEY overrides it")
    parser.add_argument("--json", action="store_true", help="print one JSON list of the findings")


def run(
    parsed: argparse.Namespace,
    out: TextIO | None = None,
    environ: Mapping[str, str] = os.environ,
    look_up: LookUp = system_look_up,
) -> int:
    """Make every check and write what it finds to `out` (None: standard output) as soon as it is known.

    Return 0 if all is well, warnings allowed, 1 if something is wrong, 130 after Ctrl-C. Raise SettingsError or
    ContractError, which say the same as with `serve --check`.
    """
    subject = _subject(parsed.config, environ)
    out = out or sys.stdout
    findings: list[Finding] = []

    def report(finding: Finding) -> None:
        findings.append(finding)
        if not parsed.json:
            _write(out, finding.line)

    for finding in local_findings(subject):
        report(finding)
    # A key file that is refused already is not tried on the store.
    with_store = not any(each.check == SETTLEMENT and each.level is Level.FAIL for each in findings)
    examined = _examine(subject, look_up, report, with_store=with_store)
    if not asyncio.run(unless_interrupted(examined, signal.SIGINT)):
        return INTERRUPTED
    if parsed.json:
        _write(out, json_text(findings))
    return SOMETHING_WRONG if any(finding.level is Level.FAIL for finding in findings) else ALL_WELL


def _subject(config: Path | None, environ: Mapping[str, str]) -> Subject:
    settings = load(config, environ)
    paths = (route.operation.path for service in SERVICES for route in routes(service, settings))
    return Subject(settings, tuple(paths), config, environ, datetime.now(UTC))


async def _examine(subject: Subject, look_up: LookUp, report: Callable[[Finding], None], *, with_store: bool) -> None:
    if with_store:
        async for finding in settlement_findings(subject.settings):
            report(finding)
    async for finding in listen_findings(subject.settings, look_up):
        report(finding)
    async for finding in network_findings(_place(subject), look_up):
        report(finding)


def _place(subject: Subject) -> Place:
    # A wallet.url with an operation's path in it is reported already, and must not be used as it is.
    is_operation = any(subject.base_path.endswith(path) for path in subject.operation_paths)
    return Place(subject.settings.wallet, "/" if is_operation else subject.base_path or "/", subject.now)


def _write(out: TextIO, line: str) -> None:
    out.write(fitted(f"{line}\n", out.encoding or "utf-8"))
    out.flush()
