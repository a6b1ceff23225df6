"""Writes tests/deploy/schemas/: the schemas of the Kubernetes objects that deploy/ has, by which its tests check them.

    python tools/kubernetes_schemas.py      write them again (needs pip and go, and their registries)

Kubernetes' own objects come from the Python package kubernetes-validate, one schema for the oldest Kubernetes of
Chart.yaml and one for the newest. Those of the Prometheus Operator and of Gateway API come from the
CustomResourceDefinitions in their Go modules. All of them are Apache-2.0. Kept is what an API server checks:
no descriptions, no `status`, and an unknown field is an error, as with `kubectl apply --validate=strict`.
"""

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "tests" / "deploy" / "schemas"

PACKAGE = "kubernetes-validate==1.37.0"
VERSIONS = ("1.27", "1.37")
KINDS = (
    "configmap-v1",
    "deployment-apps-v1",
    "horizontalpodautoscaler-autoscaling-v2",
    "networkpolicy-networking-v1",
    "persistentvolumeclaim-v1",
    "pod-v1",
    "poddisruptionbudget-policy-v1",
    "service-v1",
    "serviceaccount-v1",
)
DEFINITIONS = "/api/_definitions.json#/$defs/"

OPERATOR = "example/prometheus-operator-crd/monitoring.coreos.com_"
MODULES = {
    "prometheus-operator": (
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        (f"{OPERATOR}servicemonitors.yaml", f"{OPERATOR}prometheusrules.yaml"),
    ),
    "gateway-api": (
        "sigs.k8s.io/gateway-api@v1.4.1",
        ("config/crd/standard/gateway.networking.k8s.io_grpcroutes.yaml",),
    ),
}
"""By the name of the file that is written: the Go module, and the definitions in it."""

LEFT_OUT = frozenset({"description", "format", "title", "$schema", "$id"})
"""What nothing is checked by: `format` names widths of numbers, and kinds of text."""

Schema = dict[str, Any]


def main() -> int:
    """Fetch the packages and write every file; return the exit code."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        wheel = _wheel(Path(name))
        for version in VERSIONS:
            _write(f"kubernetes-{version}", f"{PACKAGE}, v{version}.0", _kubernetes(wheel, version))
    for name, (module, files) in MODULES.items():
        with zipfile.ZipFile(_go_zip(module)) as archive:
            definitions = [yaml.safe_load(archive.read(f"{module}/{file}")) for file in files]
        kinds = {kind: schema for each in definitions for kind, schema in _custom(each)}
        _write(name, module, {"kinds": kinds})
    return 0


def _wheel(folder: Path) -> zipfile.ZipFile:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run(command, check=True)
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


def _go_zip(module: str) -> Path:
    # Go's checksum database vouches for the content. Run outside of any module; Go may be too old to build it.
    command = ["go", "mod", "download", "-json", module]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tempfile.gettempdir())
    return Path(json.loads(done.stdout)["Zip"])


def _kubernetes(wheel: zipfile.ZipFile, version: str) -> Schema:
    place = f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict"
    every = json.loads(wheel.read(f"{place}/_definitions.json"))["$defs"]
    schemas = [_checked(json.loads(wheel.read(f"{place}/{name}.json"))) for name in KINDS]
    found = {_kind(schema): {**schema, "properties": _spec(schema)} for schema in schemas}
    needed: Schema = {}
    open_names = list(_references(found))
    while open_names:
        name = open_names.pop()
        if name not in needed:
            needed[name] = _checked(every[name])
            open_names += _references(needed[name])
    return {"$defs": dict(sorted(needed.items())), "kinds": found}


def _kind(schema: Schema) -> str:
    (version,), (kind,) = (schema["properties"][name]["enum"] for name in ("apiVersion", "kind"))
    return f"{version} {kind}"


def _spec(schema: Schema) -> Schema:
    return {name: each for name, each in schema["properties"].items() if name != "status"}


def _references(schema: object) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rpartition("/")[2]
        for each in schema.values():
            yield from _references(each)
    elif isinstance(schema, list):
        for each in schema:
            yield from _references(each)


def _checked(schema: Any) -> Any:
    """Return what is checked of a schema, its references within one file."""
    if isinstance(schema, list):
        return [_checked(each) for each in schema]
    if not isinstance(schema, dict):
        return schema.replace(DEFINITIONS, "#/$defs/") if isinstance(schema, str) else schema
    found = {}
    for key, value in schema.items():
        if key == "properties":
            found[key] = {name: _checked(each) for name, each in value.items()}
        elif key not in LEFT_OUT and not key.startswith("x-kubernetes-"):
            found[key] = _checked(value)
    return found


def _custom(definition: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield each version of a CustomResourceDefinition that is served, as "group/version Kind", and its schema."""
    names = definition["spec"]["names"]
    for version in definition["spec"]["versions"]:
        if version["served"]:
            api = f"{definition['spec']['group']}/{version['name']}"
            schema = _checked(_strict(version["schema"]["openAPIV3Schema"]))
            schema["properties"] = _spec(schema) | {
                "apiVersion": {"enum": [api]},
                "kind": {"enum": [names["kind"]]},
                "metadata": {"type": "object"},
            }
            yield f"{api} {names['kind']}", schema


def _strict(schema: Any) -> Any:
    """Return a structural schema as JSON Schema: what it does not name is unknown, and a number or text is either."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _strict(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string") is True:
        found["type"] = ["integer", "string"]
        # They say no more than the type, and in OpenAPI's words.
        found.pop("anyOf", None)
    if schema.get("type") == "object" and "properties" in schema:
        found.setdefault("additionalProperties", schema.get("x-kubernetes-preserve-unknown-fields") is True)
    return found


def _write(name: str, source: str, content: Schema) -> None:
    whole = {"source": source, "license": "Apache-2.0", **content}
    (FOLDER / f"{name}.json").write_text(json.dumps(whole, separators=(",", ":")) + "\n", encoding="utf-8")
    print(f"kubernetes_schemas: {name}.json: {', '.join(content['kinds'])}")


if __name__ == "__main__":
    sys.exit(main())
