"""What `bridge serve` refuses, `helm template` refuses: the same mistake, in one line that names it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.errors import REASONS
from bridge.outcome import GrpcCode
from bridge.settings.model import Server, Settlement, Telemetry, Wallet
from tests.support.manifests import CHART, helm, needs_helm
from tests.support.settings_files import KEYS, refusal, write

SERVER, WALLET, SETTLEMENT, TLS = "settings.server", "settings.wallet", "settlement", "serverTls"
URL = 'url = "https://wallet.example"'


@dataclass(frozen=True)
class Mistake:
    """One mistake, as values of the chart by their keys: "settings.server.engine"."""

    values: Mapping[str, Any]
    needs: Mapping[str, Any] = field(default_factory=dict)
    names: str = ""
    """The value that the chart's line names; "": the first of `values`."""

    @property
    def bridge_toml(self) -> str:
        """The same settings as a whole file, as the chart would write it."""
        tables: dict[str, dict[str, Any]] = {
            "server": {},
            "wallet": {"url": "https://wallet.example"},
            "settlement": {"store": "sqlite:///a", "key_file": "bridge.toml"},
        }
        given = {**self.needs, **self.values}
        for key, value in given.items():
            match key.split("."):
                case ["settings", section, name]:
                    tables[section][name] = value
                case ["serverTls", "secretName"]:
                    tables["server"] |= {"tls_certificate_file": "a.pem", "tls_key_file": "a.pem"}
                case ["serverTls", "clientCa"]:
                    tables["server"]["tls_client_ca_file"] = "a.pem"
                case [section, "allowedIdentities"]:
                    tables[section.removesuffix("Tls")]["allowed_identities"] = value
                case ["settlement", "redisUrl"]:
                    tables["settlement"]["store"] = value
                case ["codes"]:
                    tables |= {f"wallet.codes.{code}": rule for code, rule in value.items()}
        if f"{SETTLEMENT}.store" in given and f"{SETTLEMENT}.redisUrl" not in given:
            del tables["settlement"]["store"]
        (provider,) = given.get("providers", ["12345"])
        lines = {
            name: "".join(f"{key} = {json.dumps(each)}\n" for key, each in table.items())
            for name, table in tables.items()
        }
        lines[f"wallet.providers.{provider}"] = KEYS
        return "\n".join(f"[{name}]\n{text}" for name, text in lines.items())


def _url(url: str) -> Mistake:
    return Mistake({f"{WALLET}.url": url})


def _code(code: str, **rule: Any) -> Mistake:
    return Mistake({"codes": {code: rule}}, names=f"codes.{code}")


def _identity(identity: str) -> Mistake:
    return Mistake({f"{TLS}.allowedIdentities": [identity]}, {f"{TLS}.clientCa": True, f"{TLS}.secretName": "a"})


def _redis(url: str) -> Mistake:
    return Mistake({f"{SETTLEMENT}.redisUrl": url}, REDIS)


