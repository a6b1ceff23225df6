"""Mistakes in settings that only a look at what they name can find, and what works but is a warning."""

from pathlib import Path

import pytest

from bridge.cli.main import main
from tests.support.processes import bridge_command
from tests.support.settings_files import ACCESS_KEY, KEYS, PROVIDER, toml
from tests.unit.cli.test_mistakes import CHECK, DOCTOR, Mistake, config_of

LOOPBACK = 'url = "http://127.0.0.1:1"\nallow_plaintext = true'
FREE = 'listen = "127.0.0.1:0"'
STORE = 'store = "sqlite:///{folder}/settlement.db"'
ELSEWHERE = "192.0.2.1:0: cannot be had: it is no address of this machine"
OWN = "server.tls_certificate_file"


def pair(certificate: str) -> str:
    """Return the settings of TLS with this certificate for own.key."""
    return f'{FREE}\ntls_certificate_file = "{certificate}"\ntls_key_file = "own.key"'


def late(line: str, *, server: str = FREE, keys: str = KEYS, settlement: str = "", telemetry: str = "") -> Mistake:
    """Return a mistake in settings that can be read: nothing of what they name is far away."""
    tables = {"settlement": settlement, "telemetry": f'metrics_listen = ""\n{telemetry}'}
    rest = "\n".join(f"[{name}]\n{text}" for name, text in tables.items() if text)
    return Mistake(line, toml(server=server, wallet=LOOPBACK, keys=keys, rest=rest))


LATE_MISTAKES: dict[str, Mistake] = {
    "address elsewhere": late(f"server.listen = {ELSEWHERE}", server='listen = "192.0.2.1:0"'),
    "health elsewhere": late(f"server.health_listen = {ELSEWHERE}", server=f'{FREE}\nhealth_listen = "192.0.2.1:0"'),
    "wrong settlement key": late(
        "settlement.key_file: line 1: must be 32 bytes in base64, as openssl rand -base64 32 prints them",
        settlement=f'{STORE}\nkey_file = "text.pem"',
    ),
    "store nowhere": late(
        "settlement store sqlite:///no-such-folder/settlement.db cannot be reached; check its address and that it runs "
        "(/no-such-folder is no folder)",
        settlement='store = "sqlite:///no-such-folder/settlement.db"\nkey_file = "settlement.key"',
    ),
    "exporter of traces": Mistake(
        "telemetry.tracing: OTEL_TRACES_EXPORTER or OTEL_EXPORTER_OTLP_PROTOCOL asks for an exporter ",
        late("", telemetry="tracing = true").content,
        {"OTEL_TRACES_EXPORTER": "no-such-exporter"},
    ),
}
"""Name -> mistake that only a test of what the settings name can find. A line begins with this one."""

WARNINGS: dict[str, Mistake] = {
    "path for an access key": late(
        f"{PROVIDER}.access_key: is a path: is it for access_key_file?",
        keys=KEYS.replace(ACCESS_KEY, "/run/secrets/key"),
    ),
    "placeholder for an access key": late(
        f"{PROVIDER}.access_key: is a placeholder that nothing has filled in",
        keys=KEYS.replace(ACCESS_KEY, "${ACCESS_KEY}"),
    ),
    "file that holds a path": late(
        f"{PROVIDER}.access_key: access_key_file holds a path, which is not followed",
        keys=KEYS.replace(f'key = "{ACCESS_KEY}"', 'key_file = "path"'),
    ),
    "path for a fingerprint key": late(
        "telemetry.fingerprint_key: is a path: is it for fingerprint_key_file?",
        telemetry='fingerprint_key = "/run/secrets/fingerprint"',
    ),
    "no fingerprint key": late("telemetry.fingerprint_key is not set: ", server='listen = "0.0.0.0:0"'),
    "no code of success": late(
        "settlement: no [wallet.codes.<code>] has success = true.", settlement=f'{STORE}\nkey_file = "settlement.key"'
    ),
    "certificate that has expired": late(f"{OWN} has expired, on ", server=pair("expired.pem")),
    "certificate that is not valid yet": late(f"{OWN} is valid only from ", server=pair("future.pem")),
    "certificate that ends soon": late(f"{OWN} expires on ", server=pair("soon.pem")),
    "authority that has expired": late(
        "server.tls_client_ca_file has expired, on ", server=pair("own.pem") + '\ntls_client_ca_file = "expired.pem"'
    ),
    "chain that has expired": late(f"{OWN}: certificate 2 in it has expired, on ", server=pair("expired-behind.pem")),
    "chain that is none": late(
        f"{OWN}: certificate 2 in it is not of the authority that signed certificate 1: ",
        server=pair("soon-behind.pem"),
    ),
}
"""Name -> what works, and gives a warning that begins with this line."""

NO_WARNINGS: dict[str, Mistake] = {
    "good chain": late("", server=pair("chain.pem")),
    "root that has expired behind a chain": late("", server=pair("expired-root-behind.pem")),
    "an authority that has expired beside a good one": late(
        "", server=pair("own.pem") + '\ntls_client_ca_file = "authorities.pem"'
    ),
    "key with slashes": late("", keys=KEYS.replace(ACCESS_KEY, "/abc+d/e=")),
}
"""Name -> settings that are right, though they look like one of those."""


@pytest.mark.parametrize("mistake", LATE_MISTAKES.values(), ids=LATE_MISTAKES)
def test_a_late_mistake(
    mistake: Mistake, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What no look at the settings alone can find is refused by --check with this line, and is a failure for doctor."""
    config = config_of(mistake, folder)
    for name, value in mistake.environ.items():
        monkeypatch.setenv(name, value)
    code = main((*CHECK, "--config", str(config)))
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    (line,) = said.err.splitlines()
    assert line.startswith(f"bridge: {mistake.line}")
    assert main((*DOCTOR, "--config", str(config))) == 1
    failures = [line.split(maxsplit=2)[2] for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert line.removeprefix("bridge: ") in failures


@pytest.mark.parametrize("name", ["wrong settlement key", "exporter of traces"])
@pytest.mark.short("wrong settlement key")
async def test_serve_refuses_it_too(name: str, folder: Path) -> None:
    """A bridge does not start with what --check refuses, and says so in the same words, once, with workers too."""
    mistake = LATE_MISTAKES[name]
    environ = {**mistake.environ, "BRIDGE_SERVER__WORKERS": "2"}
    async with bridge_command("serve", "--config", str(config_of(mistake, folder)), environ=environ) as command:
        assert await command.end() == 2
    (problem,) = command.problems
    assert problem.startswith(mistake.line)


@pytest.mark.parametrize("mistake", WARNINGS.values(), ids=WARNINGS)
def test_a_warning(mistake: Mistake, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What works and should not stay is a warning of --check, and one, or a failure, of doctor; --check succeeds."""
    config = config_of(mistake, folder)
    assert main((*CHECK, "--config", str(config))) == 0
    warnings = [line.removeprefix("bridge: warning: ") for line in capsys.readouterr().err.splitlines()]
    found = [line for line in warnings if line.startswith(mistake.line)]
    assert len(found) == 1, warnings
    main((*DOCTOR, "--config", str(config)))
    reported = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert [text for level, _, text in reported if level in {"warn", "FAIL"} and text in warnings].count(found[0]) == 1


@pytest.mark.parametrize("settings", NO_WARNINGS.values(), ids=NO_WARNINGS)
def test_no_warning(settings: Mistake, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is right gives no warning."""
    assert main((*CHECK, "--config", str(config_of(settings, folder)))) == 0
    assert capsys.readouterr().err == ""
