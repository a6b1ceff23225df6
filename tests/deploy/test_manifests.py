"""The manifests in deploy/ agree with what the bridge really reads."""

import re
from pathlib import Path

import pytest

from bridge.address import split_listen
from bridge.cli.main import main
from bridge.process.serve import END_S
from bridge.server.health import LIVENESS
from bridge.settings.model import Settings, load
from bridge.telemetry.metrics_server import PATH
from tests.support.manifests import ROOT, VARIANTS, Variant, each_variant, mounted

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def settings(variant: Variant, folder: Path) -> Settings:
    """Return the settings as the bridge in the pod reads them."""
    return load(mounted(variant(), folder), {})


def port(listen: str) -> int:
    """Return the port of a setting."""
    return split_listen(listen)[1]


@each_variant
def test_the_arguments_are_accepted(variant: Variant, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The container's arguments, with --check, end with 0: every key is known and every file is named right."""
    arguments = variant().container["args"]
    path = mounted(variant(), tmp_path)
    assert arguments[-1] == "/etc/wallet-bridge/bridge.toml"
    assert main([*arguments[:-1], str(path), "--check"]) == 0, capsys.readouterr().err


@each_variant
def test_the_configuration_is_mounted(variant: Variant) -> None:
    """The ConfigMap that is there is mounted where the arguments look for it."""
    manifests = variant()
    (volume,) = (each for each in manifests.pod["volumes"] if "configMap" in each)
    assert volume["configMap"]["name"] == manifests.one("ConfigMap")["metadata"]["name"]
    (mount,) = (each for each in manifests.container["volumeMounts"] if each["name"] == volume["name"])
    assert manifests.container["args"][-1] == f"{mount['mountPath']}/bridge.toml"


@each_variant
def test_secret_files_are_mounted(variant: Variant) -> None:
    """Every file that bridge.toml names is in the folder of a Secret, and every Secret is used."""
    files = [Path(path) for path in re.findall(r'_file = "(/[^"]+)"', variant().toml)]
    assert {str(file.parent) for file in files} == set(variant().secret_folders)
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]+", file.name) for file in files), "keys of a Secret"


@each_variant
def test_secrets_can_rotate(variant: Variant) -> None:
    """No mount has a subPath: Kubernetes never updates those."""
    assert not [each for each in variant().container["volumeMounts"] if "subPath" in each]


@each_variant
def test_ports(variant: Variant, tmp_path: Path) -> None:
    """The container's ports are those that the bridge listens on, on all addresses."""
    read = settings(variant, tmp_path)
    ports = {"grpc": read.server.listen, "health": read.server.health_listen, "metrics": read.telemetry.metrics_listen}
    assert {each["name"]: each["containerPort"] for each in variant().container["ports"]} == {
        name: port(listen) for name, listen in ports.items()
    }
    assert {split_listen(listen)[0] for listen in ports.values()} == {"0.0.0.0"}  # noqa: S104 - in a pod


@each_variant
def test_probes(variant: Variant, tmp_path: Path) -> None:
    """All ask the event loop through the plaintext health port; who restarts asks by the name that no drain changes."""
    health = port(settings(variant, tmp_path).server.health_listen)
    container = variant().container
    assert [set(container[name]) & {"grpc", "tcpSocket", "httpGet", "exec"} for name in PROBES] == [{"grpc"}] * 3
    assert container["startupProbe"]["grpc"] == container["readinessProbe"]["grpc"] == {"port": health}
    assert container["livenessProbe"]["grpc"] == {"port": health, "service": LIVENESS}


@each_variant
def test_grace(variant: Variant, tmp_path: Path) -> None:
    """A pod has the time that a drain takes at most, and no hook of it spends any."""
    read = settings(variant, tmp_path)
    assert variant().pod["terminationGracePeriodSeconds"] >= read.server.drain_s + read.wallet.deadline_max_s + END_S
    assert "lifecycle" not in variant().container


@each_variant
def test_cores(variant: Variant, tmp_path: Path) -> None:
    """A worker uses one core: that is the request, of which the autoscaler takes its percentage. No limit."""
    resources = variant().container["resources"]
    assert int(resources["requests"]["cpu"]) == settings(variant, tmp_path).server.workers
    assert set(resources["limits"]) == {"memory"}


@each_variant
def test_nothing_but_tmp_is_written(variant: Variant) -> None:
    """The root is read-only, and the folder for the native engine's socket is memory."""
    manifests = variant()
    assert manifests.container["securityContext"]["readOnlyRootFilesystem"] is True
    writable = [each for each in manifests.container["volumeMounts"] if not each.get("readOnly")]
    assert [each["mountPath"] for each in writable] == ["/tmp"]  # noqa: S108 - in a pod
    (volume,) = (each for each in manifests.pod["volumes"] if each["name"] == writable[0]["name"])
    assert volume["emptyDir"]["medium"] == "Memory"


