"""The command `bridge`: one function for each sub-command, and the one place where their errors become exit codes.

Exit codes: 0 done; 1 the call failed, a worker did not end well or the doctor found something; 2 it could not start
(settings, address, arguments); 130 Ctrl-C ended the doctor.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

from bridge import __version__, sandbox
from bridge.address import ListenError, split_listen
from bridge.cli import call, demo, settlement
from bridge.cli import fingerprint as token_fingerprint
from bridge.cli.doctor import command as doctor
from bridge.events import CannotStart
from bridge.process.serve import (
    LOG_FORMAT_VARIABLE,
    LOG_LEVEL_VARIABLE,
    WORKER_VARIABLE,
    run_alone,
    run_supervisor,
    run_worker,
)
from bridge.process.signals import ignore_until_ready, stop_signal
from bridge.process.supervisor import WorkersError
from bridge.server.handlers import SERVICES, routes
from bridge.settings.model import SettingsError, describe, load
from bridge.telemetry.log_writer import LogWriter
from bridge.telemetry.logs import NO_PROCESS, Format, Process, configure
from bridge.telemetry.standard_error import StandardError
from bridge.tracer import TracingError
from bridge.transcoding.operation import ContractError
from bridge.upstream.from_settings import tls_context

CANNOT_START = (SettingsError, ContractError, ListenError, WorkersError, TracingError, OSError)
CANNOT_START_CODE = 2
STDOUT, STDERR = 1, 2
LOGGER = logging.getLogger(__name__)

SANDBOX_LISTEN = "127.0.0.1:8080"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return the exit code; what cannot start is told in plain lines, not in a traceback."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except CANNOT_START as error:
        for line in str(error).splitlines():
            print(f"bridge: {line}", file=sys.stderr)
        return CANNOT_START_CODE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bridge", description="A gRPC-to-REST bridge for the wallet.")
    parser.add_argument("--version", action="version", version=f"bridge {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("serve", help="take gRPC calls and carry them to the wallet")
    command.add_argument("--config", type=Path, metavar="FILE", help="bridge.toml; BRIDGE_SECTION__KEY is stronger")
    command.add_argument("--check", action="store_true", help="check the settings, print them and exit")
    command.add_argument("--worker", type=int, metavar="DESCRIPTOR", help=argparse.SUPPRESS)
    command.set_defaults(run=_serve)

    command = commands.add_parser("sandbox", help="run a wallet for tests, with test tokens for every failure")
    command.add_argument("--listen", default=SANDBOX_LISTEN, metavar="HOST:PORT", help="default: %(default)s")
    command.add_argument("--config", type=Path, metavar="FILE", help="take the providers from here, not the samples")
    command.add_argument("--certificate-file", metavar="FILE", help="PEM; with it and --key-file: TLS")
    command.add_argument("--key-file", metavar="FILE", help="PEM")
    command.add_argument("--tokens", action="store_true", help="print the test tokens and exit")
    command.set_defaults(run=_sandbox)

    command = commands.add_parser("call", help="call a bridge and print the typed answer, or the status with details")
    call.add_arguments(command)
    command.set_defaults(run=call.run)

    command = commands.add_parser("fingerprint", help="print what the log shows for the token on standard input")
    command.add_argument("--config", type=Path, metavar="FILE", help="bridge.toml; BRIDGE_SECTION__KEY is stronger")
    command.set_defaults(run=token_fingerprint.run)

    command = commands.add_parser("doctor", help="check everything a call needs, and say in plain words what is wrong")
    doctor.add_arguments(command)
    command.set_defaults(run=doctor.run)

    command = commands.add_parser("settlement", help="see and change what the bridge finishes by itself")
    settlement.add_arguments(command)
    command.set_defaults(run=settlement.run)

    command = commands.add_parser("demo", help="sandbox and bridge in one, with one call shown (`make run`)")
    command.set_defaults(run=lambda _: _run(demo.run()))
    return parser


def _run(main_coroutine: Coroutine[Any, Any, None]) -> int:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main_coroutine)
    return 0


def _loop_factory() -> Any:
    try:
        import uvloop  # noqa: PLC0415 - it does not exist everywhere
    except ImportError:
        return None
    return uvloop.new_event_loop


def _serve(parsed: argparse.Namespace) -> int:
    ignore_until_ready()
    if parsed.worker is not None:
        # Its supervisor says in the environment which log is in force: also for what keeps the worker from starting.
        level, log_format = os.environ[LOG_LEVEL_VARIABLE], _log_format(os.environ[LOG_FORMAT_VARIABLE])
        worker = {"pid": os.getpid(), "worker": int(os.environ[WORKER_VARIABLE])}
        log = StandardError.take(level, log_format, worker)
        return _logged(log, lambda: _run(run_worker(load(parsed.config, os.environ), parsed.worker, log)))
    settings = load(parsed.config, os.environ)
    if parsed.check:
        for service in SERVICES:
            routes(service, settings)
        tls_context(settings.wallet)
        print(describe(settings))
        if warning := token_fingerprint.warning(settings):
            print(f"bridge: warning: {warning}", file=sys.stderr)
        return 0
    is_alone = settings.server.workers == 1
    process: Process = {"pid": os.getpid()} if is_alone else NO_PROCESS
    log = StandardError.take(settings.telemetry.log_level, settings.telemetry.log_format, process)
    if warning := token_fingerprint.warning(settings):
        LOGGER.warning("%s", warning)
    if is_alone:
        return _logged(log, lambda: _run(run_alone(settings, log)))
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


def _sandbox(parsed: argparse.Namespace) -> int:
    if parsed.tokens:
        print(sandbox.plain_text())
        return 0
    address, providers = _address(parsed.listen), _providers(parsed.config)
    # Neither its lines about calls nor those of its log may hold it up, however slowly they are read.
    lines, log = (LogWriter(stream, "{} lines dropped\n".format) for stream in (STDOUT, STDERR))
    configure("warning", "console", log)
    try:
        return _run(_serve_sandbox(parsed, address, providers, lines))
    finally:
        lines.close()
        log.close()


async def _serve_sandbox(
    parsed: argparse.Namespace, address: tuple[str, int], providers: Sequence[sandbox.Provider], lines: LogWriter
) -> None:
    stop = stop_signal()
    async with sandbox.serve(
        *address,
        providers=providers,
        certificate_file=parsed.certificate_file,
        key_file=parsed.key_file,
        on_call=lambda received: lines.put(_call_line(received)),
    ) as wallet:
        lines.put(f"sandbox wallet on {wallet.url}, until Ctrl-C\n")
        await stop


def _address(listen: str) -> tuple[str, int]:
    try:
        return split_listen(listen)
    except ValueError:
        raise SettingsError(f'--listen: wants host:port, like "{SANDBOX_LISTEN}"') from None


def _providers(config: Path | None) -> Sequence[sandbox.Provider]:
    if config is None:
        return sandbox.SAMPLE_PROVIDERS
    return [
        sandbox.Provider(provider_id, provider.access_key.get_secret_value(), provider.private_key.get_secret_value())
        for provider_id, provider in load(config).wallet.providers.items()
    ]


def _call_line(received: sandbox.Received) -> str:
    what = received.refusal or received.test_token or "success"
    return f"{received.request.method} {received.request.path}: {received.status or 'no answer'} ({what})\n"
