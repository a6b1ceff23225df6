"""The examples for meshes agree with the base and with their own notes; the page on scaling calculates right."""

import re
import textwrap
import tomllib

import pytest
import yaml

from bridge.http2.exchanges import STREAMS_MAX
from bridge.http2.liveness import TRUST
from bridge.transcoding.status import SAFE_TO_REPEAT
from bridge.upstream.retry import ATTEMPTS_MAX, RetryBudget
from tests.mesh.policies import BRIDGES_WORD_AS_ISTIO
from tests.support.manifests import ROOT, Manifest, Manifests, base
from tests.support.sums import value

MESH = ROOT / "deploy" / "mesh"
ISTIO = Manifests((MESH / "istio.yaml").read_text())
ISTIO_NOTES = (MESH / "istio.md").read_text()
LINKERD = Manifests((MESH / "linkerd.yaml").read_text())
LINKERD_NOTES = (MESH / "linkerd.md").read_text()
SCALING = (ROOT / "docs" / "scaling.md").read_text()

HOST = "wallet-bridge.wallet.svc.cluster.local"
PORTS = {each["name"]: each["containerPort"] for each in base().container["ports"]}
SAFE = {"connect-failure", "refused-stream", "retriable-headers"}
POLICIES = ("istio.md", "envoy.md", "../../docs/callers.md", "../../docs/scaling.md")
"""The pages that name the retry policy, from MESH."""


def longest_drain_s() -> float:
    """Return how long the base's bridge may need its way to the wallet after SIGTERM."""
    settings = tomllib.loads(base().toml)
    return float(settings["server"]["drain_s"] + settings["wallet"]["deadline_max_s"])


def routes() -> list[Manifest]:
    """Return the routes of the VirtualService."""
    found: list[Manifest] = ISTIO.one("VirtualService")["spec"]["http"]
    return found


def test_only_what_is_proven_is_retried() -> None:
    """Every route replaces Istio's default by conditions that prove that nothing was done."""
    for route in routes():
        assert set(route["retries"]["retryOn"].split(",")) == SAFE
        assert route["headers"]["request"]["set"] == {"x-envoy-retriable-header-names": SAFE_TO_REPEAT}
        assert 1 <= route["retries"]["attempts"] < ATTEMPTS_MAX
        assert "perTryTimeout" not in route["retries"]
        assert "timeout" not in route


def test_the_notes_quote_the_policy() -> None:
    """What istio.md asks people to write is what istio.yaml has."""
    (quoted,) = re.findall(r"^(    headers:\n(?:      .*\n)+    retries:\n(?:      .*\n)+)", ISTIO_NOTES, re.MULTILINE)
    route = routes()[0]
    assert yaml.safe_load(textwrap.dedent(quoted)) == {name: route[name] for name in ("headers", "retries")}


def test_the_policy_is_the_one_that_was_tried() -> None:
    """It is what tests/mesh runs with real Envoys, under the name of Istio."""
    tried, retries = BRIDGES_WORD_AS_ISTIO, routes()[0]["retries"]
    assert (tried.retry_on, tried.retriable_header) == (retries["retryOn"], SAFE_TO_REPEAT)
    assert tried.retry_policy()["num_retries"] == retries["attempts"]


@pytest.mark.parametrize("page", POLICIES)
def test_every_page_names_the_same_policy(page: str) -> None:
    """The pages for callers, operators and the mesh name one policy, and the trailer that it looks for."""
    text = " ".join((MESH / page).read_text().split())
    assert BRIDGES_WORD_AS_ISTIO.retry_on in text
    assert SAFE_TO_REPEAT in text


@pytest.mark.parametrize("page", ["istio.md", "linkerd.md", "envoy.md"])
def test_xds_is_out_of_scope(page: str) -> None:
    """Every page about a mesh says so."""
    assert "xDS" in (MESH / page).read_text()
    assert "out of scope" in (MESH / page).read_text()


@pytest.mark.parametrize(
    "condition", ["unavailable", "cancelled", "reset", "5xx", "gateway-error", "deadline-exceeded"]
)
def test_the_notes_say_what_is_not_safe(condition: str) -> None:
    """The table has a no for each condition that retries calls of unknown outcome."""
    (row,) = [line for line in ISTIO_NOTES.splitlines() if line.startswith("| ") and f"`{condition}`" in line]
    assert "**no**" in row


def test_istio_knows_the_service() -> None:
    """Host and port are those of the Service that balances, which is not headless."""
    services = {each["metadata"]["name"]: each["spec"] for each in base().every("Service")}
    service = services[HOST.partition(".")[0]]
    assert "clusterIP" not in service
    assert ISTIO.one("VirtualService")["spec"]["hosts"] == [HOST]
    assert ISTIO.one("DestinationRule")["spec"]["host"] == HOST
    for route in routes():
        (way,) = route["route"]
        assert way["destination"] == {"host": HOST, "port": {"number": service["ports"][0]["port"]}}


