"""The handbook for operators must be true: metrics, settings, reasons and files that it names are there."""

import re
from pathlib import Path
from typing import get_args

import pytest

from bridge.errors import REASONS
from bridge.events import Event
from bridge.settings.messages import find
from bridge.settings.model import KNOWN
from bridge.telemetry.logs import ERROR_REASONS, SILENT
from tests.support.metrics_page import EVERY_EVENT, WORKER_EVENTS, counted, supervised

ROOT = Path(__file__).parents[2]
HANDBOOK, SCALING = ((ROOT / "docs" / f"{name}.md").read_text() for name in ("operations", "scaling"))


def test_the_table_of_metrics() -> None:
    """It has every metric that there is, with its type and labels, and no other; nor has the page on scaling."""
    there = set()
    for page in (counted(*EVERY_EVENT), supervised(*WORKER_EVENTS)):
        for family in page.families.values():
            labels = {label for sample in family.samples for label in sample.labels} - {"le"}
            name = f"{family.name}_total" if family.type == "counter" else family.name
            there.add((name, family.type, frozenset(labels)))
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \|([^|]*)\|", HANDBOOK, re.MULTILINE)
    reported = [(name, kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows]
    assert set(reported) == there
    assert len(reported) == len(there)
    assert set(re.findall(r"`(wallet_bridge_\w+)`", SCALING)) <= {name for name, _, _ in there}


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`((?:server|wallet|telemetry)\.\w+)(?: = [^`]*)?`", HANDBOOK + SCALING)))
)
def test_named_settings_exist(name: str) -> None:
    """Every setting that the handbook or the page on scaling names is one."""
    assert find(KNOWN, tuple(name.split("."))) is not None


def test_every_setting_is_in_the_table_of_groups() -> None:
    """Each setting is listed in one of its rows."""
    table = HANDBOOK.partition("\n## Settings\n")[2].partition("\n## ")[0]
    for section, setting in KNOWN.items():
        for name in setting.below:
            twin = f"{name}_file"
            assert f"`{section}.{name}`" in table or f"`{section}.{twin}`" in table, name


@pytest.mark.parametrize("reason", sorted(set(re.findall(r"\b(?:WALLET|BRIDGE)_[A-Z_]+\b", HANDBOOK))))
def test_named_reasons_exist(reason: str) -> None:
    """Every reason that the handbook names is one of the table of failures."""
    assert reason in REASONS


def test_reasons_that_need_eyes() -> None:
    """The handbook lists those that the log shows as errors."""
    assert set(re.findall(r"^\| ([A-Z_]+) \| .* \| \[WalletBridge", HANDBOOK, re.MULTILINE)) >= ERROR_REASONS
    table = HANDBOOK.partition("\nThese reasons need eyes")[2].partition("\nWhat to look for")[0]
    assert set(re.findall(r"^\| ([A-Z_]{4,}) \|", table, re.MULTILINE)) == ERROR_REASONS


def test_every_line_of_the_log_is_listed() -> None:
    """The table of events has the name of each that is logged: all but those that are silent."""
    table = HANDBOOK.partition("\n## Log\n")[2].partition("\nThese reasons")[0]
    kinds = [kind for kind in get_args(Event) if kind not in SILENT]
    assert all(str(kind.__struct_config__.tag) in table for kind in kinds)
