"""Who may know what (docs/design/architecture.md, "Layout"), as far as import-linter cannot say it.

The order of packages, circles and the sandbox's independence are contracts of import-linter in pyproject.toml, which
`make lint` checks. Here stand the libraries, what is pure, and where an operation's fields may be named.
"""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

import bridge
from wallet.v1.wallet_service_pb2 import TerminateRequest, TerminateResponse

ROOT = Path(bridge.__file__).parent

LIBRARIES: dict[str, set[str]] = {
    "socket": {
        "address",
        "cli.doctor",
        "http2",
        "process.child",
        "process.reserved_port",
        "process.worker",
        "server.peers",
        "telemetry.metrics_server",
    },
    "ssl": {"cli.doctor", "http2", "settings.tls_files", "upstream.from_settings"},
    "h2": set(),
    "hpack": set(),
    "hyperframe": set(),
    "httpcore": set(),
    "httpx": {"cli.certify.exchange", "http2", "upstream.client"},
    "cryptography": {"cli.doctor", "identity.certificate", "settings.certificate_dates", "settings.pem", "settlement"},
    "sqlite3": {"settlement"},
    "redis": {"settlement"},
    "grpc": {"cli.call", "cli.channel", "cli.call_output", "cli.demo", "cli.health", "server"},
    "grpc.aio": {"cli.demo", "server"},
    "pygrpc_native": {"server.native"},
    "grpc_health": {"cli.health", "server.health"},
    "grpc_reflection": {"server.reflection"},
    "msgspec": {
        *("cli.call_output", "events", "outcome", "settlement.entry", "settlement.redis.script"),
        *("settlement.written", "settling", "telemetry", "transcoding.codec", "transcoding.strict_json"),
    },
    "pydantic": {"settings"},
    "opentelemetry": {"telemetry.tracing"},
    "prometheus_client": {"process.serve", "telemetry"},
    "structlog": {"telemetry.logs"},
    "uvloop": {"cli.event_loop"},
}
"""Library -> the modules, or packages with all in them, that may know it. The sandbox, a program of its own, may know
what it likes."""

PURE = ("outcome", "errors", "identity", "transcoding", "upstream.signing")
"""No await, no I/O, no clock: what comes out depends on what goes in and on nothing else."""

IMPURE_LIBRARIES = {"asyncio", "http", "io", "logging", "os", "pathlib", "random", "socket", "ssl", "threading", "time"}
ASYNC_SYNTAX = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)

ABOUT_TERMINATE = ("sandbox", "cli")
"""Where Terminate's own fields may be named: what is written for it, and nothing of the engine."""

GENERIC_FIELDS = {"provider_id", "code", "message", "request_id"}


def module_of(path: Path) -> str:
    """Return a file's module, without "bridge." before it."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


FILES = {module_of(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    """Return a module's syntax, parsed when a test asks for it: each process that runs tests imports this file."""
    return ast.parse(FILES[module].read_text())


@cache
def nodes(module: str) -> tuple[ast.AST, ...]:
    """Return all that a module's syntax consists of."""
    return tuple(ast.walk(tree(module)))


def is_part(name: str, package: str) -> bool:
    """Say whether a full name is this package or something in it."""
    return f"{name}.".startswith(f"{package}.")


def packages(name: str) -> Iterator[str]:
    """Yield a full name and those of all packages that it is in."""
    parts = name.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def is_in(module: str, places: tuple[str, ...] | set[str]) -> bool:
    """Say whether a module is one of these, or in one of these packages."""
    return any(is_part(module, place) for place in places)


each_module = pytest.mark.parametrize("module", FILES, ids=lambda module: module or "bridge")


def imported(module: str) -> Iterator[str]:
    """Yield the full name of everything that a module imports, wherever in it."""
    for node in nodes(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def names_in(module: str) -> Iterator[str]:
    """Yield every identifier and every whole string of a module."""
    for node in nodes(module):
        for value in (getattr(node, name, None) for name in ("id", "attr", "arg", "name", "value")):
            if isinstance(value, str):
                yield value


@each_module
def test_a_library_is_known_only_where_it_belongs(module: str) -> None:
    """Sockets, TLS, HTTP/2, HTTP, gRPC, JSON, settings and logs each stay behind one door."""
    used = {package for name in imported(module) for package in packages(name)}
    foreign = {library for library in used & {*LIBRARIES} if not is_in(module, {*LIBRARIES[library], "sandbox"})}
    assert not foreign


@pytest.mark.parametrize("module", [module for module in FILES if is_in(module, PURE)])
def test_a_pure_module_has_no_io(module: str) -> None:
    """No await, no clock, no network, no file, no chance."""
    assert not [node for node in nodes(module) if isinstance(node, ASYNC_SYNTAX)]
    libraries = {name.partition(".")[0] for name in imported(module)}
    assert not libraries & (IMPURE_LIBRARIES | {"grpc", "h2", "httpx"})


@pytest.mark.parametrize("module", [module for module in FILES if not is_in(module, ABOUT_TERMINATE)])
def test_the_engine_names_no_field_of_terminate(module: str) -> None:
    """The protos are the contract: no Python of the engine knows what Terminate asks or answers."""
    fields = {*TerminateRequest.DESCRIPTOR.fields_by_name, *TerminateResponse.DESCRIPTOR.fields_by_name}
    assert not fields.difference(GENERIC_FIELDS).intersection(names_in(module))


@each_module
def test_a_module_says_what_it_is_for(module: str) -> None:
    """The first line of its docstring, a sentence of its own, is what a reader finds it by."""
    first = (ast.get_docstring(tree(module)) or "").partition("\n")[0]
    assert first.endswith((".", ":"))


def test_few_files_stand_directly_in_the_package() -> None:
    """The root holds the call path and the words that all packages share; everything else has a package.

    The compiled form has libraries beside its modules: they are no files of their own to a reader.
    """
    files = [path for path in ROOT.iterdir() if path.is_file() and not path.name.endswith(tuple(EXTENSION_SUFFIXES))]
    assert len(files) <= 16


def test_what_is_looked_for_can_be_found() -> None:
    """The search sees imports, identifiers and strings: the sandbox, which may name the fields, does."""
    assert {"token", "player_id"} <= {name for module in FILES for name in names_in(module)}
    assert "bridge.transcoding.verdict.Verdict" in set(imported("service"))
    assert "grpc.aio" in set(imported("server.app"))
