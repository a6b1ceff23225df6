"""Settings in words: what --check prints, and errors of the models alone."""

import json
import tomllib
from pathlib import Path

import pytest
import trustme
from pydantic import ValidationError

from bridge.settings.messages import error_lines
from bridge.settings.model import KNOWN, Settings, describe, load
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY, PROVIDERS_MISSING, URL, toml, write


def test_describe(tmp_path: Path) -> None:
    """Every setting that has a value is one line, in the order of the sections and of the ids' numbers."""
    (tmp_path / "access").write_text(ACCESS_KEY)
    rest = (
        f'[wallet.providers.9]\naccess_key_file = "access"\nprivate_key = "{PRIVATE_KEY}"\n'
        '[wallet.codes.70]\nsuccess = true\n[wallet.codes.8]\ngrpc = "NOT_FOUND"\nreason = "TOKEN_NOT_FOUND"'
    )
    assert describe(load(write(tmp_path, toml(rest=rest)), {})).split("\n") == [
        'server.engine = "grpcio"',
        "server.native_trusts_callers = false",
        'server.listen = "127.0.0.1:50051"',
        "server.workers = 1",
        'server.scheduling = "batch"',
        'server.health_listen = ""',
        "server.connection_age_s = 300.0",
        "server.max_in_flight = 1000",
        "server.max_in_flight_per_provider = 500",
        "server.max_queued = 100",
        "server.reflection = true",
        "server.drain_s = 5.0",
        "wallet.allow_plaintext = false",
        'wallet.url = "https://wallet.example"',
        "wallet.connections_max = 10",
        "wallet.connect_timeout_s = 1.0",
        "wallet.deadline_default_s = 5.0",
        "wallet.deadline_max_s = 30.0",
        "wallet.retry_unknown = false",
        f"wallet.providers.9.access_key_file = {json.dumps(str(tmp_path / 'access'))}",
        'wallet.providers.9.access_key = "********"',
        'wallet.providers.9.private_key = "********"',
        'wallet.providers.12345.access_key = "********"',
        'wallet.providers.12345.private_key = "********"',
        'wallet.codes.8.grpc = "NOT_FOUND"',
        'wallet.codes.8.reason = "TOKEN_NOT_FOUND"',
        "wallet.codes.8.success = false",
        "wallet.codes.70.success = true",
        'telemetry.log_level = "info"',
        'telemetry.log_format = "json"',
        'telemetry.metrics_listen = "127.0.0.1:9464"',
        "telemetry.tracing = false",
    ]


def test_describe_is_toml(tmp_path: Path) -> None:
    """What `describe` writes, even a path with quotes and line ends in it, is TOML."""
    folder = tmp_path / 'a "b"\nc\u00e9'
    folder.mkdir()
    trustme.CA().cert_pem.write_to_path(folder / "ca.pem")
    settings = load(write(folder, toml(wallet=f'{URL}\nca_file = "ca.pem"')), {})
    again = tomllib.loads(describe(settings))
    assert again["wallet"]["ca_file"] == str(folder / "ca.pem")
    assert again["wallet"]["providers"]["12345"] == {"access_key": "********", "private_key": "********"}


def test_unchecked_names() -> None:
    """A tree that skipped the check of its names is refused by the models all the same."""
    with pytest.raises(ValidationError) as refused:
        Settings({"sever": {}, "server": {"lisen": 1}, "wallet": {"url": "https://wallet.example", "providers": {}}})
    assert error_lines(refused.value, KNOWN, {}) == [
        "server.lisen: is not a setting",
        PROVIDERS_MISSING.replace("is missing; ", ""),
        "sever: is not a setting",
    ]
