"""The labels and names of metrics: bounded, closed where the bridge knows all values, and by the conventions."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from bridge.errors import REASONS, leaves
from bridge.events import AttemptEnded, Event, Reloaded
from bridge.telemetry import families
from bridge.telemetry.series import LABEL_VALUES_MAX, OTHER, Series, Vocabulary
from tests.support.metrics_page import EVERY_EVENT, RPC, WORKER_EVENTS, Page, call, counted, failed, supervised
from tests.support.promtool import MISSING, PROMTOOL, promtool


def test_every_end_is_there_from_the_start() -> None:
    """At 0, so that increase() sees the first failure: each leaf of the error tree, OK and a cancel."""
    ends = {
        (sample.labels["outcome"], sample.labels["reason"])
        for sample in counted().samples
        if sample.name == "wallet_bridge_calls_total" and sample.value == 0
    }
    tree = {(leaf.outcome.name, leaf.reason) for leaf in leaves()}
    assert ends == {("OK", "OK"), ("NOT_SENT", "CANCELLED"), ("UNKNOWN", "CANCELLED")} | tree


def many(change: Callable[[int], Event], count: int = LABEL_VALUES_MAX + 50) -> list[Event]:
    """Return so many events, each other than the others in one thing."""
    return [change(number) for number in range(count)]


CALLS, REQUEST = "wallet_bridge_calls_total", "http_client_request_duration_seconds_count"
BOUNDED = {
    "code": (many(lambda n: call(wallet_code=2**63 + n)), "wallet_bridge_wallet_codes_total", "code", 0),
    "reason": (many(lambda n: failed(f"REASON_{n}")), CALLS, "reason", len(REASONS) + len({"OK", "CANCELLED"})),
    "method": (many(lambda n: call(method=f"Operation{n}")), CALLS, "grpc_method", 1),
    "field": (many(lambda n: call(missing_fields=(f"f_{n}",))), "wallet_bridge_missing_fields_total", "field", 0),
    "HTTP status": (
        many(lambda n: AttemptEnded(RPC, 1, 0.1, http_status=100 + n)),
        *(REQUEST, "http_response_status_code", 0),
    ),
    "rpc": (many(lambda n: AttemptEnded(f"Do{n}", 1, 0.1, http_status=200)), REQUEST, "rpc_method", 0),
    "setting": (many(lambda n: Reloaded(f"wallet.providers.{n}.key")), "wallet_bridge_reloads_total", "key", 0),
}


@pytest.mark.parametrize(("events", "name", "label", "known"), BOUNDED.values(), ids=BOUNDED)
def test_labels_are_bounded(events: Iterable[Event], name: str, label: str, known: int) -> None:
    """However many values come, a label has so many and "other"; nothing goes uncounted."""
    events = list(events)
    page = counted(*events)
    values = {sample.labels[label] for sample in page.samples if sample.name == name}
    assert OTHER in values
    assert len(values) <= known + LABEL_VALUES_MAX + 1
    assert sum(page.by(name, label).values()) == len(events)


CLOSED = {
    "outcome": (failed("WALLET_TIMEOUT", outcome="NEW"), CALLS, "outcome"),
    "status": (call(grpc_code="NEW"), "grpc_server_call_duration_seconds_count", "grpc_status"),
    "cause": (
        AttemptEnded(RPC, 1, 0.1, reason="WALLET_UNREACHABLE", cause="player.name: is missing"),
        "wallet_bridge_unreachable_attempts_total",
        "cause",
    ),
}


@pytest.mark.parametrize(("event", "name", "label"), CLOSED.values(), ids=CLOSED)
def test_words_of_ours_are_the_only_ones(event: Event, name: str, label: str) -> None:
    """Where the bridge knows every value, nothing else comes through."""
    assert counted(event).by(name, label) == {OTHER: 1}


def test_what_is_other_is_not_remembered() -> None:
    """A series that has no room is looked up again each time: a row of new values costs no memory."""
    word = Vocabulary(more=2)
    series = Series(families.WALLET_CODES, CollectorRegistry(), lambda code: (word(str(code)),))
    for code in range(1000):
        series[code,].inc()
    assert list(series) == [(0,), (1,)]


@pytest.mark.skipif(PROMTOOL is None, reason=MISSING)
@pytest.mark.parametrize("page", [counted(*EVERY_EVENT), supervised(*WORKER_EVENTS)], ids=["bridge", "supervisor"])
def test_names_follow_prometheus(page: Page) -> None:
    """Promtool finds nothing to say about names, units, suffixes and help texts."""
    assert promtool("check", "metrics", text=page.text) == (0, "")


def test_no_series_says_when_it_began() -> None:
    """The library's _created series would double the page."""
    assert not [name for name in counted(*EVERY_EVENT).names if name.endswith("_created")]


def test_every_metric_has_a_series() -> None:
    """The events that other tests take for all there are touch every family there is."""
    pages = counted(*EVERY_EVENT), supervised(*WORKER_EVENTS)
    there = {name for page in pages for name, family in page.families.items() if family.samples}
    assert there == {family.name for family in vars(families).values() if isinstance(family, families.Family)}


COUNT = "from bridge.telemetry.metrics import Metrics; Metrics()"


def test_no_file_is_mapped(tmp_path: Path) -> None:
    """The library's variable for several processes is not obeyed: its files kill a process when the disk is full."""
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", COUNT], env=environ, check=True)  # noqa: S603 - our own module
    assert list(tmp_path.iterdir()) == []
