"""`bridge serve`: the bridge alone or with workers, one of its workers, or a check of its settings."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from bridge.cli.doctor.finding import Finding, Level
from bridge.cli.doctor.start_check import examine
from bridge.cli.event_loop import run_to_end
from bridge.cli.exit_codes import CANNOT_START, CANNOT_START_CODE
from bridge.events import CannotStart
from bridge.process.serve import (
    LOG_FORMAT_VARIABLE,
    LOG_LEVEL_VARIABLE,
    WORKER_VARIABLE,
    run_alone,
    run_supervisor,
    run_worker,
)
from bridge.process.signals import ignore_until_ready
from bridge.settings.model import Settings, SettingsError, describe, load
from bridge.telemetry.logs import NO_PROCESS, Format, Process
from bridge.telemetry.standard_error import StandardError

LOGGER = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `bridge serve`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="bridge.toml; BRIDGE_SECTION__KEY overrides it")
    parser.add_argument("--check", action="store_true", help="check the settings, print them and exit")
    parser.add_argument("--worker", type=int, metavar="DESCRIPTOR", help=argparse.SUPPRESS)


def run(parsed: argparse.Namespace) -> int:
    """Serve until a signal to stop, or check the settings; return the exit code."""
    ignore_until_ready()
    if parsed.worker is not None:
        # Its supervisor says in the environment which log is in force: also for what keeps the worker from starting.
        level, log_format = os.environ[LOG_LEVEL_VARIABLE], _log_format(os.environ[LOG_FORMAT_VARIABLE])
        worker = {"pid": os.getpid(), "worker": int(os.environ[WORKER_VARIABLE])}
        log = StandardError.take(level, log_format, worker)
        return _logged(log, lambda: run_to_end(run_worker(load(parsed.config, os.environ), parsed.worker, log)))
    settings = load(parsed.config, os.environ)
    if parsed.check:
        return _check(settings)
    is_alone = settings.server.workers == 1
    process: Process = {"pid": os.getpid()} if is_alone else NO_PROCESS
    log = StandardError.take(settings.telemetry.log_level, settings.telemetry.log_format, process)
    return _logged(log, lambda: _serve(settings, parsed.config, log))


def _serve(settings: Settings, config: Path | None, log: StandardError) -> int:
    report = examine(settings)
    for finding in report.warnings:
        LOGGER.warning("%s", finding.text)
    report.raise_refused()
    if settings.server.workers == 1:
        return run_to_end(run_alone(settings, log))
    # uvloop would hand descriptors of this process down to the workers.
    return 0 if asyncio.run(run_supervisor(settings, config, log)) else 1


def _check(settings: Settings) -> int:
    """Print the settings and what is risky about them; raise SettingsError for what would keep them from serving."""
    report = examine(settings)
    report.raise_refused()
    within_reach = asyncio.run(_within_reach(settings))
    if refused := [finding.text for finding in within_reach if finding.level is Level.FAIL]:
        raise SettingsError("\n".join(refused))
    print(describe(settings))
    for finding in (*report.warnings, *report.files, *within_reach):
        if finding.level is not Level.OK:
            print(f"bridge: warning: {finding.text}", file=sys.stderr)
    return 0


async def _within_reach(settings: Settings) -> list[Finding]:
    """Return what is found of the settlement store and of the addresses to listen on."""
    from bridge.cli.doctor.listeners import listen_findings  # noqa: PLC0415 - not for a bridge that serves
    from bridge.cli.doctor.resolver import system_look_up  # noqa: PLC0415 - likewise
    from bridge.cli.doctor.settlement import settlement_findings  # noqa: PLC0415 - likewise

    listens = [finding async for finding in listen_findings(settings, system_look_up)]
    # A port in use is no warning here: the bridge whose settings are checked may be the one that has it.
    unusable = [finding for finding in listens if finding.level is Level.FAIL]
    return [*unusable, *[finding async for finding in settlement_findings(settings)]]


def _log_format(name: str) -> Format:
    return "console" if name == "console" else "json"


def _logged(log: StandardError, run: Callable[[], int]) -> int:
    """Run the bridge; what keeps it from starting is logged, one line for each thing that is wrong."""
    try:
        return run()
    except CANNOT_START as error:
        for line in str(error).splitlines():
            log.events(CannotStart(line))
        return CANNOT_START_CODE
