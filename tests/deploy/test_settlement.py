"""Settlement in the chart and in kustomize: where the store is, that its key comes from the Secret, what is refused."""

from pathlib import Path

import pytest

from bridge.settings.model import load
from tests.support.manifests import CHART, Manifests, chart, helm, mounted, needs_helm, needs_kustomize, with_component


def egress_ports(manifests: Manifests) -> list[int]:
    """Return the ports that pods may connect to."""
    return [port["port"] for rule in manifests.one("NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]


@needs_helm
def test_a_volume_is_for_one_pod(tmp_path: Path) -> None:
    """The pod is replaced, not rolled, and its store lies on a claim that outlives the release."""
    manifests = chart("settlement-sqlite")
    spec = manifests.one("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert manifests.every("HorizontalPodAutoscaler") == []
    claim = manifests.one("PersistentVolumeClaim")["metadata"]
    assert claim["annotations"] == {"helm.sh/resource-policy": "keep"}
    (volume,) = [each for each in manifests.pod["volumes"] if "persistentVolumeClaim" in each]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["name"]
    (mount,) = [each["mountPath"] for each in manifests.container["volumeMounts"] if each["name"] == volume["name"]]
    settlement = load(mounted(manifests, tmp_path), {}).settlement
    assert settlement is not None
    assert str(settlement.store) == f"sqlite://{mount}/settlement.db"


@needs_helm
def test_redis_is_for_any_number(tmp_path: Path) -> None:
    """Pods roll as ever, may connect to Redis, and read its password from the Secret, never from their settings."""
    manifests = chart("settlement-redis")
    assert manifests.one("Deployment")["spec"]["strategy"]["type"] == "RollingUpdate"
    assert manifests.every("PersistentVolumeClaim") == []
    assert 6380 in egress_ports(manifests)
    settlement = load(mounted(manifests, tmp_path), {}).settlement
    assert settlement is not None
    assert (settlement.durability, str(settlement.store)) == ("before", "rediss://redis.example:6380/0")
    assert settlement.store.get_secret_value().endswith("?password_file=/run/secrets/wallet-bridge/redis-password")


@needs_helm
def test_without_settlement_there_is_nothing_of_it() -> None:
    """No section, no volume, no rule."""
    manifests = chart("mesh")
    assert "settlement" not in manifests.text


REFUSALS = {
    "replicas": (["--set", "settlement.store=sqlite"], "sqlite is for one replica"),
    "two replicas": (
        ["--set", "settlement.store=sqlite,autoscaling.enabled=false,replicaCount=2"],
        "sqlite is for one replica",
    ),
    "one replica without need": (["--set", "autoscaling.enabled=false,replicaCount=1"], "replicaCount: must be 2"),
    "no address": (["--set", "settlement.store=redis"], "settlement.redisUrl: is missing"),
    "a password": (["--set", "settlement.store=redis,settlement.redisUrl=redis://a:b@c/0"], "/settlement/redisUrl"),
    "another store": (["--set", "settlement.store=postgres"], "/settlement/store"),
}


@needs_helm
@pytest.mark.parametrize(("arguments", "text"), REFUSALS.values(), ids=REFUSALS)
def test_the_chart_refuses(arguments: list[str], text: str) -> None:
    """What cannot work stops the installation with a line that says what to do."""
    code, said = helm("--values", str(CHART / "ci" / "mesh-values.yaml"), *arguments)
    assert code != 0
    assert text in said


def _environment(manifests: Manifests) -> dict[str, str]:
    return {each["name"]: each["value"] for each in manifests.container["env"]}


@needs_kustomize
def test_kustomize_with_a_volume(tmp_path: Path) -> None:
    """The component makes it one pod with a volume."""
    manifests = with_component("settlement-sqlite", tmp_path)
    spec = manifests.one("Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert manifests.every("HorizontalPodAutoscaler") == []
    store = _environment(manifests)["BRIDGE_SETTLEMENT__STORE"]
    mounts = {each["name"]: each["mountPath"] for each in manifests.container["volumeMounts"]}
    assert store == f"sqlite://{mounts['settlement']}/settlement.db"
    assert {"config", "keys", "temporary"} < mounts.keys()


@needs_kustomize
def test_kustomize_with_redis(tmp_path: Path) -> None:
    """The component keeps the replicas and opens the way to Redis."""
    manifests = with_component("settlement-redis", tmp_path)
    assert manifests.one("Deployment")["spec"]["strategy"]["type"] == "RollingUpdate"
    assert 6379 in egress_ports(manifests)
    environment = _environment(manifests)
    assert environment["BRIDGE_SETTLEMENT__KEY_FILE"] == "/run/secrets/wallet-bridge/settlement-key"
    assert environment["BRIDGE_SETTLEMENT__STORE"].startswith("rediss://")
