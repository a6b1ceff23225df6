"""The kustomize base with one of its components."""

import os
from pathlib import Path

import yaml

from tests.support.manifests import BASE, KUSTOMIZE, Manifests, run

COMPONENTS = BASE.parent / "components"


def with_component(name: str, folder: Path) -> Manifests:
    """Return the base with one component, from a kustomization that is written into a folder."""
    assert KUSTOMIZE is not None
    paths = {"resources": [os.path.relpath(BASE, folder)], "components": [os.path.relpath(COMPONENTS / name, folder)]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(paths))
    code, said = run(KUSTOMIZE, "build", str(folder))
    assert code == 0, said
    return Manifests(said)