NATIVE = {f"{SERVER}.engine": "native"}
SAFE = {f"{SERVER}.native_trusts_callers": True, f"{SERVER}.connection_age_s": 0}
REDIS = {f"{SETTLEMENT}.store": "redis"}
MISTAKES: dict[str, Mistake] = {
    "native without trust": Mistake(
        {f"{SERVER}.native_trusts_callers": False}, NATIVE | {f"{SERVER}.connection_age_s": 0}
    ),
    "native with an age": Mistake({f"{SERVER}.connection_age_s": 300}, SAFE | NATIVE),
    "native with TLS": Mistake({f"{TLS}.secretName": "tls"}, SAFE | NATIVE),
    "a wrong engine": Mistake({f"{SERVER}.engine": "rust"}),
    "no workers": Mistake({f"{SERVER}.workers": 0}),
    "a share above the whole": Mistake({f"{SERVER}.max_in_flight_per_provider": 11}, {f"{SERVER}.max_in_flight": 10}),
    "an endless drain": Mistake({f"{SERVER}.drain_s": 601}),
    "identities without a CA": Mistake({f"{TLS}.allowedIdentities": ["game.example"]}, {f"{TLS}.secretName": "tls"}),
    "identities without TLS": Mistake({f"{TLS}.allowedIdentities": ["game.example"]}),
    "an address for an identity": _identity("192.0.2.1"),
    "a star in a name": _identity("*.game.example"),
    "a star in the middle of a URI": _identity("spiffe://example/*/slots"),
    "an unclean path in a URI": _identity("spiffe://example/ns/../slots"),
    "SPIFFE in capitals": _identity("SPIFFE://example/slots"),
    "a space in an identity": _identity("game example"),
    "plaintext to the wallet": _url("http://wallet.example"),
    "plaintext, in capitals": _url("HTTP://wallet.example"),
    "another scheme": _url("ftp://wallet.example"),
    "a user in the URL": _url("https://user@wallet.example"),
    "a query in the URL": _url("https://wallet.example/?a=b"),
    "a fragment in the URL": _url("https://wallet.example/#a"),
    "port 0": _url("https://wallet.example:0"),
    "a port that is none": _url("https://wallet.example:65536"),
    "a host that is no name": _url("https://-wallet.example"),
    "an address out of range": _url("https://192.0.2.256"),
    "a number for a host": _url("https://wallet.1"),
    "an unclean path": _url("https://wallet.example/api/../x"),
    "an empty segment": _url("https://wallet.example//api"),
    "a space in the URL": _url("https://wallet.example/a b"),
    "deadlines the wrong way round": Mistake({f"{WALLET}.deadline_max_s": 4, f"{WALLET}.deadline_default_s": 5}),
    "no connections": Mistake({f"{WALLET}.connections_max": 0}),
    "a provider beyond 64 bits": Mistake({"providers": ["18446744073709551616"]}, names="/providers/0"),
    "a provider with a zero before it": Mistake({"providers": ["0123"]}, names="/providers/0"),
    "code 1": _code("1", success=True),
    "a code beyond 64 bits": _code("18446744073709551616", success=True),
    "a code with a zero before it": _code("07", success=True),
    "a code without a meaning": _code("7"),
    "a code that is no success, and no more": _code("7", success=False),
    "a code with a reason alone": _code("7", reason="GONE"),
    "a code with a gRPC code alone": _code("7", grpc="NOT_FOUND"),
    "a success with a reason": _code("7", success=True, reason="GONE"),
    "a gRPC code that is none": _code("7", grpc="MISSING", reason="GONE"),
    "OK as a failure": _code("7", grpc="OK", reason="GONE"),
    "a reason of the bridge": _code("7", grpc="NOT_FOUND", reason="WALLET_TIMEOUT"),
    "code 2 as a success": _code("2", success=True),
    "code 2 as safe to repeat": _code("2", grpc="UNAVAILABLE", reason="GONE"),
    "settlement's identities without a CA": Mistake(
        {f"{SETTLEMENT}.allowedIdentities": ["ops.example"]},
        REDIS | {f"{SETTLEMENT}.redisUrl": "rediss://redis.example"},
    ),
    "redis at port 0": _redis("redis://redis.example:0"),
    "redis without a host": _redis("redis:///0"),
    "a database with a name": _redis("redis://redis.example/main"),
    "redis without an address": Mistake(REDIS, names=f"{SETTLEMENT}.redisUrl"),
    "giving up too soon": Mistake({"settings.settlement.give_up_after_s": 59}),
}


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted keys as Helm's tree."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *above, name = key.split(".")
        place = tree
        for each in above:
            place = place.setdefault(each, {})
        place[name] = value
    return tree


def rendered(values: Mapping[str, Any], folder: Path) -> tuple[int, str]:
    """Return Helm's exit code and words for the chart with these values above those of ci/mesh-values.yaml."""
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(nested(values)))
    return helm("--values", str(CHART / "ci" / "mesh-values.yaml"), "--values", str(file))


@needs_helm
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_both_refuse(mistake: Mistake, tmp_path: Path) -> None:
    """The bridge does not start with it, and the chart cannot be installed with it; Helm's words name the value."""
    found = refusal(write(tmp_path, mistake.bridge_toml))
    assert len([line for line in found if "_file: cannot be read" not in line]) == 1, found
    code, said = rendered({**mistake.needs, **mistake.values}, tmp_path)
    assert code != 0
    lines = [line for line in said.splitlines() if "these values cannot work" not in line]
    name = mistake.names or next(iter(mistake.values))
    assert any(name in line or name.replace(".", "/") in line for line in lines), said


CHARTS_ALONE: dict[str, tuple[Mapping[str, Any], str]] = {
    "a CA without TLS": ({f"{TLS}.clientCa": True}, "serverTls.clientCa: needs serverTls.secretName too"),
    "an address without its store": (
        {f"{SETTLEMENT}.redisUrl": "redis://redis.example"},
        "settlement.store: must be redis where settlement.redisUrl",
    ),
    "identities without a store": (
        {f"{SETTLEMENT}.allowedIdentities": ["ops.example"]},
        "settlement.allowedIdentities: needs settlement.store too",
    ),
    "fewer at most than at least": (
        {"autoscaling.minReplicas": 5, "autoscaling.maxReplicas": 4},
        "autoscaling.maxReplicas: must be at least",
    ),
    "a route from nowhere": ({"grpcRoute.enabled": True}, "grpcRoute.parentRefs: is missing"),
    "a name with a capital": ({"fullnameOverride": "Bridge"}, "/fullnameOverride"),
    "a network that is none": ({"networkPolicy.walletCidrs": ["203.0.113.0/33"]}, "/networkPolicy/walletCidrs/0"),
}


