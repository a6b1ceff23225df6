"""The setting server.engine: what there is, what each has not, and that every command says so before it starts."""

import sys
from pathlib import Path
from typing import get_args

import pytest
import trustme

from bridge.cli.main import main
from bridge.server.engine import ENGINES
from bridge.settings.model import describe, load
from bridge.settings.server import NOT_TRUSTED, Server
from tests.support.settings_files import refusal, toml, write

NATIVE = 'engine = "native"\nnative_trusts_callers = true'
UNTRUSTING = 'engine = "native"'
EXTRA_WANTED = "server.engine: \"native\" is an extra that is not installed: pip install 'wallet-bridge[native]'"
NOT_TRUSTED_LINE = f"server.native_trusts_callers: {NOT_TRUSTED}"
NO_TLS = (
    'server.tls_certificate_file: cannot be set with engine = "native", which has no TLS; leave it out, or use "grpcio"'
)
NO_AGE = 'server.connection_age_s: must be 0 or left out with engine = "native", which cannot close connections by age'


def test_every_engine_can_be_set() -> None:
    """The setting names what the table has; grpcio is the default."""
    info = Server.model_fields["engine"]
    assert set(get_args(info.annotation)) == set(ENGINES)
    assert info.default == "grpcio"


WRONG = {
    "unknown": ('engine = "rust"', 'server.engine: must be "grpcio" or "native"'),
    # The age's default follows from the engine, but its own line would help no one.
    "unknown-with-an-age": ('engine = "rust"\nconnection_age_s = 5', 'server.engine: must be "grpcio" or "native"'),
    "callers that are not trusted": (UNTRUSTING, NOT_TRUSTED_LINE),
    "callers that are said to be not trusted": (f"{UNTRUSTING}\nnative_trusts_callers = false", NOT_TRUSTED_LINE),
    "trust that is no yes or no": (
        f'{UNTRUSTING}\nnative_trusts_callers = "perhaps"',
        "server.native_trusts_callers: must be true or false",
    ),
    "connection-age": (f"{NATIVE}\nconnection_age_s = 300", NO_AGE),
}
"""Each is refused by every command: tests/unit/cli/test_mistakes.py."""


def test_no_tls_with_native(tmp_path: Path) -> None:
    """All of TLS is refused with one line."""
    authority = trustme.CA()
    issued = authority.issue_cert("bridge.example")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    issued.cert_chain_pems[0].write_to_path(tmp_path / "server.pem")
    issued.private_key_pem.write_to_path(tmp_path / "key.pem")
    names = ('tls_certificate_file = "server.pem"', 'tls_key_file = "key.pem"', 'tls_client_ca_file = "ca.pem"')
    server = "\n".join((NATIVE, *names, 'allowed_identities = ["a.example"]'))
    assert refusal(write(tmp_path, toml(server=server))) == [NO_TLS]


@pytest.mark.parametrize(
    ("server", "age"), [(NATIVE, "0.0"), (f"{NATIVE}\nconnection_age_s = 0", "0.0"), ("", "300.0")]
)
def test_default_age(tmp_path: Path, server: str, age: str) -> None:
    """Where no age is set it is what the engine can do, and --check shows it."""
    assert f"server.connection_age_s = {age}" in describe(load(write(tmp_path, toml(server=server)), {})).splitlines()


@pytest.mark.parametrize("command", [["serve"], ["serve", "--check"], ["doctor"]], ids=" ".join)
def test_the_extra_is_missing(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the package every command ends with how to get it."""
    monkeypatch.setitem(sys.modules, "pygrpc_native", None)
    assert main([*command, "--config", str(write(tmp_path, toml(server=NATIVE)))]) == 2
    assert EXTRA_WANTED in "".join(capsys.readouterr())
