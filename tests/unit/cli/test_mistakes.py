"""Mistakes of operators: `serve`, `serve --check` and `bridge doctor` refuse the same, with one line that helps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bridge.cli.main import main
from tests.support.settings_files import (
    ACCESS_KEY,
    LISTEN_RULE,
    PRIVATE_KEY,
    PROVIDER,
    PROVIDERS_MISSING,
    URL,
    URL_RULE,
    toml,
)
from tests.unit.server import test_engine
from tests.unit.settings import (
    test_model,
    test_pem,
    test_secrets,
    test_server,
    test_settlement,
    test_sources,
    test_types,
)

SERVE, CHECK, DOCTOR = ("serve",), ("serve", "--check"), ("doctor",)

GOOD, WALLET, CONFIG = toml(), f"[wallet]\n{URL}\n", "{folder}/bridge.toml"
OTHER_PORT = "telemetry.metrics_listen: must be another port than that of server."
SETTLEMENT = '[settlement]\nkey_file = "settlement.key"\nstore = "'


@dataclass(frozen=True)
class Mistake:
    """Settings with one mistake. In `line`, {folder} is the folder of bridge.toml and of the files that it names."""

    line: str
    content: str | bytes = toml()
    environ: Mapping[str, str] = field(default_factory=dict)


def server(text: str, line: str) -> Mistake:
    """Return a mistake in the section [server]."""
    return Mistake(line, toml(server=text))


def keys(line: str, **given: str) -> Mistake:
    """Return a mistake in one of a provider's keys, of which the other is right."""
    both = {"access_key": f'"{ACCESS_KEY}"', "private_key": f'"{PRIVATE_KEY}"'} | given
    return Mistake(f"{PROVIDER}.{line}", toml(keys="\n".join(f"{name} = {text}" for name, text in both.items())))


Rows = tuple[Mapping[str, tuple[Any, ...]], Callable[..., Mistake]]
ACCESS, PRIVATE = f"access_key: {test_secrets.ACCESS_KEY_RULE}", f"private_key: {test_secrets.PRIVATE_KEY_RULE}"
LISTED: dict[str, Rows] = {
    "engine": (test_engine.WRONG, server),
    "server": (test_server.WRONG_SETTINGS, server),
    "listen": (
        test_types.WRONG_LISTENS,
        lambda text, cause: server(f'listen = "{text}"', f"server.listen: {LISTEN_RULE}; {cause}"),
    ),
    "url": (
        test_types.WRONG_URLS,
        lambda text, cause: Mistake(f"wallet.url: {URL_RULE}; {cause}", toml(wallet=f'url = "{text}"')),
    ),
    "wallet": (test_model.WRONG_WALLET, lambda text, line: Mistake(line, toml(wallet=text))),
    "code": (
        test_model.WRONG_CODES,
        lambda code, text, line: Mistake(f"wallet.codes.{code}{line}", toml(rest=f"[wallet.codes.{code}]\n{text}")),
    ),
    "access key": (test_secrets.WRONG_ACCESS_KEYS, lambda text, cause: keys(f"{ACCESS}{cause}", access_key=text)),
    "private key": (test_secrets.WRONG_PRIVATE_KEYS, lambda text, cause: keys(f"{PRIVATE}{cause}", private_key=text)),
    "keys": (
        {name: row for name, row in test_secrets.WRONG_KEYS.items() if len(row) == len(("keys", "line"))},
        lambda text, line: Mistake(line, toml(keys=text)),
    ),
    "name": (test_sources.UNKNOWN_KEYS, lambda text, line: Mistake(line, text, test_sources.ENVIRON)),
    "file": (test_sources.UNREADABLE, lambda content, line: Mistake(f"{CONFIG}: {line}", content)),
    "store": (
        test_settlement.WRONG,
        lambda text, cause: Mistake(
            f"settlement.store: {test_settlement.STORE_RULE}; {cause}", toml(rest=f'{SETTLEMENT}{text}"')
        ),
    ),
}
"""The mistakes of the tests of settings: rows, and what makes a mistake of one."""

