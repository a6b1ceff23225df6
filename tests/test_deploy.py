"""The manifests in deploy/ agree with what the bridge really reads, and the chart with the kustomize base."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
import yaml

from bridge import __version__
from bridge.cli import main
from bridge.config import KNOWN, Settings, load
from bridge.run import END_S
from bridge.settings_values import split_listen
from bridge.telemetry.metrics_server import PATH
from manifests import (
    CHART,
    HELM,
    HELM_MISSING,
    KUSTOMIZE,
    KUSTOMIZE_MISSING,
    ROOT,
    Manifests,
    base,
    chart,
    overlay,
)
from manifests import helm as helm_template
from settings_files import ACCESS_KEY, PRIVATE_KEY

needs_helm = pytest.mark.skipif(HELM is None, reason=HELM_MISSING)
needs_kustomize = pytest.mark.skipif(KUSTOMIZE is None, reason=KUSTOMIZE_MISSING)

VARIANTS = [
    pytest.param(base, id="base"),
    pytest.param(lambda: overlay("example"), id="overlay", marks=needs_kustomize),
    pytest.param(lambda: chart("mesh"), id="chart", marks=needs_helm),
    pytest.param(lambda: chart("own-tls"), id="chart with everything on", marks=needs_helm),
]
each_variant = pytest.mark.parametrize("variant", VARIANTS)
Variant = Callable[[], Manifests]

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def content(name: str, authority: trustme.CA, leaf: trustme.LeafCert) -> bytes:
    """Return what a mounted file of this name holds."""
    if name.startswith("private-key-"):
        return PRIVATE_KEY.encode()
    certificate = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    fixed = {
        "tls.crt": certificate,
        "tls.key": leaf.private_key_pem.bytes(),
        "ca.crt": authority.cert_pem.bytes(),
        "fingerprint-key": b"0123456789abcdef",
    }
    return fixed.get(name, ACCESS_KEY.encode())


def mounted(manifests: Manifests, folder: Path) -> Path:
    """Write bridge.toml with files in a folder in place of mounted secrets; return its path."""
    authority = trustme.CA()
    leaf = authority.issue_cert("wallet-bridge.example")
    toml = manifests.toml
    for path in re.findall(r'_file = "(/[^"]+)"', toml):
        file = folder / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content(file.name, authority, leaf))
        toml = toml.replace(f'"{path}"', f'"{file}"')
    (folder / "bridge.toml").write_text(toml)
    return folder / "bridge.toml"


def settings(variant: Variant, folder: Path) -> Settings:
    """Return the settings as the bridge in the pod reads them."""
    return load(mounted(variant(), folder), {})


def port(listen: str) -> int:
    """Return the port of a setting."""
    return split_listen(listen)[1]


# --- what the bridge reads --------------------------------------------------------------------------------------------


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
    listens = {
        "grpc": read.server.listen,
        "health": read.server.health_listen,
        "metrics": read.telemetry.metrics_listen,
    }
    assert {each["name"]: each["containerPort"] for each in variant().container["ports"]} == {
        name: port(listen) for name, listen in listens.items()
    }
    assert {split_listen(listen)[0] for listen in listens.values()} == {"0.0.0.0"}  # noqa: S104 - in a pod


@each_variant
def test_probes(variant: Variant, tmp_path: Path) -> None:
    """All ask the plaintext health port; only who may find a drain asks for health itself."""
    health = port(settings(variant, tmp_path).server.health_listen)
    container = variant().container
    assert [set(container[name]) & {"grpc", "tcpSocket"} for name in PROBES] == [{"grpc"}, {"grpc"}, {"tcpSocket"}]
    assert container["startupProbe"]["grpc"] == container["readinessProbe"]["grpc"] == {"port": health}
    assert container["livenessProbe"]["tcpSocket"] == {"port": health}


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
    """The root is read-only, and the folder for metrics of several workers is memory."""
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


# --- what Kubernetes sees ---------------------------------------------------------------------------------------------


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


# --- both ways are one ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS[:3])
def test_the_version_is_the_bridges(variant: Variant) -> None:
    """Manifests run the version beside which they are committed."""
    assert variant().container["image"].endswith(f"wallet-bridge:{__version__}")


@needs_helm
def test_chart_and_base_are_the_same(tmp_path: Path) -> None:
    """With the values of ci/mesh-values.yaml, nothing but names, labels and defaults that are written out differs."""
    assert shape(chart("mesh")) == shape(base())
    assert load(mounted(chart("mesh"), tmp_path), {}).model_dump() == load(mounted(base(), tmp_path), {}).model_dump()


def shape(manifests: Manifests) -> dict[str, object]:
    """Return everything by kind and name, without what only a chart has."""
    found = {}
    for manifest in manifests.all:
        if manifest["kind"] != "ConfigMap":
            found[f"{manifest['kind']} {manifest['metadata']['name']}"] = plain(manifest.get("spec", {}))
    return found


def plain(value: object) -> object:
    """Return a value without labels, annotations and defaults that Helm and kustomize add."""
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        dropped = {"app.kubernetes.io/instance", "metadata", "imagePullPolicy"}
        return {key: plain(each) for key, each in value.items() if key not in dropped}
    return value


@needs_helm
@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param([], "/settings/wallet/url", id="no wallet"),
        pytest.param([], "/providers", id="no providers"),
        pytest.param(["--set", "settings.server.drain=1"], "'drain'", id="a key that is none"),
        pytest.param(
            ["--set", "extraEnv[0].name=BRIDGE_SERVER__WORKERS"], "/extraEnv/0/name", id="a setting as variable"
        ),
    ],
)
def test_the_chart_refuses(arguments: list[str], named: str) -> None:
    """Values that cannot work stop the installation, and the error names them."""
    code, said = helm_template(*arguments)
    assert code != 0
    assert named in said


CHARTS_OWN = {
    "server": {
        "listen",
        "health_listen",
        "tls_certificate_file",
        "tls_key_file",
        "tls_client_ca_file",
        "allowed_identities",
    },
    "wallet": {"ca_file", "client_certificate_file", "client_key_file", "providers", "codes"},
    "telemetry": {"metrics_listen", "fingerprint_key_file", "fingerprint_key"},
}


@pytest.mark.parametrize("section", CHARTS_OWN)
def test_every_setting_is_a_value(section: str) -> None:
    """The chart's schema has every setting but those that the chart writes itself, and no other."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = schema["properties"]["settings"]["properties"][section]["properties"]
    assert set(values) | CHARTS_OWN[section] == set(KNOWN[section].below)
    assert not set(values) & CHARTS_OWN[section]
