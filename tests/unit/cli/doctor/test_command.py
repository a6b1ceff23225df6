"""`bridge doctor` as a command: what it prints, with which code it ends, and what never leaves it."""

import asyncio
import io
import json
import re
import signal
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from bridge.cli.doctor import command as doctor
from bridge.sandbox import serve
from bridge.sandbox.behaviours import answer
from bridge.sandbox.server import FaultServer
from bridge.settings.model import NO_FILE, SettingsError
from tests.support.certificates import Certificates
from tests.support.command_runs import ca_setting, examine, examined, parsed, unharmed
from tests.support.dead_addresses import silent_server
from tests.support.ports import reserved_address
from tests.support.processes import Command, program
from tests.support.settings_files import PROVIDERS_MISSING, toml, write
from tests.support.whole_path import NO_SETTINGS, environment

CHECKS = ["settings", "credentials", "files", "listen", "dns", "tcp", "tls", "alpn", "http2", "answer", "clock"]

SECRETS = {
    "WALLET__PROVIDERS__1__ACCESS_KEY": "canary-access-key",
    "WALLET__PROVIDERS__1__PRIVATE_KEY": "cafe0000-beef-4087-bc7d-00000000cafe",
    "WALLET__PROVIDERS__12345__ACCESS_KEY": "canary-access-key",
    "WALLET__PROVIDERS__12345__PRIVATE_KEY": "cafe0000-beef-4087-bc7d-00000000cafe",
    "TELEMETRY__FINGERPRINT_KEY": "canary-fingerprint-key",
}


async def test_one_line_a_check(certificates: Certificates) -> None:
    """A healthy bridge has one line for each check, in order: level, check, text; and the exit code is 0."""
    settings = {
        **ca_setting(certificates.ca_file),
        "WALLET__ALLOW_PLAINTEXT": "false",
        "WALLET__PROVIDERS__1__ACCESS_KEY": "one",
        "WALLET__PROVIDERS__1__PRIVATE_KEY": "01234567-89ab-cdef-0123-456789abcde1",
        "WALLET__PROVIDERS__12345__ACCESS_KEY": "other",
        "WALLET__PROVIDERS__12345__PRIVATE_KEY": "01234567-89ab-cdef-0123-456789abcde2",
    }
    certificate = certificates.server
    async with serve(certificate_file=certificate.certificate_file, key_file=certificate.key_file) as sandbox:
        run = await examined(sandbox.url, settings)
        received = [received.request.method for received in sandbox.received]
    assert re.sub(r"[0-9]+(?= ms)", "0", run.text).replace(str(sandbox.port), "443") == (
        "ok    settings     wallet.url = https://127.0.0.1:443\n"
        "ok    credentials  providers 1, 12345: the keys have the right shape\n"
        "ok    files        wallet.ca_file is valid until 3000-01-01\n"
        "ok    listen       server.listen = 127.0.0.1:0: free\n"
        "ok    dns          127.0.0.1 is an address: there is no name to look up\n"
        "ok    tcp          127.0.0.1:443 in 0 ms\n"
        "ok    tls          TLSv1.3; the wallet's certificate is valid until 3000-01-01\n"
        "ok    alpn         h2\n"
        "ok    http2        SETTINGS exchanged, PING answered\n"
        "ok    answer       GET / without credentials -> HTTP 404; any answer shows that the way is open\n"
        "ok    clock        this machine's clock and the wallet's differ by 5 s at most\n"
    )
    assert (run.exit_code, received) == (0, ["GET"])


async def test_json() -> None:
    """--json prints the same as one list for machines, and gives the same exit code."""
    with reserved_address() as address:
        text = await examined(f"http://{address}")
        machine = await examined(f"http://{address}", NO_SETTINGS, "--json")
    findings = json.loads(machine.text)
    assert [[each["level"], each["check"], each["text"]] for each in findings] == [
        [level.lower(), check, words]
        for level, check, words in (line.split(maxsplit=2) for line in text.text.splitlines())
    ]
    assert list(dict.fromkeys(each["check"] for each in findings)) == CHECKS
    assert (machine.exit_code, text.exit_code, machine.text.count("\n")) == (1, 1, 1)


