"""The chart's page and metadata: every value stands there with its default, and Artifact Hub's conventions hold."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from bridge import __version__
from tests.support.manifests import CHART, ROOT, Manifests, chart, helm, needs_helm

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
