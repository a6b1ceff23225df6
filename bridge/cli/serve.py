"""`bridge serve`: the bridge alone or with workers, one of its workers, or a check of its settings."""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from bridge.cli.event_loop import run_to_end
from bridge.cli.exit_codes import CANNOT_START, CANNOT_START_CODE
from bridge.cli.fingerprint import warning as warning_about
from bridge.cli.settlement_check import settlement_warning, settlement_warnings
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
from bridge.server.handlers import SERVICES, routes
from bridge.settings.model import describe, load
from bridge.telemetry.logs import NO_PROCESS, Format, Process
from bridge.telemetry.standard_error import StandardError
from bridge.upstream.from_settings import tls_context

LOGGER = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `bridge serve`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="bridge.toml; BRIDGE_SECTION__KEY is stronger")
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
        for service in SERVICES:
            routes(service, settings)
        tls_context(settings.wallet)
        found = settlement_warnings(settings)
        print(describe(settings))
        for warning in filter(None, (warning_about(settings), *found)):
            print(f"bridge: warning: {warning}", file=sys.stderr)
        return 0
    is_alone = settings.server.workers == 1
    process: Process = {"pid": os.getpid()} if is_alone else NO_PROCESS
    log = StandardError.take(settings.telemetry.log_level, settings.telemetry.log_format, process)
    for warning in filter(None, (warning_about(settings), settlement_warning(settings))):
        LOGGER.warning("%s", warning)
    if is_alone:
        return _logged(log, lambda: run_to_end(run_alone(settings, log)))
    # uvloop would hand descriptors of this process down to the workers.
    return _logged(log, lambda: 0 if asyncio.run(run_supervisor(settings, parsed.config, log)) else 1)


def _log_format(name: str) -> Format:
    return "console" if name == "console" else "json"


def _logged(log: StandardError, run: Callable[[], int]) -> int:
    """Run what serves; what keeps it from starting is told in the log, one line for each thing that is wrong."""
    try:
        return run()
    except CANNOT_START as error:
        for line in str(error).splitlines():
            log.events(CannotStart(line))
        return CANNOT_START_CODE
