"""`bridge certify` in tests: run beside the test's own wallet, on a thread of its own."""

import argparse
import asyncio
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bridge.cli.certify import command as certify
from bridge.cli.main import parser_for
from tests.support.staging_wallet import LIVE, PLAYER_ID, SITE_ID
from tests.support.whole_path import NO_SETTINGS, environment

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


def parsed(*arguments: str) -> argparse.Namespace:
    """Parse what follows `bridge certify`."""
    return parser_for(["certify"]).parse_args(["certify", *FLAGS, *arguments])


async def certified(
    url: str, *arguments: str, settings: Mapping[str, str] = NO_SETTINGS, token: str = LIVE, says: str | None = None
) -> Certified:
    """Run `bridge certify` for this wallet; `says`: what is typed when it asks, None: there is no terminal."""
    out, err = io.StringIO(), io.StringIO()
    terminal = certify.Terminal(
        out, err, io.BytesIO(token.encode()), lambda: says is not None, lambda: says if says is not None else ""
    )
    arguments = arguments if "--provider-id" in arguments else (*PROVIDER, *arguments)
    exit_code = await asyncio.to_thread(
        certify.run, parsed(*arguments), terminal, environment(url, {**PATIENT, **settings})
    )
    return Certified(exit_code, out.getvalue(), err.getvalue())
