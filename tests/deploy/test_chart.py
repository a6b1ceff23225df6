"""The chart and the kustomize base are the same, and the chart refuses what cannot work."""

from pathlib import Path

import pytest
import yaml

from bridge import __version__
from bridge.settings.model import KNOWN, load
from tests.support.manifests import CHART, VARIANTS, Manifests, Variant, base, chart, helm, mounted, needs_helm


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
