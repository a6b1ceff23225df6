"""Imports form a ladder (docs/design/architecture.md, "Layout"): each module knows only what stands below it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bridge
from wallet.v1.wallet_service_pb2 import TerminateRequest, TerminateResponse

ROOT = Path(bridge.__file__).parent

# Packages whose modules may know each other; seen from outside, and by this test, each is one.
PACKAGES = ("doctor", "http2", "native", "sandbox", "settlement")

# From the lowest rung up: module -> the modules of bridge/ that it may import.
LADDER: dict[str, set[str]] = {
    "value": set(),
    "hmac_sha256": set(),
    "call_id": set(),
    "outcome": {"value"},
    "json_text": set(),
    "operation": set(),
    "retry_after": set(),
    "deadline": {"value"},
    "telemetry.events": set(),
    "settings_text": set(),
    "listen": set(),
    "sandbox": set(),
    "errors": {"outcome"},
    "identity": {"errors"},
    "admission": {"deadline", "errors"},
    "fingerprint": {"hmac_sha256"},
    "telemetry.spans": {"operation", "signing", "telemetry.events"},
    "telemetry.fan_out": {"telemetry.events"},
    "retry": {"errors", "outcome"},
    "signing": {"", "errors", "hmac_sha256"},
    "status": {"call_id", "errors", "outcome"},
    "codec": {"json_text", "operation"},
    "validation": {"codec", "errors", "outcome"},
    "verdict": {"codec", "errors", "json_text", "operation", "outcome", "retry_after", "value"},
    "http2": {"deadline", "outcome", "signing"},
    "wallet": {
        *("deadline", "errors", "http2", "operation", "outcome", "retry", "signing", "telemetry.events"),
        *("telemetry.spans", "value", "verdict"),
    },
    "service": {
        *("admission", "codec", "deadline", "errors", "identity", "operation", "outcome", "signing"),
        *("telemetry.events", "telemetry.spans", "validation", "verdict", "wallet"),
    },
    "settlement": set(),
    "telemetry.log_writer": set(),
    "background": {"http2", "service", "telemetry.events", "telemetry.log_writer"},
    "telemetry.logs": {"status", "telemetry.events", "telemetry.log_writer"},
    "telemetry.standard_error": {"telemetry.log_writer", "telemetry.logs"},
    "telemetry.families": set(),
    "telemetry.series": {"telemetry.families"},
    "telemetry.metrics": {"", "errors", "outcome", "telemetry.events", "telemetry.families", "telemetry.series"},
    "telemetry.worker_counts": {"telemetry.families", "telemetry.metrics"},
    "telemetry.metrics_server": {"listen", "settings_values", "telemetry.metrics"},
    "telemetry.tracing": {"", "operation", "outcome", "signing", "telemetry.events", "telemetry.spans"},
    "settings_values": {"errors", "identity", "outcome", "settings_text"},
    "settings_secrets": {"settings_values"},
    "settings_server": {"settings_values"},
    "settings_sources": {"settings_text", "settings_values"},
    "config": {
        *("deadline", "outcome", "settings_secrets", "settings_server", "settings_sources", "settings_text"),
        *("settings_values", "signing"),
    },
    "file_watch": {"settings_values", "telemetry.events"},
    "settings_again": {"file_watch", "settings_text", "settings_values"},
    "certificate_dates": {"file_watch", "settings_values", "telemetry.events"},
    "rotation": {
        *("certificate_dates", "config", "file_watch", "settings_again", "settings_values", "signing"),
        "telemetry.events",
    },
    "wallet_tls": {"config"},
    "process_signals": set(),
    "server_reflection": set(),
    "watches": set(),
    "descriptors": set(),
    "memory": set(),
    "server_health": {"watches"},
    "server_ports": {"config", "descriptors", "listen"},
    "native": {"listen"},
    "first_message": {"call_id", "errors", "status"},
    "engine": {"first_message", "native", "server_ports"},
    "server_tls": {"certificate_dates", "file_watch", "listen", "settings_again", "settings_server", "settings_values"},
    "server": {
        *("admission", "background", "call_id", "config", "engine", "errors", "file_watch", "fingerprint", "http2"),
        *("descriptors", "identity", "listen", "memory", "operation", "outcome", "retry", "rotation"),
        *("certificate_dates", "process_signals", "server_health", "server_ports", "server_reflection", "server_tls"),
        "settings_again",
        *("service", "signing", "status", "telemetry.events", "telemetry.spans", "verdict", "wallet", "wallet_tls"),
    },
    "shared_port": {"listen", "settings_values"},
    "worker_process": set(),
    "worker": {
        *("config", "descriptors", "process_signals", "server", "telemetry.events", "telemetry.spans"),
        "worker_process",
    },
    "workers": {"process_signals", "telemetry.events", "worker_process"},
    "run": {
        *("background", "config", "server", "shared_port", "telemetry.events", "telemetry.fan_out"),
        *("telemetry.metrics", "telemetry.metrics_server", "telemetry.spans", "telemetry.standard_error"),
        *("telemetry.tracing", "telemetry.worker_counts"),
        *("worker", "worker_process", "workers"),
    },
    "call_output": {"call_id", "codec", "settings_text", "signing"},
    "call": {
        *("call_id", "call_output", "codec", "config", "errors", "json_text", "operation", "settings_values"),
        *("signing", "validation"),
    },
    "token_fingerprint": {"config", "fingerprint", "settings_values"},
    "demo": {"config", "process_signals", "sandbox", "server"},
    "doctor": {
        *("call_output", "config", "http2", "retry_after", "sandbox", "server", "settings_again", "settings_text"),
        *("settings_values", "signing", "wallet_tls"),
    },
    "cli": {
        *("", "call", "config", "demo", "doctor", "listen", "operation", "process_signals", "run"),
        *("sandbox", "server", "token_fingerprint"),
        *(
            "settings_values",
            "telemetry.events",
            "telemetry.log_writer",
            "telemetry.logs",
            "telemetry.spans",
            "telemetry.standard_error",
        ),
        *("wallet_tls", "workers"),
    },
    "__main__": {"cli"},
    "telemetry": set(),
    "": set(),
}

# What only some may know; the sandbox is a program of its own and may know what it likes.
LIBRARIES: dict[str, set[str]] = {
    "socket": {"doctor", "http2", "shared_port", "telemetry.metrics_server", "worker", "worker_process"},
    "ssl": {"doctor", "http2", "settings_values", "wallet_tls"},
    "h2": {"http2"},
    "hpack": {"http2"},
    "hyperframe": {"http2"},
    "httpcore": {"http2"},
    "httpx": {"http2", "wallet"},
    "cryptography": {"certificate_dates", "identity", "settlement"},
    "grpc": {
        *("call", "call_output", "demo", "engine", "first_message", "native", "server", "server_health"),
        *("server_ports", "server_reflection", "server_tls"),
    },
    "grpc.aio": {
        *("server", "server_health", "server_ports", "server_reflection", "demo", "engine", "first_message", "native"),
    },
    "pygrpc_native": {"native"},
    "grpc_health": {"server_health"},
    "grpc_reflection": {"server_reflection"},
    "hypercorn": set(),
    "msgspec": {"codec", "call_output", "telemetry.events", "telemetry.logs", "telemetry.worker_counts", "value"},
    "pydantic": {
        *("config", "settings_again", "settings_secrets", "settings_server", "settings_sources", "settings_text"),
        "settings_values",
    },
    "pydantic_settings": {"config"},
    "opentelemetry": {"telemetry.tracing"},
    "prometheus_client": {
        *("run", "telemetry.families", "telemetry.metrics", "telemetry.metrics_server", "telemetry.series"),
        "telemetry.worker_counts",
    },
    "structlog": {"telemetry.logs"},
    "uvloop": {"cli"},
}

# No await, no I/O, no clock: what comes out depends on what goes in and on nothing else.
PURE = (
    "outcome",
    "errors",
    "identity",
    "operation",
    "json_text",
    "codec",
    "validation",
    "verdict",
    "status",
    "signing",
    "retry_after",
)
IMPURE_LIBRARIES = {"asyncio", "http", "io", "logging", "os", "pathlib", "random", "socket", "ssl", "threading", "time"}
ASYNC_SYNTAX = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)

# Where Terminate's own fields may be named: what is written for it, and nothing of the engine.
ABOUT_TERMINATE = {"sandbox", "call", "call_output", "demo"}
GENERIC_FIELDS = {"provider_id", "code", "message", "request_id"}


def module_of(path: Path) -> str:
    """Return a file's module, without "bridge." before it."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


