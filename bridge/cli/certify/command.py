"""The sub-command: flags, the live token, consent, exit codes, and a report also where something goes wrong.

Exit codes: 0 all as the contract expects; 1 findings that need a decision; 2 it could not be carried
out to the end (settings, token, no consent, wallet not reachable); 130 a signal ended it.
"""

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from bridge.cli.call_output import fitted
from bridge.cli.certify.codes import Proposal, merged
from bridge.cli.certify.findings import NEEDS_DECISION, Evidence, Finding, findings
from bridge.cli.certify.report import finding_line, json_text, probe_line, proposal_lines, token_lines
from bridge.cli.certify.requests import Probe, Session
from bridge.cli.certify.script import Incomplete, LiveToken, Script
from bridge.cli.certify.seen import Seen
from bridge.cli.event_loop import unless_interrupted
from bridge.cli.exit_codes import CANNOT_START_CODE
from bridge.cli.token_input import token_from_file, token_from_input
from bridge.errors import InvalidRequest
from bridge.server.handlers import SERVICES, routes
from bridge.settings.model import Settings, SettingsError, load

AS_EXPECTED, TO_DECIDE, INTERRUPTED = 0, 1, 130

TERMINATE = "Terminate"
"""The rpc whose requests are sent."""

LIVE, SECOND = "the live token", "the second token"

NO_CONSENT = (
    "the live token was not sent: what terminates it needs a yes on a terminal, or --yes; all other probes are done"
)
SIGNALLED = "a signal has ended it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `bridge certify`."""
    parser.description = (
        "Send scripted requests to a staging wallet. The live token, which is terminated, comes from standard input "
        "or --token-file; its session's fields are flags."
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="bridge.toml; BRIDGE_SECTION__KEY overrides it")
    parser.add_argument("--player-id", type=_id, required=True, metavar="ID", help="of the live token's session")
    parser.add_argument("--site-id", type=_id, required=True, metavar="ID", help="likewise")
    parser.add_argument("--game-id", required=True, metavar="TEXT", help="likewise")
    parser.add_argument("--currency", required=True, metavar="TEXT", help="likewise")
    parser.add_argument("--provider-id", type=_id, metavar="ID", help="default: the only one that is configured")
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="holds the live token; default: standard input")
    second = "holds another live token, for two terminates at once; default: the terminated one"
    parser.add_argument("--second-token-file", type=Path, metavar="FILE", help=second)
    parser.add_argument("--yes", action="store_true", help="terminate the live token without asking")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end")


@dataclass(frozen=True, slots=True)
class Terminal:
    """Output to the user of the command."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    given: BinaryIO | None = None
    """Holds the live token; None: standard input."""
    can_answer: Callable[[], bool] = field(default_factory=lambda: sys.stdin.isatty)
    answer: Callable[[], str] = field(default_factory=lambda: sys.stdin.readline)

    def say(self, text: str) -> None:
        """Write lines of the report."""
        self.out.write(fitted(f"{text}\n", self.out.encoding or "utf-8"))
        self.out.flush()

    def warn(self, text: str) -> None:
        """Write a line beside the report."""
        self.err.write(f"bridge: {text}\n")
        self.err.flush()

    def agrees(self, url: str) -> bool:
        """Ask whether the live tokens may be terminated."""
        self.err.write(f"The next probes send the live token to {url} and terminate it. Go on? [y/N] ")
        self.err.flush()
        return self.answer().strip().lower() in {"y", "yes"}


def run(parsed: argparse.Namespace, terminal: Terminal | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Send the probes and report; return the exit code. Raise a StartError for what keeps it from starting."""
    terminal = terminal or Terminal()
    session = _session(parsed, load(parsed.config, environ))
    may_ask = terminal.can_answer()
    # A token that cannot be used is not even read.
    live, second = _live_tokens(parsed, terminal.given) if parsed.yes or may_ask else (None, None)
    report = _Report(parsed.json, terminal)
    script = Script(session, live, second, report.show)
    try:
        problem = _carried_out(script, lambda: parsed.yes or terminal.agrees(session.settings.wallet.url))
    except BaseException:
        # Whatever it is, and also where standard output is gone: the end must be reported.
        for line in token_lines(script.tokens):
            terminal.warn(line)
        raise
    return report.end(script, problem)


