"""The manifests in deploy/ as values: read from files, or rendered by Helm and kustomize where they are there."""

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.certificates import AUTHORITY, WORKLOAD, Chain, chain
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY

ROOT = Path(__file__).parents[2]
BASE = ROOT / "deploy" / "kustomize" / "base"
COMPONENTS = BASE.parent / "components"
CHART = ROOT / "deploy" / "helm" / "wallet-bridge"
TOOLS = ROOT / ".tools" / "bin"
KUBE_VERSION = "1.31.0"

HELM, KUSTOMIZE = (shutil.which(tool, path=f"{TOOLS}:{os.environ['PATH']}") for tool in ("helm", "kustomize"))
"""None where they are not installed."""
MISSING = "helm or kustomize is not installed; tools/helm.sh builds them, which needs go"

Manifest = dict[str, Any]


class Manifests:
    """What is applied to a cluster together."""

    def __init__(self, text: str) -> None:
        self.text = text
        found: list[Manifest] = [manifest for manifest in yaml.safe_load_all(text) if manifest]
        self.all = [manifest for manifest in found if not _is_hook(manifest)]
        self.hooks = [manifest for manifest in found if _is_hook(manifest)]
        """What is applied only when `helm test` runs."""

    def every(self, kind: str) -> list[Manifest]:
        """Return all of a kind."""
        return [manifest for manifest in self.all if manifest["kind"] == kind]

    def one(self, kind: str) -> Manifest:
        """Return the only one of its kind."""
        (manifest,) = self.every(kind)
        return manifest

    @property
    def pod(self) -> Any:
        """The specification of the bridge's pods."""
        return self.one("Deployment")["spec"]["template"]["spec"]

    @property
    def container(self) -> Any:
        """The only container in them."""
        (container,) = self.pod["containers"]
        return container

    @property
    def toml(self) -> str:
        """The settings that the bridge reads."""
        (text,) = (each["data"]["bridge.toml"] for each in self.every("ConfigMap") if "bridge.toml" in each["data"])
        return str(text)

    @property
    def secret_folders(self) -> dict[str, str]:
        """Where Secrets are mounted, and their names."""
        secrets = {each["name"]: each["secret"]["secretName"] for each in self.pod["volumes"] if "secret" in each}
        mounts = self.container["volumeMounts"]
        return {each["mountPath"]: secrets[each["name"]] for each in mounts if each["name"] in secrets}


def _is_hook(manifest: Manifest) -> bool:
    return "helm.sh/hook" in (manifest["metadata"].get("annotations") or {})


@cache
def base() -> Manifests:
    """Return the kustomize base with the component beside it, read without kustomize."""
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "wallet-bridge-config"},
        "data": {"bridge.toml": (BASE / "bridge.toml").read_text()},
    }
    texts = [yaml.safe_dump(config)]
    for folder in (BASE, COMPONENTS / "service-monitor"):
        resources = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        texts += [(folder / name).read_text() for name in resources]
    return Manifests("\n---\n".join(texts))


@cache
def overlay(name: str) -> Manifests:
    """Return what kustomize makes of an overlay."""
    return built(BASE.parent / "overlays" / name)


def with_component(name: str, folder: Path) -> Manifests:
    """Return the base with one component, from a kustomization that is written into a folder."""
    paths = {"resources": [os.path.relpath(BASE, folder)], "components": [os.path.relpath(COMPONENTS / name, folder)]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(paths))
    return built(folder)


def built(folder: Path) -> Manifests:
    """Return what kustomize makes of the kustomization in a folder."""
    assert KUSTOMIZE is not None, MISSING
    code, said = run(KUSTOMIZE, "build", str(folder))
    assert code == 0, said
    return Manifests(said)


@cache
def chart(values: str) -> Manifests:
    """Return what Helm makes of the chart with one of the files in its folder ci."""
    code, said = helm("--values", str(CHART / "ci" / f"{values}-values.yaml"))
    assert code == 0, said
    return Manifests(said)


def helm(*arguments: str) -> tuple[int, str]:
    """Render the chart; return Helm's exit code, and what it says."""
    assert HELM is not None, MISSING
    return run(HELM, "template", "wallet-bridge", str(CHART), "--kube-version", KUBE_VERSION, *arguments)


def run(*command: str) -> tuple[int, str]:
    """Run a command; return its exit code, and standard output or, if that is empty, standard error."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - tools named above
    return done.returncode, done.stdout or done.stderr


needs_helm = pytest.mark.skipif(HELM is None, reason=MISSING)
needs_kustomize = pytest.mark.skipif(KUSTOMIZE is None, reason=MISSING)

VARIANTS = [
    pytest.param(base, id="base"),
    pytest.param(lambda: overlay("example"), id="overlay", marks=needs_kustomize),
    pytest.param(lambda: chart("mesh"), id="chart", marks=needs_helm),
    pytest.param(lambda: chart("own-tls"), id="chart with everything on", marks=needs_helm),
]
each_variant = pytest.mark.parametrize("variant", VARIANTS)
Variant = Callable[[], Manifests]


def content(name: str, made: Chain) -> bytes:
    """Return what a mounted file of this name holds."""
    if name.startswith("private-key-"):
        return PRIVATE_KEY.encode()
    fixed = {
        "tls.crt": made[0].pem,
        "tls.key": made[0].key_bytes(),
        "ca.crt": made[1].pem,
        "fingerprint-key": b"0123456789abcdef",
        "settlement-key": base64.b64encode(bytes(range(32))),
    }
    return fixed.get(name, ACCESS_KEY.encode())


def mounted(manifests: Manifests, folder: Path) -> Path:
    """Write bridge.toml with files in a folder in place of mounted secrets; return its path."""
    made, toml = chain(WORKLOAD, AUTHORITY), manifests.toml
    for path in re.findall(r'_file = "(/[^"]+)"', toml):
        file = folder / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content(file.name, made))
        toml = toml.replace(f'"{path}"', f'"{file}"')
    (folder / "bridge.toml").write_text(toml)
    return folder / "bridge.toml"
