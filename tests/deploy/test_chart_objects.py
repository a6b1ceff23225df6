"""What the chart can add: objects of the Prometheus Operator, Grafana's sidecar and Gateway API, and `helm test`."""

import asyncio
import json
import re
from pathlib import Path

import pytest
import yaml

from bridge.cli import health
from bridge.cli.doctor import probe
from bridge.cli.main import main, parser_for
from bridge.sandbox import serve
from bridge.server.handlers import SERVICES
from tests.support.manifests import CHART, ROOT, Manifests, chart, helm, mounted, needs_helm
from tests.support.promtool import MISSING, PROMTOOL, promtool
from tests.support.whole_path import bridge_to

pytestmark = needs_helm
PROMETHEUS = ROOT / "deploy" / "prometheus"
RUNBOOK = "https://runbooks.example/wallet-bridge"


def operators() -> Manifests:
    """Return the chart with all of them, and another name than its own."""
    return chart("operators")


def pods(manifests: Manifests) -> dict[str, dict[str, object]]:
    """Return the containers of `helm test`, by their names."""
    containers = [each["spec"]["containers"] for each in manifests.hooks if each["kind"] == "Pod"]
    return {container["name"]: container for (container,) in containers}


def test_rules_are_those_of_prometheus() -> None:
    """The PrometheusRule is both files, for the job and the runbook of this installation, and with its labels."""
    manifest = operators().one("PrometheusRule")
    texts = [(PROMETHEUS / f"{name}.yml").read_text() for name in ("rules", "objective")]
    own = [text.replace('job="wallet-bridge"', 'job="wallet"').replace("docs/operations.md", RUNBOOK) for text in texts]
    assert manifest["spec"] == {"groups": [group for text in own for group in yaml.safe_load(text)["groups"]]}
    assert manifest["metadata"]["labels"]["release"] == "prometheus"


@pytest.mark.skipif(PROMTOOL is None, reason=MISSING)
def test_rules_can_be_loaded(tmp_path: Path) -> None:
    """Prometheus takes what the operator would give it."""
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump(operators().one("PrometheusRule")["spec"]))
    code, said = promtool("check", "rules", "--lint=all", "--lint-fatal", str(file))
    assert code == 0, said


def test_the_job_is_what_the_monitor_makes_it() -> None:
    """The ServiceMonitor takes the job from a label of the Service, whose value the rules have."""
    manifests = operators()
    label = manifests.one("ServiceMonitor")["spec"]["jobLabel"]
    jobs = {each["metadata"]["labels"][label] for each in manifests.every("Service")}
    assert jobs == set(
        re.findall(r'up\{job="([^"]+)"\}', json.dumps(manifests.one("PrometheusRule")).replace("\\", ""))
    )


def test_dashboard_is_grafanas() -> None:
    """The ConfigMap holds the dashboard unchanged, with the label by which the sidecar finds it."""
    (found,) = [each for each in operators().every("ConfigMap") if "wallet-bridge.json" in each["data"]]
    own = json.loads((ROOT / "deploy" / "grafana" / "wallet-bridge.json").read_text())
    assert json.loads(found["data"]["wallet-bridge.json"]) == own
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["metadata"]["annotations"] == {"grafana_folder": "Wallet"}


def _services(manifests: Manifests) -> set[str]:
    (rule,) = manifests.one("GRPCRoute")["spec"]["rules"]
    return {match["method"]["service"] for match in rule["matches"]}


def _with_route(values: str) -> Manifests:
    flags = ("--set", "grpcRoute.enabled=true", "--set", "grpcRoute.parentRefs[0].name=internal")
    code, said = helm("--values", str(CHART / "ci" / f"{values}-values.yaml"), *flags)
    assert code == 0, said
    return Manifests(said)


def test_the_route_leads_to_the_service() -> None:
    """Calls of the wallet's service reach the port of the Service that has it; nothing else is routed."""
    manifests = operators()
    route = manifests.one("GRPCRoute")["spec"]
    (backend,) = route["rules"][0]["backendRefs"]
    ports = {
        (each["metadata"]["name"], port["port"])
        for each in manifests.every("Service")
        for port in each["spec"]["ports"]
        if port["name"] == "grpc"
    }
    assert (backend["name"], backend["port"]) in ports
    assert _services(manifests) == {service.full_name for service in SERVICES}
    assert _services(_with_route("settlement-redis")) == {*_services(manifests), "wallet.v1.SettlementService"}
    assert route["parentRefs"] == [{"name": "internal", "namespace": "gateways"}]


TESTED = ["mesh", "own-tls", "operators", "settlement-sqlite", "settlement-redis"]
each_chart = pytest.mark.parametrize("values", TESTED)


