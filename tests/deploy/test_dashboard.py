"""The dashboard: each of its queries can be asked, and asks for what a bridge that has taken calls reports."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from bridge import sandbox
from bridge.telemetry import families
from bridge.telemetry.metrics import Metrics
from bridge.telemetry.metrics_server import serve_metrics
from tests.support.metrics_page import EVERY_EVENT, METHOD, WORKER_EVENTS, scrape, supervised
from tests.support.promtool import MISSING, PROMTOOL, metrics_in, promtool
from tests.support.whole_path import bridge_to

DASHBOARD: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "deploy" / "grafana" / "wallet-bridge.json").read_text()
)
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
QUERIES: list[str] = [target["expr"] for panel in PANELS for target in panel.get("targets", ())]


async def exposed() -> set[str]:
    """Return the names on the pages of a bridge that has taken calls, and of a supervisor."""
    registry = CollectorRegistry()
    metrics = Metrics([METHOD], registry)
    async with sandbox.serve() as wallet, bridge_to(wallet.url, emit=metrics) as caller:
        for token in ("test-missing-fields", "test-throttled", "test-unknown-error"):
            await caller.terminate(token)
    # What no short run brings about: retries, reloads, a queue.
    for event in EVERY_EVENT:
        metrics(event)
    endpoint = serve_metrics("127.0.0.1:0", registry=registry)
    try:
        return scrape(endpoint.address).names | supervised(*WORKER_EVENTS).names
    finally:
        endpoint.close()


async def test_every_query_reads_metrics_that_exist() -> None:
    """With their suffixes: _total, _bucket, _count."""
    names = await exposed()
    assert {query: metrics_in(query) - names for query in QUERIES if not metrics_in(query) <= names} == {}


def test_every_metric_is_shown() -> None:
    """Nothing is measured that no one looks at."""
    read = {re.sub(r"_(total|bucket|count|sum)$", "", name) for query in QUERIES for name in metrics_in(query)}
    assert read == {family.name for family in vars(families).values() if isinstance(family, families.Family)}


@pytest.mark.skipif(PROMTOOL is None, reason=MISSING)
def test_every_query_can_be_asked(tmp_path: Path) -> None:
    """Prometheus parses each, in the place of the expression of a rule."""
    rules = [
        {"record": f"query_{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(QUERIES)
    ]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    code, said = promtool("check", "rules", str(file))
    assert code == 0, said
    assert f"{len(QUERIES)} rules found" in said


def test_every_query_keeps_to_what_was_chosen() -> None:
    """Each asks the chosen data source, and for the chosen job and instances."""
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "job", "instance"}
    for panel in PANELS:
        for target in panel.get("targets", ()):
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    for query in QUERIES:
        selectors = re.findall(r"\{([^}]*)\}", query)
        assert selectors
        assert all('job="$job", instance=~"$instance"' in selector for selector in selectors)


def test_the_rows() -> None:
    """From what callers see to what the machine does."""
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == ["Calls", "Outcomes", "Objective", "Wallet side", "Capacity", "Rotation", "Processes", "Settlement"]


def test_every_panel_explains_itself() -> None:
    """A title of its own, a sentence, a legend for each query; and no two panels lie upon each other."""
    shown = [panel for panel in PANELS if panel["type"] != "row"]
    assert len({panel["title"] for panel in PANELS}) == len({panel["id"] for panel in PANELS}) == len(PANELS)
    for panel in shown:
        assert panel["description"].endswith(".")
        assert all(target["legendFormat"] for target in panel["targets"])
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in PANELS]
    assert len(set(places)) == len(places)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)
