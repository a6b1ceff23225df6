"""The chart and the kustomize base are the same, and the chart refuses what cannot work.

The chart's page and metadata: every value stands there with its default, and Artifact Hub's conventions hold.
"""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge import __version__
from bridge.settings.model import KNOWN, load
from tests.support.manifests import CHART, ROOT, VARIANTS, Manifests, Variant, base, chart, helm, mounted, needs_helm


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
        pytest.param(["--set", "extraEnv[0].name=BRIDGE_SERVER__WORKERS"], "/extraEnv/0/name", id="a setting"),
    ],
)
def test_the_chart_refuses(arguments: list[str], named: str) -> None:
    """Values that cannot work stop the installation, and the error names them."""
    code, said = helm(*arguments)
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
    "settlement": {"store", "key_file", "allowed_identities"},
    "telemetry": {"metrics_listen", "fingerprint_key_file", "fingerprint_key"},
}


@pytest.mark.parametrize("section", CHARTS_OWN)
def test_every_setting_is_a_value(section: str) -> None:
    """The chart's schema has every setting but those that the chart writes itself, and no other."""
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = schema["properties"]["settings"]["properties"][section]["properties"]
    assert set(values) | CHARTS_OWN[section] == set(KNOWN[section].below)
    assert not set(values) & CHARTS_OWN[section]


VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
CHART_YAML: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
README = (CHART / "README.md").read_text()
ROWS: list[tuple[str, str, str]] = re.findall(r"^\| `([^`]+)` \| (.*?) \| (.+) \|$", README, re.MULTILINE)
THE_BRIDGES = "the bridge's"


def leaves(schema: dict[str, Any], above: str = "") -> Iterator[str]:
    """Yield every value that the schema knows; a map with free keys is one value."""
    for name, each in schema["properties"].items():
        if "properties" in each:
            yield from leaves(each, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def default_of(key: str) -> str:
    """Return the default as the page has it."""
    found: Any = VALUES
    for name in key.split("."):
        if name not in found:
            return THE_BRIDGES
        found = found[name]
    return f"`{json.dumps(found)}`"


def test_every_value_is_on_the_page() -> None:
    """The table has each value that the schema takes, once, and no other; Helm's own `global` is no one's."""
    keys = [key for key, _, _ in ROWS]
    assert sorted(keys) == sorted(set(leaves(SCHEMA)) - {"global"})


def test_defaults_are_those_of_the_chart() -> None:
    """What the page calls a default stands in values.yaml."""
    assert {key: default for key, default, _ in ROWS} == {key: default_of(key) for key, _, _ in ROWS}


def test_every_default_is_known_to_the_schema() -> None:
    """values.yaml has nothing that its own schema does not name."""

    def unknown(values: dict[str, Any], schema: dict[str, Any]) -> Iterator[str]:
        for name, value in values.items():
            if name not in schema["properties"]:
                yield name
            elif "properties" in schema["properties"][name]:
                yield from unknown(value, schema["properties"][name])

    assert list(unknown(VALUES, SCHEMA)) == []


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
def test_links_lead_somewhere(link: str) -> None:
    """Every page that the chart's page names is in the repository."""
    assert (CHART / link).resolve().is_file()


@needs_helm
def test_the_command_of_the_page_works() -> None:
    """What the page says for `helm install` can be rendered as it stands, with this chart and a registry's name."""
    command = README.partition("    helm install ")[2].partition("\n\n")[0].replace("\\\n", " ")
    name, archive, *flags = shlex.split(command.replace("<your registry>", "registry.example"))
    assert (name, archive) == ("wallet-bridge", f"wallet-bridge-chart-{__version__}.tgz")
    code, said = helm(*flags)
    assert code == 0, said
    assert Manifests(said).container["image"].startswith("registry.example/wallet-bridge:")


def test_annotations() -> None:
    """Artifact Hub's annotations are well-formed and true: category, licence, the image, what has changed."""
    annotations = CHART_YAML["annotations"]
    assert set(annotations) <= {
        f"artifacthub.io/{name}" for name in ("category", "license", "operator", "prerelease", "images", "changes")
    }
    assert annotations["artifacthub.io/license"] == "Apache-2.0"
    assert (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")
    assert yaml.safe_load(annotations["artifacthub.io/images"]) == [
        {"name": "wallet-bridge", "image": f"{VALUES['image']['repository']}:{__version__}"}
    ]
    changes = yaml.safe_load(annotations["artifacthub.io/changes"])
    assert {each["kind"] for each in changes} <= {"added", "changed", "deprecated", "removed", "fixed", "security"}
    assert all(each["description"] for each in changes)


def test_versions() -> None:
    """Chart and bridge have one version, and the page's commands name the archive of it."""
    assert CHART_YAML["version"] == CHART_YAML["appVersion"] == __version__
    assert f"wallet-bridge-chart-{__version__}.tgz" in README


@needs_helm
def test_what_needs_other_software_is_off() -> None:
    """With values that ask for nothing, every object is Kubernetes' own: a bare cluster can have it."""
    manifests = chart("settlement-redis")
    own = ("v1", "apps/v1", "autoscaling/v2", "networking.k8s.io/v1", "policy/v1")
    assert {each["apiVersion"] for each in (*manifests.all, *manifests.hooks)} <= set(own)
    assert not [each for each in manifests.every("ConfigMap") if each["metadata"]["name"].endswith("-dashboard")]
