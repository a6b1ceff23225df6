"""Imports form a ladder (docs/design/architecture.md, "Layout"): each module knows only what stands below it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bridge
from wallet.v1.wallet_service_pb2 import TerminateRequest, TerminateResponse

ROOT = Path(bridge.__file__).parent

# Packages whose modules may know each other; seen from outside, and by this test, each is one.
PACKAGES = ("doctor", "http2", "native", "sandbox")

# From the lowest rung up: module -> the modules of bridge/ that it may import.
LADDER: dict[str, set[str]] = {
    "": set(),
    "__main__": {"cli"},
    "address": set(),
    "admission": {"deadline", "errors"},
    "background": {"http2", "service", "telemetry.events", "telemetry.log_writer"},
    "call": {
        "address",
        "call_id",
        "call_output",
        "codec",
        "config",
        "errors",
        "json_text",
        "operation",
        "settings.files",
        "validation",
        "wallet_tls",
    },
    "call_id": set(),
    "call_output": {"call_id", "codec", "headers", "settings_text"},
    "certificate_dates": {"file_watch", "settings.files", "telemetry.events"},
    "cli": {
        "",
        "address",
        "call",
        "config",
        "demo",
        "doctor",
        "operation",
        "process_signals",
        "run",
        "sandbox",
        "server_handlers",
        "telemetry.events",
        "telemetry.log_writer",
        "telemetry.logs",
        "telemetry.spans",
        "telemetry.standard_error",
        "token_fingerprint",
        "wallet_tls",
        "workers",
    },
    "codec": {"json_text", "operation"},
    "config": {
        "deadline",
        "outcome",
        "settings_secrets",
        "settings_server",
        "settings_sources",
        "settings_text",
        "settings_values",
    },
    "deadline": set(),
    "demo": {"config", "process_signals", "sandbox", "server"},
    "descriptors": set(),
    "doctor": {
        "address",
        "call_output",
        "config",
        "headers",
        "http2",
        "retry_after",
        "sandbox",
        "server_handlers",
        "settings.files",
        "settings_again",
        "settings_text",
        "settings_values",
        "signing",
        "wallet_tls",
    },
    "engine": {"first_message", "native", "server_ports"},
    "errors": {"outcome"},
    "file_watch": {"settings.files", "telemetry.events"},
    "fingerprint": {"hmac_sha256"},
    "first_message": {"call_id", "errors", "status"},
    "headers": set(),
    "hmac_sha256": set(),
    "http2": {"headers", "outcome"},
    "identity": {"errors"},
    "json_text": set(),
    "memory": set(),
    "native": {"address"},
    "operation": set(),
    "outcome": set(),
    "process_signals": set(),
    "retry": {"errors", "outcome"},
    "retry_after": set(),
    "rotation": {
        "certificate_dates",
        "config",
        "file_watch",
        "settings.files",
        "settings_again",
        "signing",
        "telemetry.events",
    },
    "run": {
        "background",
        "config",
        "descriptors",
        "memory",
        "process_signals",
        "server",
        "server_handlers",
        "shared_port",
        "telemetry.events",
        "telemetry.metrics",
        "telemetry.metrics_server",
        "telemetry.spans",
        "telemetry.standard_error",
        "telemetry.tracing",
        "telemetry.worker_counts",
        "worker",
        "worker_process",
        "workers",
    },
    "sandbox": set(),
    "server": {
        "admission",
        "background",
        "certificate_dates",
        "config",
        "engine",
        "file_watch",
        "fingerprint",
        "http2",
        "identity",
        "retry",
        "rotation",
        "server_handlers",
        "server_health",
        "server_ports",
        "server_reflection",
        "server_tls",
        "service",
        "settings_again",
        "signing",
        "telemetry.events",
        "telemetry.spans",
        "wallet",
        "wallet_tls",
    },
    "server_handlers": {"call_id", "config", "errors", "operation", "outcome", "service", "status", "verdict"},
    "server_health": {"watches"},
    "server_ports": {"address", "config", "descriptors"},
    "server_reflection": set(),
    "server_tls": {"address", "certificate_dates", "file_watch", "settings.files", "settings_again", "settings_server"},
    "service": {
        "admission",
        "codec",
        "deadline",
        "errors",
        "identity",
        "operation",
        "outcome",
        "signing",
        "telemetry.events",
        "telemetry.spans",
        "validation",
        "verdict",
        "wallet",
    },
    "settings": set(),
    "settings.files": set(),
    "settings_again": {"file_watch", "settings_text", "settings_values"},
    "settings_secrets": {"settings_values"},
    "settings_server": {"address", "settings_values"},
    "settings_sources": {"settings.files", "settings_text"},
    "settings_text": set(),
    "settings_values": {"address", "errors", "identity", "outcome", "settings.files", "settings_text"},
    "shared_port": {"address"},
    "signing": {"", "errors", "headers", "hmac_sha256"},
    "status": {"call_id", "errors", "outcome"},
    "telemetry": set(),
    "telemetry.events": set(),
    "telemetry.families": set(),
    "telemetry.log_writer": set(),
    "telemetry.logs": {"status", "telemetry.events", "telemetry.log_writer"},
    "telemetry.metrics": {"", "errors", "outcome", "telemetry.events", "telemetry.families", "telemetry.series"},
    "telemetry.metrics_server": {"address", "telemetry.metrics"},
    "telemetry.series": {"telemetry.families"},
    "telemetry.spans": {"headers", "operation", "telemetry.events"},
    "telemetry.standard_error": {"telemetry.log_writer", "telemetry.logs"},
    "telemetry.tracing": {"", "headers", "operation", "telemetry.events", "telemetry.spans"},
    "telemetry.worker_counts": {"telemetry.families", "telemetry.metrics"},
    "token_fingerprint": {"address", "config", "fingerprint"},
    "validation": {"codec", "errors", "outcome"},
    "verdict": {"codec", "errors", "json_text", "operation", "outcome", "retry_after"},
    "wallet": {
        "deadline",
        "errors",
        "headers",
        "http2",
        "operation",
        "outcome",
        "retry",
        "signing",
        "telemetry.events",
        "telemetry.spans",
        "verdict",
    },
    "wallet_tls": {"config", "signing"},
    "watches": set(),
    "worker": {
        "background",
        "config",
        "descriptors",
        "memory",
        "process_signals",
        "server",
        "telemetry.events",
        "telemetry.spans",
        "worker_process",
    },
    "worker_process": set(),
    "workers": {"process_signals", "telemetry.events", "worker_process"},
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
    "cryptography": {"certificate_dates", "identity"},
    "grpc": {
        *(
            "call",
            "call_output",
            "demo",
            "engine",
            "first_message",
            "native",
            "server",
            "server_handlers",
            "server_health",
        ),
        *("server_ports", "server_reflection", "server_tls"),
    },
    "grpc.aio": {
        *(
            "server",
            "server_handlers",
            "server_health",
            "server_ports",
            "server_reflection",
            "demo",
            "engine",
            "first_message",
            "native",
        ),
    },
    "pygrpc_native": {"native"},
    "grpc_health": {"server_health"},
    "grpc_reflection": {"server_reflection"},
    "hypercorn": set(),
    "msgspec": {
        "codec",
        "call_output",
        "telemetry.events",
        "telemetry.logs",
        "telemetry.worker_counts",
        "outcome",
        "deadline",
    },
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