@pytest.mark.parametrize("name", ["native.yaml", "limits.yaml"])
def test_what_changes_the_sidecar_is_about_the_port_for_calls(name: str) -> None:
    """Each patch names the pods and the port of the base: one for another port would change nothing, without a word."""
    spec = Manifests((MESH / name).read_text()).one("EnvoyFilter")["spec"]
    labels = base().one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert spec["workloadSelector"]["labels"] == labels
    for patch in spec["configPatches"]:
        match = patch["match"]
        assert match["context"] == "SIDECAR_INBOUND"
        assert match.get("listener", match.get("cluster"))["portNumber"] == PORTS["grpc"]


def test_answers_eject_no_bridge() -> None:
    """What takes a pod out is that it cannot be reached, not that the wallet cannot."""
    detection = ISTIO.one("DestinationRule")["spec"]["trafficPolicy"]["outlierDetection"]
    assert detection["consecutive5xxErrors"] == detection["consecutiveGatewayErrors"] == 0
    assert detection["splitExternalLocalOriginErrors"] is True
    assert detection["consecutiveLocalOriginFailures"] > 0
    assert detection["maxEjectionPercent"] <= 50


def test_istio_is_closed() -> None:
    """Plaintext is for scrapes alone, and calls are let in by identity only."""
    labels = base().one("Deployment")["spec"]["template"]["metadata"]["labels"]
    peers = ISTIO.one("PeerAuthentication")["spec"]
    policy = ISTIO.one("AuthorizationPolicy")["spec"]
    assert peers["selector"]["matchLabels"] == policy["selector"]["matchLabels"] == labels
    assert peers["mtls"] == {"mode": "STRICT"}
    assert set(peers["portLevelMtls"]) == {PORTS["metrics"]}
    allowed = {rule["to"][0]["operation"]["ports"][0]: "from" in rule for rule in policy["rules"]}
    assert allowed == {str(PORTS["grpc"]): True, str(PORTS["metrics"]): False}


def test_linkerd_retries_nothing() -> None:
    """No annotation asks for retries or circuit breaking: the proxies say UNAVAILABLE themselves."""
    assert not [each for each in LINKERD.all if "annotations" in each["metadata"]]
    assert not [each for each in LINKERD.all if each["kind"] in {"ServiceProfile", "GRPCRoute", "HTTPRoute"}]


def test_linkerd_knows_the_port() -> None:
    """The Server is the pods' port of that name, whose protocol is said."""
    spec = LINKERD.one("Server")["spec"]
    assert spec["podSelector"]["matchLabels"] == base().one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert spec["port"] in PORTS
    assert spec["proxyProtocol"] == "gRPC"


def test_linkerd_is_closed() -> None:
    """The policy is about that Server, and asks for the callers' identity."""
    policy = LINKERD.one("AuthorizationPolicy")["spec"]
    assert policy["targetRef"]["name"] == LINKERD.one("Server")["metadata"]["name"]
    (wanted,) = policy["requiredAuthenticationRefs"]
    assert wanted["name"] == LINKERD.one("MeshTLSAuthentication")["metadata"]["name"]


def test_probes_pass_linkerd_by() -> None:
    """The port that the proxy is asked to leave alone is the one for health."""
    assert re.findall(r'skip-inbound-ports: "(\d+)"', LINKERD_NOTES) == [str(PORTS["health"])]


@pytest.mark.parametrize(
    ("notes", "pattern"),
    [
        pytest.param(ISTIO_NOTES, r"terminationDrainDuration: (\d+)s", id="Istio"),
        pytest.param(LINKERD_NOTES, r'proxy-wait-before-exit-seconds: "(\d+)"', id="Linkerd"),
    ],
)
def test_sidecars_outlive_the_drain(notes: str, pattern: str) -> None:
    """A sidecar that goes by itself stays as long as calls may last, and not longer than the pod."""
    (seconds,) = map(int, re.findall(pattern, notes))
    assert longest_drain_s() <= seconds <= base().pod["terminationGracePeriodSeconds"]


@pytest.mark.parametrize(("formula", "result"), re.findall(r"\| ([^|]*\d[^|]*) = (\d+) \|$", SCALING, re.MULTILINE))
def test_the_example_is_calculated_right(formula: str, result: str) -> None:
    """Every row of the worked example comes to what it says."""
    assert value(formula) == int(result)


def test_the_page_knows_the_limits() -> None:
    """What it says of the bridge's own numbers is so."""
    budget = RetryBudget()
    row = f"{budget.capacity:.0f} tokens, {budget.retry_cost:.0f} for a retry, {budget.success_gain:.0f} back"
    assert row in SCALING
    assert f"the bridge uses {STREAMS_MAX} at\n  most" in SCALING
    assert f"after about {TRUST.age_max_s / 60:.0f} minutes" in SCALING


def test_the_page_knows_the_autoscaler() -> None:
    """The share of a core in its formulas is the autoscaler's target, and the zones and drains are the manifests'."""
    (metric,) = base().one("HorizontalPodAutoscaler")["spec"]["metrics"]
    percent = metric["resource"]["target"]["averageUtilization"]
    assert f"| {percent / 100} |" in SCALING
    assert f"CPU, {percent} % of the request" in SCALING