@each_chart
def test_arguments_of_the_tests_are_commands(values: str) -> None:
    """Each container's arguments are a command of the image's bridge."""
    for container in pods(chart(values)).values():
        arguments = container["args"]
        assert isinstance(arguments, list)
        assert callable(parser_for(arguments).parse_args(arguments).run)


@each_chart
def test_tests_are_not_the_bridge(values: str) -> None:
    """No Service, policy or budget of the bridge selects their pods, which run as restricted as the bridge's."""
    manifests = chart(values)
    (selector,) = {json.dumps(each["spec"]["selector"], sort_keys=True) for each in manifests.every("Service")}
    for pod in (each for each in manifests.hooks if each["kind"] == "Pod"):
        labels = pod["metadata"]["labels"]
        assert not json.loads(selector).items() <= labels.items()
        assert pod["spec"]["securityContext"] == manifests.pod["securityContext"]
        assert pod["spec"]["containers"][0]["securityContext"] == manifests.container["securityContext"]
        assert pod["spec"]["restartPolicy"] == "Never"
        assert pod["spec"]["containers"][0]["image"] == manifests.container["image"]


@each_chart
def test_the_doctor_sees_the_bridges_files(values: str) -> None:
    """The doctor's pod has all of the bridge's volumes of files, at the same places."""
    manifests = chart(values)
    (pod,) = [each["spec"] for each in manifests.hooks if each["metadata"]["name"].endswith("-doctor")]
    own = [each for each in manifests.container["volumeMounts"] if each["name"] not in ("temporary", "settlement")]
    assert [each for each in pod["containers"][0]["volumeMounts"] if each["name"] != "settlement"] == own
    of_bridge = [each for each in manifests.pod["volumes"] if each["name"] not in ("temporary", "settlement")]
    assert [each for each in pod["volumes"] if each["name"] != "settlement"] == of_bridge


async def test_the_doctor_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The doctor's own arguments, with the settings of the chart and a wallet that is there, find nothing wrong."""
    # Time for a busy machine.
    monkeypatch.setattr(probe, "PATIENCE_MAX_S", 60.0)
    monkeypatch.setenv("BRIDGE_WALLET__CONNECT_TIMEOUT_S", "30")
    manifests = chart("mesh")
    arguments = pods(manifests)["doctor"]["args"]
    assert isinstance(arguments, list)
    path = mounted(manifests, tmp_path)
    async with serve() as wallet:
        toml = path.read_text().replace(
            'url = "https://wallet.example"', f'url = "{wallet.url}"\nallow_plaintext = true'
        )
        path.write_text(re.sub(r'listen = "0\.0\.0\.0:\d+"', 'listen = "127.0.0.1:0"', toml))
        code = await asyncio.to_thread(main, [*arguments[:-1], str(path)])
    assert code == 0, capsys.readouterr().out


async def test_health_asks_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The second pod asks the Service's port for calls, and against a running bridge its command ends with 0."""
    monkeypatch.setattr(health, "PATIENCE_S", 60.0)  # time for a busy machine
    manifests = operators()
    arguments = pods(manifests)["health"]["args"]
    assert isinstance(arguments, list)
    name, _, port = str(arguments[-1]).partition(":")
    service = next(each for each in manifests.every("Service") if each["metadata"]["name"] == name)
    assert int(port) in {each["port"] for each in service["spec"]["ports"] if each["name"] == "grpc"}
    async with serve() as wallet, bridge_to(wallet.url) as caller:
        assert await asyncio.to_thread(main, [*arguments[:-1], caller.bridge.address]) == 0


def test_with_its_own_tls_health_is_left_out() -> None:
    """Where the bridge requires a certificate, the test that has none is left out."""
    assert set(pods(chart("own-tls"))) == {"doctor"}
    assert set(pods(chart("mesh"))) == {"doctor", "health"}


@each_chart
def test_the_policy_of_the_tests(values: str) -> None:
    """The tests may go where the bridge may, and to the bridge, which lets them in by their labels."""
    manifests = chart(values)
    (policy,) = [each["spec"] for each in manifests.hooks if each["kind"] == "NetworkPolicy"]
    bridges = manifests.one("NetworkPolicy")["spec"]
    assert policy["egress"][:-1] == bridges["egress"]
    assert policy["egress"][-1]["to"] == [{"podSelector": bridges["podSelector"]}]
    clients = bridges["ingress"][0]["from"][0]["podSelector"]["matchLabels"].items()
    for pod in (each for each in manifests.hooks if each["kind"] == "Pod"):
        labels = pod["metadata"]["labels"].items()
        assert clients <= labels
        assert policy["podSelector"]["matchLabels"].items() <= labels