def _carried_out(script: Script, agrees: Callable[[], bool]) -> str:
    """Send all probes, as far as it is possible and allowed; return why it was not, or ""."""
    try:
        if not _sent(script.safe()):
            return SIGNALLED
        if script.live is None or not agrees():
            return NO_CONSENT
        return "" if _sent(script.with_live_tokens()) else SIGNALLED
    except Incomplete as problem:
        return str(problem)
    except KeyboardInterrupt:  # while it asks
        return SIGNALLED


def _sent(probes: Coroutine[Any, Any, None]) -> bool:
    return asyncio.run(unless_interrupted(probes, signal.SIGINT, signal.SIGTERM))


class _Report:
    """The output: each answer as it comes, and the findings at the end."""

    def __init__(self, as_json: bool, terminal: Terminal) -> None:  # noqa: FBT001 - a parsed flag
        self._as_json = as_json
        self._terminal = terminal
        self._seen: dict[str, Seen] = {}

    def show(self, probe: Probe, seen: Seen) -> None:
        """Keep an answer, and print it."""
        self._seen[probe.name] = seen
        if not self._as_json:
            self._terminal.say(probe_line(probe, seen))

    def end(self, script: Script, problem: str) -> int:
        """Print what was found, and return the exit code."""
        found = list(findings(_evidence(script, self._seen)))
        proposals = merged(_proposals(found))
        if self._as_json:
            self._terminal.say(json_text(self._seen.values(), found, proposals, script.tokens, problem))
        else:
            self._terminal.say("\n".join(["", *map(finding_line, found), proposal_lines(proposals)]))
            self._terminal.say("\n".join(token_lines(script.tokens)))
        if problem:
            self._terminal.warn(problem)
            return INTERRUPTED if problem is SIGNALLED else CANNOT_START_CODE
        return TO_DECIDE if any(finding.level in NEEDS_DECISION for finding in found) else AS_EXPECTED


def _evidence(script: Script, seen: Mapping[str, Seen]) -> Evidence:
    wallet = script.session.settings.wallet
    return Evidence(seen, wallet.codes.keys(), script.second is not None, wallet.deadline_default_s)


def _proposals(found: Sequence[Finding]) -> Sequence[Proposal]:
    return [finding.proposal for finding in found if finding.proposal is not None]


# --- what is given ----------------------------------------------------------------------------------------------


def _session(parsed: argparse.Namespace, settings: Settings) -> Session:
    compiled = (route for service in SERVICES for route in routes(service, settings))
    route = next(route for route in compiled if route.operation.method == TERMINATE)
    fields = {
        "player_id": parsed.player_id,
        "site_id": parsed.site_id,
        "provider_id": _provider_id(parsed.provider_id, settings),
        "game_id": parsed.game_id,
        "currency": parsed.currency,
    }
    session = Session(settings, route, fields)
    try:
        route.validate(session.request("-"))
    except InvalidRequest as error:
        lines = (f"--{each.field.replace('_', '-')} {each.description}" for each in error.violations)
        raise SettingsError("\n".join(lines)) from None
    return session


def _provider_id(given: int | None, settings: Settings) -> int:
    known = sorted(settings.wallet.providers)
    if given is None and len(known) == 1:
        return known[0]
    if given in known:
        return int(given)
    raise SettingsError(f"--provider-id: must be one of the configured ones: {', '.join(map(str, known))}")


def _live_tokens(parsed: argparse.Namespace, given: BinaryIO | None) -> tuple[LiveToken, LiveToken | None]:
    second = parsed.second_token_file and token_from_file(parsed.second_token_file, "--second-token-file")
    live = token_from_file(parsed.token_file, "--token-file") if parsed.token_file else token_from_input(given)
    if second == live:
        raise SettingsError("--second-token-file: must hold another token than the live one")
    return LiveToken(LIVE, live), LiveToken(SECOND, second) if second else None


def _id(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:21]) < 2**64):
        raise argparse.ArgumentTypeError("must be a number from 1 to 18446744073709551615")
    return int(text)
