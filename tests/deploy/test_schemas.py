"""What deploy/ applies is what Kubernetes, the Prometheus Operator and Gateway API take, by their own schemas."""

import copy
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from tests.support.manifests import (
    BASE,
    CHART,
    COMPONENTS,
    Manifests,
    base,
    chart,
    needs_helm,
    needs_kustomize,
    overlay,
    with_component,
)

VALUES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
OLDEST, NEWEST = "kubernetes-1.27", "kubernetes-1.37"
each_kubernetes = pytest.mark.parametrize("kubernetes", [OLDEST, NEWEST])


@cache
def _file(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((Path(__file__).parent / "schemas" / f"{name}.json").read_text())
    return content


@cache
def _validator(file: str, kind: str) -> jsonschema_rs.Validator:
    schema = _file(file)["kinds"][kind]
    return jsonschema_rs.Draft202012Validator({**schema, "$defs": _file(file).get("$defs", {})})


def problems_of(manifest: dict[str, Any], kubernetes: str) -> list[str]:
    """Return what the API server of this Kubernetes would refuse, "path: why"; a kind without a schema is a problem."""
    kind = f"{manifest.get('apiVersion')} {manifest.get('kind')}"
    known = [file for file in (kubernetes, "prometheus-operator", "gateway-api") if kind in _file(file)["kinds"]]
    if not known:
        return [f"{kind}: has no schema here"]
    name = manifest["metadata"]["name"]
    found = _validator(known[0], kind).iter_errors(manifest)
    return [f"{kind} {name}: {'/'.join(map(str, error.instance_path))}: {error.message}" for error in found]


def problems(manifests: Manifests, kubernetes: str) -> list[str]:
    """Return all that is wrong with all of them."""
    return [line for each in (*manifests.all, *manifests.hooks) for line in problems_of(each, kubernetes)]


@each_kubernetes
@needs_helm
@pytest.mark.parametrize("values", VALUES)
def test_the_chart(values: str, kubernetes: str) -> None:
    """Every object of the chart, with each of its example values, is valid on the oldest Kubernetes and the newest."""
    assert problems(chart(values), kubernetes) == []


@each_kubernetes
def test_the_base(kubernetes: str) -> None:
    """So is every object of the kustomize base."""
    assert problems(base(), kubernetes) == []


@each_kubernetes
@needs_kustomize
@pytest.mark.parametrize("component", sorted(path.name for path in COMPONENTS.iterdir()))
def test_components(component: str, kubernetes: str, tmp_path: Path) -> None:
    """So is the base with each component, and the example of an overlay."""
    assert problems(with_component(component, tmp_path), kubernetes) == []
    assert problems(overlay("example"), kubernetes) == []


def test_the_oldest_is_the_charts() -> None:
    """The older of the schemas is of the Kubernetes that Chart.yaml requires."""
    (wanted,) = [each for each in (CHART / "Chart.yaml").read_text().splitlines() if each.startswith("kubeVersion:")]
    assert wanted == f'kubeVersion: ">={OLDEST.removeprefix("kubernetes-")}.0-0"'


def _deployment(change: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    manifest = copy.deepcopy(base().one("Deployment"))
    change(manifest)
    return manifest


def _container(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["template"]["spec"]["containers"][0]
    return found


MISTAKES: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "a field that is none": (lambda each: _container(each).update(readynessProbe={}), "readynessProbe"),
    "a field at the wrong place": (lambda each: each["spec"].update(containers=[]), "containers"),
    "text for a number": (lambda each: each["spec"].update(minReadySeconds="5"), "minReadySeconds"),
    "something missing": (lambda each: each["spec"].pop("selector"), "selector"),
    "a port without a number": (lambda each: _container(each)["ports"].append({"name": "x"}), "containerPort"),
    "another kind": (lambda each: each.update(kind="Deploymnet"), "has no schema here"),
}


@pytest.mark.parametrize(("change", "named"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_found(change: Callable[[dict[str, Any]], None], named: str) -> None:
    """The schemas are strict: each of these is a problem, and its line names it."""
    found = problems_of(_deployment(change), NEWEST)
    assert found
    assert any(named in line for line in found), found


CUSTOM = {
    "ServiceMonitor": ("interval", {"endpoints": [{"port": "metrics", "interval": "15 s"}], "selector": {}}),
    "PrometheusRule": ("expr", {"groups": [{"name": "a", "rules": [{"alert": "A"}]}]}),
    "GRPCRoute": ("backendRef", {"rules": [{"backendRef": [{"name": "a"}]}]}),
}
VERSIONS = {"GRPCRoute": "gateway.networking.k8s.io/v1"}


@pytest.mark.parametrize("kind", CUSTOM)
def test_mistakes_in_custom_objects_are_found(kind: str) -> None:
    """The schemas of the operators' kinds check values, needed fields and unknown ones."""
    named, spec = CUSTOM[kind]
    api = VERSIONS.get(kind, "monitoring.coreos.com/v1")
    found = problems_of({"apiVersion": api, "kind": kind, "metadata": {"name": "a"}, "spec": spec}, NEWEST)
    assert any(named in line for line in found), found


def test_kustomize_lists_every_file() -> None:
    """No manifest of the base or of a component lies beside what is applied."""
    for folder in (BASE, *COMPONENTS.iterdir()):
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text())
        named = {*listed.get("resources", ()), *(each["path"] for each in listed.get("patches", ()) if "path" in each)}
        assert {path.name for path in folder.glob("*.yaml")} == named | {"kustomization.yaml"}
