"""kustomize and the chart offer the same: the same objects, and the bridge reads the same settings from both."""

import re
from pathlib import Path
from typing import Any

import pytest

from bridge.settings.model import Settings, load
from tests.deploy.test_chart import shape
from tests.support.manifests import COMPONENTS, Manifests, helm, mounted, needs_helm, needs_kustomize, with_component

pytestmark = [needs_helm, needs_kustomize]

BASE = {"settings.wallet.url": "https://wallet.example", "keys.secretName": "wallet-bridge-keys"}
SQLITE = {"settlement.store": "sqlite", "autoscaling.enabled": "false", "replicaCount": "1"}
REDIS = {
    "settlement.store": "redis",
    "settlement.redisUrl": "rediss://redis.example:6379/0",
    "settlement.redisPassword": "true",
}
VALUES = {"service-monitor": {"serviceMonitor.enabled": "true"}, "settlement-redis": REDIS, "settlement-sqlite": SQLITE}
"""By the component of kustomize: the values of the chart that ask for the same."""


def charts(values: dict[str, str]) -> Manifests:
    """Return the chart with these values."""
    pairs = ",".join(f"{key}={value}" for key, value in (BASE | values).items())
    code, said = helm("--set-string", "providers={12345}", "--set", pairs)
    assert code == 0, said
    return Manifests(said)


def read(manifests: Manifests, folder: Path) -> Settings:
    """Return the settings as the bridge in the pod reads them, from bridge.toml and the container's environment."""
    folder.mkdir()
    environ = {each["name"]: each["value"] for each in manifests.container.get("env", ())}
    path = mounted(manifests, folder)
    for name, value in environ.items():
        if name.endswith("_FILE"):
            file = folder / value.removeprefix("/")
            file.write_bytes(b"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
            environ[name] = str(file)
    return load(path, environ)


def comparable(settings: Settings, folder: Path) -> str:
    """Return all settings as text, without the folder in which the test has put the files."""
    text: dict[str, Any] = settings.model_dump(mode="json")
    store = settings.settlement and settings.settlement.store.get_secret_value()
    return re.sub(re.escape(str(folder)), "", f"{text} {store}")


def objects(manifests: Manifests) -> object:
    """Return every object but the container's environment: kustomize writes there what the chart writes into a file."""
    manifests.container.pop("env", None)
    return ordered(shape(manifests))


def ordered(value: Any) -> Any:
    """Return a value with its named items by name, in whose order nothing lies, and names without kustomize's hash."""
    if isinstance(value, dict):
        return {key: ordered(each) for key, each in value.items()}
    if isinstance(value, list):
        items = [ordered(each) for each in value]
        is_named = all(isinstance(each, dict) and "name" in each for each in items)
        return sorted(items, key=lambda each: str(each["name"])) if is_named else items
    return re.sub(r"^(wallet-bridge-config)-\w{10}$", r"\1", value) if isinstance(value, str) else value


@pytest.mark.parametrize("component", VALUES)
def test_objects_and_settings_are_the_same(component: str, tmp_path: Path) -> None:
    """A component of kustomize and the chart's values for it give a cluster, and the bridge in it, the same."""
    (tmp_path / "kustomize").mkdir()
    other, own = with_component(component, tmp_path / "kustomize"), charts(VALUES[component])
    places = tmp_path / "a", tmp_path / "b"
    texts = [comparable(read(each, place), place) for each, place in zip((other, own), places, strict=True)]
    assert texts[0] == texts[1]
    assert objects(other) == objects(own)


def test_every_component_is_compared() -> None:
    """A component that kustomize gets has its values here."""
    assert {path.name for path in COMPONENTS.iterdir()} == set(VALUES)
