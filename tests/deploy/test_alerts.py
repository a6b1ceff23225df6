"""The alerting rules: they fire when they should and only then, and each has its section of the handbook."""

import re
from pathlib import Path

import pytest

from tests.support.metrics_page import EVERY_EVENT, WORKER_EVENTS, counted, supervised
from tests.support.promtool import MISSING, PROMTOOL, metrics_in, promtool

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
FILES = ("rules", "objective")
RULES = "".join((FOLDER / f"{name}.yml").read_text() for name in FILES)
SCENARIOS = "".join((FOLDER / f"{name}_test.yml").read_text() for name in FILES)
HANDBOOK = ROOT / "docs" / "operations.md"

needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason=MISSING)


def parts(text: str, start: str) -> dict[str, str]:
    """Return the parts of a YAML file that begin with "- start: name", by name. The files keep to one layout."""
    found = re.split(rf"^ *- {start}: '?(.*?)'?$", text, flags=re.MULTILINE)[1:]
    assert len(set(found[::2])) == len(found) // 2, "names are unique"
    return dict(zip(found[::2], found[1::2], strict=True))


ALERTS = parts(RULES, "alert")
RECORDED = re.findall(r"- record: (\S+)$", RULES, re.MULTILINE)
FIRES = r'- labels: \'{alertname="(\w+)"}\'\n +value: 1\b'


@needs_promtool
@pytest.mark.parametrize("name", FILES)
def test_the_rules_can_be_loaded(name: str) -> None:
    """Prometheus' own check, with every warning an error."""
    code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", str(FOLDER / f"{name}.yml"))
    assert code == 0, said


@needs_promtool
@pytest.mark.parametrize("name", FILES)
def test_the_alerts_fire_when_they_should(name: str) -> None:
    """Every scenario beside the rules comes out as it says: these alerts, and no others."""
    code, said = promtool("test", "rules", str(FOLDER / f"{name}_test.yml"))
    assert code == 0, said


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_both_scenarios(alert: str) -> None:
    """One in which it fires, and one close to it in which nothing does."""
    scenarios = parts(SCENARIOS, "name")
    fires = [text for name, text in scenarios.items() if name.startswith(f"{alert} fires: ")]
    silent = [text for name, text in scenarios.items() if name.startswith(f"{alert} stays silent: ")]
    assert fires
    assert silent
    assert all(alert in re.findall(FIRES, text) for text in fires)
    assert all("exp_samples: []" in text for text in silent)


def test_every_file_of_rules_is_tested() -> None:
    """No rules lie in the folder that these tests, or the chart, do not know."""
    files = {path.name for path in FOLDER.glob("*.yml")}
    assert files == {f"{name}{kind}.yml" for name in FILES for kind in ("", "_test")}
    template = (ROOT / "deploy" / "helm" / "wallet-bridge" / "templates" / "prometheus-rule.yaml").read_text()
    assert all(f'"files/{name}.yml"' in template for name in FILES)


def test_no_scenario_is_about_an_alert_that_is_gone() -> None:
    """Scenarios name the alerts of the rules and no others."""
    named = set(re.findall(r"(\w+) (?:fires|stays silent): ", SCENARIOS))
    assert named == set(ALERTS)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_what_it_means(alert: str) -> None:
    """A severity, a summary, a description, and where to read on: the section of its name."""
    text = ALERTS[alert]
    assert re.search(r"severity: (critical|warning)$", text, re.MULTILINE)
    assert re.search(r"summary: .+$", text, re.MULTILINE)
    assert re.search(r"description: .+$", text, re.MULTILINE)
    assert re.search(rf"runbook_url: docs/operations\.md#{alert.lower()}$", text, re.MULTILINE)


def test_every_alert_has_its_section() -> None:
    """The handbook has one for each alert, in the rules' words, and none for one that is gone."""
    sections = parts_of_handbook()
    assert set(sections) == set(ALERTS)
    for alert, text in sections.items():
        severity = re.search(r"severity: (\w+)", ALERTS[alert])
        assert severity is not None
        assert text.lower().lstrip().startswith(severity[1])


def parts_of_handbook() -> dict[str, str]:
    """Return the sections about alerts, by heading."""
    text = HANDBOOK.read_text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
    found = re.split(r"^### (\w+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def test_rules_read_metrics_that_exist() -> None:
    """Of the bridge, of the rules' own recordings, and `up`, which is Prometheus' own."""
    exposed = counted(*EVERY_EVENT).names | supervised(*WORKER_EVENTS).names
    queries = re.findall(r"^ +expr: (.+(?:\n {10}.+)*)$", RULES, re.MULTILINE)
    assert len(queries) == len(ALERTS) + len(RECORDED)
    read = {name for query in queries for name in metrics_in(query.removeprefix(">-"))}
    assert read <= exposed | set(RECORDED) | {"up"}
    assert set(RECORDED) <= read, "what is not read is not recorded"


QUERIES = {
    "bare": ("up", {"up"}),
    "labels": ('a_total{b="c", d=~"e|{f}"} == 0', {"a_total"}),
    "functions": ('sum by (job) (rate(a_total{b="c"}[$__rate_interval])) > 0.05', {"a_total"}),
    "sums": ("histogram_quantile(0.99, sum by (le) (rate(a_bucket[5m])))", {"a_bucket"}),
    "two": ("a / on (job) group_left job:b:rate5m and c or time() - d", {"a", "job:b:rate5m", "c", "d"}),
    "numbers": ("a > 1e3", {"a"}),
}


@pytest.mark.parametrize(("query", "metrics"), QUERIES.values(), ids=QUERIES)
def test_metrics_are_found_in_queries(query: str, metrics: set[str]) -> None:
    """What looks for metrics in queries finds all of them, and nothing else."""
    assert metrics_in(query) == metrics