def rung_of(module: str) -> str:
    """Return the name under which a module stands in the ladder."""
    package = module.partition(".")[0]
    return package if package in PACKAGES else module


SOURCES = {module_of(path): ast.parse(path.read_text()) for path in sorted(ROOT.rglob("*.py"))}
each_module = pytest.mark.parametrize("module", SOURCES, ids=lambda module: module or "bridge")


def imported(module: str) -> Iterator[str]:
    """Yield the full name of everything that a module imports, wherever in it."""
    for node in ast.walk(SOURCES[module]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_part(name: str, package: str) -> bool:
    """Say whether a full name is this package or something in it."""
    return f"{name}.".startswith(f"{package}.")


def own_imports(module: str) -> set[str]:
    """Return the rungs that a module imports."""
    names = [name.removeprefix("bridge").removeprefix(".") for name in imported(module) if is_part(name, "bridge")]
    # "from bridge.codec import Read" names a module and something in it.
    return {rung_of(name if name in SOURCES else name.rpartition(".")[0]) for name in names}


def names_in(module: str) -> Iterator[str]:
    """Yield every identifier and every whole string of a module."""
    for node in ast.walk(SOURCES[module]):
        for value in (getattr(node, name, None) for name in ("id", "attr", "arg", "name", "value")):
            if isinstance(value, str):
                yield value


@each_module
def test_a_module_imports_only_what_stands_below_it(module: str) -> None:
    """A module that is new, or that wants to know more, needs a place in the ladder first."""
    rung = rung_of(module)
    assert rung in LADDER
    assert own_imports(module) - {rung} <= LADDER[rung]


def test_the_ladder_has_no_circle() -> None:
    """Each rung may know only rungs that need not know it, however far down."""
    below: dict[str, set[str]] = {}
    while len(below) < len(LADDER):
        ready = {rung for rung, known in LADDER.items() if rung not in below and known <= set(below)}
        assert ready, f"a circle among {sorted(set(LADDER) - set(below))}"
        below |= {rung: LADDER[rung] for rung in ready}


def test_every_rung_has_its_module() -> None:
    """The ladder names no module that is gone."""
    assert set(LADDER) == {rung_of(module) for module in SOURCES}


@each_module
def test_a_library_is_known_only_where_it_belongs(module: str) -> None:
    """Sockets, TLS, HTTP/2, HTTP, gRPC, JSON, settings and logs each stay behind one door."""
    strangers = {
        library
        for library, knowing in LIBRARIES.items()
        if rung_of(module) not in {*knowing, "sandbox"} and any(is_part(name, library) for name in imported(module))
    }
    assert not strangers


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_has_no_io(module: str) -> None:
    """No await, no clock, no network, no file, no chance."""
    assert not [node for node in ast.walk(SOURCES[module]) if isinstance(node, ASYNC_SYNTAX)]
    libraries = {name.partition(".")[0] for name in imported(module)}
    assert not libraries & (IMPURE_LIBRARIES | {"grpc", "h2", "httpx"})


@pytest.mark.parametrize("module", [module for module in SOURCES if rung_of(module) not in ABOUT_TERMINATE])
def test_the_engine_names_no_field_of_terminate(module: str) -> None:
    """The protos are the contract: no Python of the engine knows what Terminate asks or answers."""
    fields = {*TerminateRequest.DESCRIPTOR.fields_by_name, *TerminateResponse.DESCRIPTOR.fields_by_name}
    assert not fields.difference(GENERIC_FIELDS).intersection(names_in(module))


def test_what_is_looked_for_can_be_found() -> None:
    """The search sees imports, identifiers and strings: the sandbox, which may name the fields, does."""
    assert {"token", "player_id"} <= {name for module in SOURCES for name in names_in(module)}
    assert "verdict" in own_imports("service")
    assert "http2" in own_imports("wallet")
    assert "sandbox" in own_imports("cli")
    assert "grpc.aio" in set(imported("server"))
