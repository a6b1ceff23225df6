"""`bridge settlement`: see and change what the bridge finishes by itself, on the store itself; no bridge need run.

    bridge settlement list                     every entry that is kept, newest first; list REJECTED: only those
    bridge settlement show ID                  one entry, or what a call id refers to
    bridge settlement retry ID                 send it again now; its time to give up begins again
    bridge settlement close ID --reason TEXT   make it CLOSED: it is never sent again
    bridge settlement reclassify               REJECTED entries whose code means success by now become SETTLED

An ID is an entry id. A call id does as well where it names one entry. Neither a token nor a body is ever shown.

Only what the parser needs is imported here: a bridge without settlement imports nothing of it.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from bridge.settings.model import SettingsError, load

STATES = ("PENDING", "SETTLED", "REJECTED", "UNRESOLVED", "CLOSED")
NOT_SET = "settlement: is not set, so that the bridge keeps no entries; set settlement.store and settlement.key_file"


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Give the command its sub-commands."""
    actions = command.add_subparsers(required=True, metavar="ACTION", dest="action")

    action = actions.add_parser("list", help="print every entry that is kept, newest first")
    states = ", ".join(STATES)
    action.add_argument("state", nargs="?", choices=STATES, metavar="STATE", help=f"only those of one state: {states}")
    _add_common(action, ids=False)

    action = actions.add_parser("show", help="print one entry with all that is known of it")
    _add_common(action, ids=True)

    action = actions.add_parser("retry", help="make an entry PENDING and due now")
    _add_common(action, ids=True)

    action = actions.add_parser("close", help="make an entry CLOSED: it is never sent again")
    action.add_argument("--reason", required=True, metavar="TEXT", help="why, for those who read it later")
    _add_common(action, ids=True)

    action = actions.add_parser("reclassify", help="settle REJECTED entries whose code means success by now")
    _add_common(action, ids=False)


def run(arguments: argparse.Namespace, out: TextIO | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Carry out what was asked for; return 0, or 1 where an entry is not there or cannot be changed.

    Raise SettingsError where settlement is not set or its store cannot be used.
    """
    settings = load(arguments.config, environ)
    if settings.settlement is None:
        raise SettingsError(NOT_SET)
    from bridge.cli import settlement_actions  # noqa: PLC0415 - see above

    codes = frozenset(code for code, rule in settings.wallet.codes.items() if rule.success)
    url = settings.settlement.store.get_secret_value()
    return asyncio.run(settlement_actions.run(arguments, url, codes, out or sys.stdout))


def _add_common(action: argparse.ArgumentParser, *, ids: bool) -> None:
    if ids:
        action.add_argument("id", metavar="ID", help="an entry id, or a call id that names one entry")
    action.add_argument("--config", type=Path, metavar="FILE", help="bridge.toml; BRIDGE_SECTION__KEY overrides it")
    action.add_argument("--json", action="store_true", help="one JSON object a line")
