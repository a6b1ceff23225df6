"""The command `bridge`: its sub-commands, and the one place where their errors become exit codes.

Exit codes: 0 done; 1 the call failed, a worker did not end well, or doctor or certify found something; 2 it could not
start or could not be completed (settings, address, arguments); 130 a signal ended doctor or certify; 141 the reader of
standard output has gone, as before `| head`.
"""

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from bridge import __version__
from bridge.cli.exit_codes import CANNOT_START, CANNOT_START_CODE
from bridge.cli.output import is_closed, with_output

COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "serve": ("bridge.cli.serve", "take gRPC calls and carry them to the wallet"),
        "sandbox": ("bridge.cli.sandbox", "run a wallet for tests, with test tokens for every failure"),
        "call": ("bridge.cli.call", "call a bridge and print the typed answer, or the status with details"),
        "health": ("bridge.cli.health", "ask a running bridge whether it takes calls"),
        "fingerprint": ("bridge.cli.fingerprint", "print what the log shows for the token on standard input"),
        "doctor": ("bridge.cli.doctor.command", "check everything a call needs, and say in plain words what is wrong"),
        "certify": ("bridge.cli.certify.command", "find out what a staging wallet answers, before production"),
        "settlement": ("bridge.cli.settlement", "see and change what the bridge finishes by itself"),
        "completion": ("bridge.cli.completion.command", "print a script that completes commands in bash, zsh or fish"),
        "demo": ("bridge.cli.demo", "sandbox and bridge in one, with one call shown (`make run`)"),
    }
)
"""Name -> the module, which has `add_arguments` and `run`, and the line that help shows."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub-command and return the exit code; a failed start is reported in plain lines, not in a traceback."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        return with_output(lambda: _run(given))
    except OSError as error:
        print(f"bridge: standard output: {error.strerror or error}", file=sys.stderr)
        return CANNOT_START_CODE


def _run(arguments: Sequence[str]) -> int:
    parsed = _parsed(arguments)
    try:
        return int(parsed.run(parsed))
    except CANNOT_START as error:
        if isinstance(error, BrokenPipeError) and is_closed(sys.stdout):
            raise
        for line in str(error).splitlines():
            print(f"bridge: {line}", file=sys.stderr)
        return CANNOT_START_CODE


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = parser_for(arguments)
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        is_config = hasattr(parsed, "config") and Path(unknown[0]).is_file()
        hint = f"; did you mean --config {unknown[0]}?" if is_config else ""
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return parsed


def parser_for(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser that knows all commands by name, and the flags of the one that is given.

    Only that one is imported: the others would cost time and memory for as long as the bridge serves.
    """
    parser = argparse.ArgumentParser(prog="bridge", description="A gRPC-to-REST bridge for the wallet.")
    parser.add_argument("--version", action="version", version=f"bridge {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    given = next((argument for argument in arguments if not argument.startswith("-")), None)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name == given:
            implementation = importlib.import_module(module)
            implementation.add_arguments(command)
            command.set_defaults(run=implementation.run)
    return parser