MISTAKES = {
    **{f"{kind}: {name}": make(*row) for kind, (rows, make) in LISTED.items() for name, row in rows.items()},
    **{
        f"{place}: {name}": Mistake(f"{place}: {cause}", test_pem.settings_with(place, name))
        for place in (test_pem.CERTIFICATE, test_pem.CLIENT_CA, test_pem.CA)
        for name, cause in test_pem.CERTIFICATES.items()
    },
    **{
        f"key: {name}": Mistake(f"{test_pem.KEY}: {cause}", test_pem.tls("own.pem", name))
        for name, cause in test_pem.KEYS.items()
    },
    "flat provider": Mistake(
        f"{PROVIDER}: must be a table, [{PROVIDER}], with access_key, private_key",
        f'{WALLET}[wallet.providers]\n12345 = "{ACCESS_KEY}"',
    ),
    "no provider": Mistake(PROVIDERS_MISSING, WALLET),
    "empty table of providers": Mistake(PROVIDERS_MISSING.replace("is missing; ", ""), f"{WALLET}[wallet.providers]"),
    "metrics and calls": Mistake(f"{OTHER_PORT}listen", toml(rest='[telemetry]\nmetrics_listen = "127.0.0.1:50051"')),
    "metrics on the port of calls, everywhere": Mistake(
        f"{OTHER_PORT}listen", toml(rest='[telemetry]\nmetrics_listen = "0.0.0.0:50051"')
    ),
    "health and metrics": Mistake(f"{OTHER_PORT}health_listen", toml(server='health_listen = "0.0.0.0:9464"')),
    "chain in the wrong order": Mistake(
        f"{test_pem.KEY}: is the key of certificate 2 in tls_certificate_file, where it must be that of the first: put "
        "the bridge's own certificate first, then those above it",
        test_pem.tls("chain-reversed.pem", "own.key"),
    ),
    "short RSA key": Mistake(
        f"{test_pem.KEY}: cannot be used with tls_certificate_file: the certificate's key is too short to be safe: RSA "
        "must have 2048 bits or more",
        test_pem.tls("short.pem", "short.key"),
    ),
    "no settlement key": Mistake(
        "settlement.key_file: must be a file with one base64 key of 32 bytes a line; it cannot be read: "
        "No such file or directory",
        toml(rest='[settlement]\nstore = "sqlite:///tmp/never.db"\nkey_file = "nowhere"'),
    ),
}
"""Name -> mistake that is found when the settings are read. Each gives this one line."""


def config_of(mistake: Mistake, folder: Path) -> Path:
    """Write the settings and return their file."""
    content = mistake.content.encode() if isinstance(mistake.content, str) else mistake.content
    path = folder / "bridge.toml"
    path.write_bytes(content.replace(b"{folder}", str(folder).encode().lstrip(b"/")))
    return path


def test_there_are_enough() -> None:
    """At least 80 mistakes have their line."""
    assert len(MISTAKES) >= 80


@pytest.mark.short("serve --check", "no provider", "metrics and calls", "short RSA key", "file: not-utf-8")
@pytest.mark.parametrize("commands", [(CHECK,), (SERVE, DOCTOR)], ids=["serve --check", "serve and doctor"])
@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake(
    mistake: Mistake,
    commands: tuple[tuple[str, ...], ...],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All three commands, which read settings by one function, refuse these with this line alone, and exit code 2."""
    config = config_of(mistake, folder)
    for name, value in mistake.environ.items():
        monkeypatch.setenv(name, value)
    for command in commands:
        code = main((*command, "--config", str(config)))
        said = capsys.readouterr()
        assert (code, said.out) == (2, "")
        assert said.err == f"bridge: {mistake.line.replace('{folder}', str(folder))}\n"


COMMAND_LINES: dict[str, tuple[tuple[str, ...], str]] = {
    "no command": ((), "bridge: error: the following arguments are required: COMMAND"),
    "unknown command": (("server",), "bridge: error: argument COMMAND: invalid choice: 'server' (choose from "),
    "no flag": (("serve", "own.pem"), "bridge: error: unrecognized arguments: own.pem; did you mean --config own.pem?"),
    "short flag": (("serve", "-c", "own.pem"), "bridge: error: unrecognized arguments: -c own.pem"),
    "no file behind --config": (("serve", "--config"), "bridge serve: error: argument --config: expected one argument"),
}


@pytest.mark.parametrize(("arguments", "line"), COMMAND_LINES.values(), ids=COMMAND_LINES)
def test_a_command_line(
    arguments: tuple[str, ...],
    line: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A command line that cannot be understood is refused with exit code 2 and the argument at fault."""
    monkeypatch.chdir(folder)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(line)


@pytest.mark.parametrize("command", [SERVE, CHECK, DOCTOR], ids=" ".join)
def test_no_settings_at_all(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Without --config and without variables, the first line says what is not there."""
    assert main(command) == 2
    assert capsys.readouterr().err.startswith("bridge: no --config FILE is given, so that only variables like ")