@each_variant
def test_no_variables_become_settings(variant: Variant) -> None:
    """Nothing injects BRIDGE_ variables: neither links to Services nor the container's own."""
    assert variant().pod["enableServiceLinks"] is False
    assert not [each for each in variant().container.get("env", []) if each["name"].startswith("BRIDGE_")]


@each_variant
def test_restricted(variant: Variant) -> None:
    """The pod is within the Pod Security Standard "restricted", and has no token for the API."""
    pod, container = variant().pod, variant().container["securityContext"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == variant().one("ServiceAccount")["metadata"]["name"]


@each_variant
def test_secrets_are_readable_by_the_group(variant: Variant) -> None:
    """The bridge is no owner of mounted files: its group reads them, and others do not."""
    assert variant().pod["securityContext"]["fsGroup"] == variant().pod["securityContext"]["runAsGroup"]
    assert {each["secret"]["defaultMode"] for each in variant().pod["volumes"] if "secret" in each} == {0o440}


@each_variant
def test_selectors(variant: Variant) -> None:
    """Whatever selects pods selects these."""
    manifests = variant()
    labels = manifests.one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    selectors = [each["spec"]["selector"] for each in manifests.every("Service")]
    selectors += [
        manifests.one(kind)["spec"]["selector"]["matchLabels"] for kind in ("Deployment", "PodDisruptionBudget")
    ]
    selectors.append(manifests.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"])
    selectors += [each["labelSelector"]["matchLabels"] for each in manifests.pod["topologySpreadConstraints"]]
    assert all(selector and selector.items() <= labels for selector in selectors)


@each_variant
def test_services(variant: Variant, tmp_path: Path) -> None:
    """Calls come in by a Service for meshes and a headless one for clients that balance; both say what they carry."""
    read = settings(variant, tmp_path)
    services = variant().every("Service")
    assert [each["spec"].get("clusterIP") for each in services].count("None") == 1
    assert len(services) == 2
    for service in services:
        (grpc,) = (each for each in service["spec"]["ports"] if each["name"] == "grpc")
        assert (grpc["port"], grpc["targetPort"]) == (port(read.server.listen), "grpc")
        assert grpc["appProtocol"] == ("tls" if read.server.tls_certificate_file else "grpc")


@each_variant
def test_network_policy(variant: Variant, tmp_path: Path) -> None:
    """Calls and scrapes come in, not probes; names and the wallet's port are where the bridge may go."""
    read = settings(variant, tmp_path)
    policy = variant().one("NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    ports = {way: [each["port"] for rule in policy[way] for each in rule["ports"]] for way in ("ingress", "egress")}
    assert ports["ingress"] == [port(read.server.listen), port(read.telemetry.metrics_listen)]
    found = re.search(r":(\d+)", read.wallet.url)
    assert ports["egress"][:3] == [53, 53, int(found[1]) if found else 443]


@each_variant
def test_replicas(variant: Variant) -> None:
    """There are two at least, only one of autoscaler and Deployment says how many, and a disruption takes one."""
    manifests = variant()
    autoscalers = manifests.every("HorizontalPodAutoscaler")
    replicas = [each["spec"]["minReplicas"] for each in autoscalers]
    replicas += [each["spec"]["replicas"] for each in manifests.every("Deployment") if "replicas" in each["spec"]]
    assert len(replicas) == 1
    assert replicas[0] >= 2
    assert manifests.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    for autoscaler in autoscalers:
        assert autoscaler["spec"]["scaleTargetRef"]["name"] == manifests.one("Deployment")["metadata"]["name"]


@pytest.mark.parametrize("variant", VARIANTS[:3])
def test_scraping(variant: Variant) -> None:
    """Exactly one Service has the port, under the job that the alerts know."""
    manifests = variant()
    monitor = manifests.one("ServiceMonitor")["spec"]
    (endpoint,) = monitor["endpoints"]
    named = [
        each
        for each in manifests.every("Service")
        if endpoint["port"] in {its["name"] for its in each["spec"]["ports"]}
    ]
    assert len(named) == 1
    assert endpoint["path"] == PATH
    assert monitor["jobLabel"] == "app.kubernetes.io/name"
    assert 'job="wallet-bridge"' in (ROOT / "deploy" / "prometheus" / "rules.yml").read_text()