@needs_helm
@pytest.mark.parametrize(("values", "line"), CHARTS_ALONE.values(), ids=CHARTS_ALONE)
def test_the_chart_refuses_what_only_it_has(values: Mapping[str, Any], line: str, tmp_path: Path) -> None:
    """What would be ignored in silence, or refused by Kubernetes after half of it is applied, stops before."""
    code, said = rendered(values, tmp_path)
    assert code != 0
    assert line in said


@needs_helm
def test_every_mistake_is_reported_at_once(tmp_path: Path) -> None:
    """An operator who has made three mistakes reads three lines, not one after the other."""
    values = {f"{WALLET}.url": "http://wallet.example", "codes": {"1": {"success": True}}, "grpcRoute.enabled": True}
    _, said = rendered(values, tmp_path)
    starts = ("settings.wallet.url: ", "codes.1: ", "grpcRoute.parentRefs: ")
    assert [sum(line.startswith(start) for line in said.splitlines()) for start in starts] == [1, 1, 1]


RIGHT: dict[str, Mapping[str, Any]] = {
    "native": NATIVE | SAFE,
    "plaintext where it is allowed": {f"{WALLET}.url": "http://wallet.example", f"{WALLET}.allow_plaintext": True},
    "an IPv4 address": {f"{WALLET}.url": "https://192.0.2.255:8443/"},
    "an IPv6 address": {f"{WALLET}.url": "https://[2001:db8::1]:8443/api"},
    "a name with an underscore": {f"{WALLET}.url": "https://wallet_1.example/a%20b/~c"},
    "the largest numbers": {
        "providers": ["18446744073709551615"],
        "codes": {"18446744073709551615": {"success": True}, "0": {"grpc": "ABORTED", "reason": "A0_"}},
    },
    "identities of each kind": {
        f"{TLS}.secretName": "tls",
        f"{TLS}.clientCa": True,
        f"{TLS}.allowedIdentities": ["game.example", "spiffe://a/b/*", "spiffe://a", "urn:game:1"],
    },
    "code 2 with another reason": {"codes": {"2": {"grpc": "UNKNOWN", "reason": "BAD_LUCK"}}},
    "a share": {f"{SERVER}.max_in_flight_per_provider": 1000},
    "redis without a port": {f"{SETTLEMENT}.store": "redis", f"{SETTLEMENT}.redisUrl": "rediss://[2001:db8::1]"},
    "a wide network": {"networkPolicy.walletCidrs": ["0.0.0.0/0", "2001:db8::/128"]},
}


@needs_helm
@pytest.mark.parametrize("values", RIGHT.values(), ids=RIGHT)
def test_what_is_right_is_taken(values: Mapping[str, Any], tmp_path: Path) -> None:
    """The checks refuse no more than they must: values at the edge of what the bridge takes can be installed."""
    code, said = rendered(values, tmp_path)
    assert code == 0, said


SECTIONS: dict[str, Any] = {"server": Server, "wallet": Wallet, "settlement": Settlement, "telemetry": Telemetry}
CHECKED = ("type", "minimum", "maximum", "exclusiveMinimum", "enum")
BOUNDS = {"ge": "minimum", "le": "maximum"}
"""pydantic's own names, which it leaves where a setting may be None."""


@pytest.mark.parametrize("section", SECTIONS)
def test_bounds_are_the_bridges(section: str) -> None:
    """Each setting in the chart's schema has the type, the range and the choices that the bridge has for it."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    charts = schema["properties"]["settings"]["properties"][section]["properties"]
    bridges = SECTIONS[section].model_json_schema()["properties"]
    for name, found in charts.items():
        own = next((each for each in bridges[name].get("anyOf", ()) if each["type"] != "null"), bridges[name])
        wanted = {BOUNDS.get(key, key): value for key, value in own.items() if BOUNDS.get(key, key) in CHECKED}
        # A choice is text.
        assert {"type": "string", **_bounds(found)} == wanted if "enum" in found else _bounds(found) == wanted, name


def _bounds(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {key: schema[key] for key in CHECKED if key in schema}


def test_names_are_the_bridges() -> None:
    """The chart knows every gRPC code but OK, and every reason that is the bridge's own."""
    text = (CHART / "templates" / "_refusals.tpl").read_text()
    lists = {
        name: set(text.partition(f'"wallet-bridge.{name}" -}}}}\n')[2].partition("\n")[0].split())
        for name in ("grpcCodes", "reasons")
    }
    assert lists == {"grpcCodes": {code.name for code in GrpcCode} - {"OK"}, "reasons": set(REASONS)}
