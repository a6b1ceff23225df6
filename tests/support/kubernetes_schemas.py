"""The schemas of tests/deploy/schemas/, which tools/kubernetes_schemas.py writes, and what they say of a manifest."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs

FOLDER = Path(__file__).parents[1] / "deploy" / "schemas"
OLDEST, NEWEST = "kubernetes-1.27", "kubernetes-1.37"
KUBERNETES = (OLDEST, NEWEST)
CUSTOM = ("prometheus-operator", "gateway-api")


@cache
def _file(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return content


@cache
def _validator(file: str, kind: str) -> jsonschema_rs.Validator:
    schema = _file(file)["kinds"][kind]
    return jsonschema_rs.Draft202012Validator({**schema, "$defs": _file(file).get("$defs", {})})


def problems_of(manifest: dict[str, Any], kubernetes: str) -> list[str]:
    """Return what the API server of this Kubernetes would refuse, "path: why"; a kind without a schema is a problem."""
    kind = f"{manifest.get('apiVersion')} {manifest.get('kind')}"
    known = [file for file in (kubernetes, *CUSTOM) if kind in _file(file)["kinds"]]
    if not known:
        return [f"{kind}: has no schema here"]
    name = manifest["metadata"]["name"]
    found = _validator(known[0], kind).iter_errors(manifest)
    return [f"{kind} {name}: {'/'.join(map(str, error.instance_path))}: {error.message}" for error in found]