async def test_warnings_are_no_failure() -> None:
    """The exit code is 0 where there are only warnings."""
    async with serve() as sandbox:
        run = await examined(sandbox.url)
    assert run.text.count("\nwarn ") > 0
    assert (run.exit_code, run.failed) == (0, [])


def test_text_that_a_terminal_lacks(tmp_path: Path) -> None:
    """What the terminal's encoding lacks is escaped, and no reason to stop."""
    folder = tmp_path / "schlüssel"
    folder.mkdir()
    config = write(folder, toml(wallet='url = "http://127.0.0.1:1"\nallow_plaintext = true'))
    config.chmod(0o644)
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii") as out:
        doctor.run(parsed("doctor", "--config", str(config)), out, {})
        assert b"schl\\u00fcssel" in raw.getvalue()


def test_settings_that_cannot_be_read() -> None:
    """Wrong settings are refused with the lines of `serve --check`, for the command line to print, before any check."""
    out = io.StringIO()
    with pytest.raises(SettingsError) as refused:
        doctor.run(parsed("doctor"), out, {"BRIDGE_WALLET__URL": "https://wallet.example"})
    assert (str(refused.value), out.getvalue()) == (f"{NO_FILE}\n{PROVIDERS_MISSING}", "")


async def test_configuration_and_environment(tmp_path: Path) -> None:
    """The settings come from --config and from the environment, which overrides it, as with serve."""
    config = write(tmp_path, toml())
    async with serve() as sandbox:
        environ = {"BRIDGE_WALLET__URL": sandbox.url, "BRIDGE_WALLET__ALLOW_PLAINTEXT": "true"}
        run = await asyncio.to_thread(examine, environ, "--config", str(config))
    assert run["settings"][0] == f"ok wallet.url = {sandbox.url}"
    assert "provider 12345" in run["credentials"][0]


@pytest.mark.parametrize("arguments", [(), ("--json",)], ids=["text", "json"])
@pytest.mark.parametrize("flaw", ["server", "untrusted"])
@pytest.mark.short("server-text")
async def test_no_secret_comes_out(certificates: Certificates, flaw: str, arguments: tuple[str, ...]) -> None:
    """Whatever is found, no key is printed, and none is sent: only a GET with the headers that HTTP/2 demands."""
    tls = getattr(certificates, flaw).server_context()
    settings = {**SECRETS, **ca_setting(certificates.ca_file)}
    async with unharmed(FaultServer(answer(403), tls=tls)) as wallet:
        async with doctor_command(environment(wallet.url, settings), *arguments) as command:
            assert await command.end() == (flaw != "server")
        assert len(wallet.requests) == (flaw == "server")
    assert "have the same private_key" in command.output
    assert [secret for secret in SECRETS.values() if secret in command.output.lower()] == []


def doctor_command(environ: Mapping[str, str], *arguments: str) -> AbstractAsyncContextManager[Command]:
    """Run `bridge doctor` as a process of its own, whose whole environment this is."""
    return program(sys.executable, "-m", "bridge", "doctor", *arguments, env=environ)


async def test_interrupted() -> None:
    """Every line is there as soon as it is known, and Ctrl-C ends the wait for the next without a traceback."""
    async with silent_server() as wallet:
        settings = {"WALLET__CONNECT_TIMEOUT_S": "30"}
        async with doctor_command(environment(wallet.url, settings)) as command:
            await command.line(" tcp ")
            command.process.send_signal(signal.SIGINT)
            assert await command.end() == 130
    assert " tcp " in command.lines[-1]
    assert "Traceback" not in command.output
