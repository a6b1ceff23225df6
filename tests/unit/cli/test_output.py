"""Standard output that nothing reads any more, or that cannot be written: no command ends in a traceback.

`bridge fingerprint` prints what the log shows, and nothing shows the token.
"""

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.cli.fingerprint import run, warning
from bridge.cli.main import main
from bridge.cli.output import CLOSED_PIPE_CODE
from bridge.events import CallEnded, Event
from bridge.sandbox import serve
from bridge.settings.model import SettingsError, load
from tests.support.processes import SOURCES, unmeasured
from tests.support.serving import NOWHERE
from tests.support.settings_files import toml, write
from tests.support.whole_path import bridge_to, environment

COMMANDS: dict[str, tuple[str, ...]] = {
    "help": ("--help",),
    "version": ("--version",),
    "help of a command": ("call", "terminate", "--help"),
    "check": ("serve", "--check", "--config", "bridge.toml"),
    "doctor": ("doctor", "--config", "bridge.toml"),
    "doctor as JSON": ("doctor", "--json", "--config", "bridge.toml"),
    "test tokens": ("sandbox", "--tokens"),
    "completion": ("completion", "bash"),
}


@pytest.fixture(autouse=True)
def _settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a folder with settings the working directory, without variables of the environment."""
    # Nothing listens at the wallet, and the ports are any.
    wallet = 'url = "http://127.0.0.1:1"\nallow_plaintext = true'
    telemetry = '[telemetry]\nmetrics_listen = ""'
    write(tmp_path, toml(server='listen = "127.0.0.1:0"', wallet=wallet, rest=telemetry))
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BRIDGE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def closed_pipe() -> Iterator[io.TextIOWrapper]:
    """Return the writing end of a pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        yield stream


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_reader_that_has_gone(
    arguments: tuple[str, ...],
    closed_pipe: io.TextIOWrapper,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A command whose output is not read to its end, as before `| head`, ends quietly, as SIGPIPE would end it."""
    monkeypatch.setattr(sys, "stdout", closed_pipe)
    assert main(arguments) == CLOSED_PIPE_CODE
    assert "Broken pipe" not in capsys.readouterr().err
    closed_pipe.flush()  # as Python does at its exit: nothing is left that it could not write


@pytest.mark.parametrize("arguments", [COMMANDS["version"], COMMANDS["test tokens"]], ids=["little", "much"])
def test_a_full_disk(
    arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Output that cannot be written for another reason is one line, and no success."""
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert main(arguments) == 2
        full.flush()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bridge: ")
    assert line.endswith("No space left on device")


def test_the_process_says_nothing() -> None:
    """The process itself, with what Python does at its exit, writes nothing to standard error."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "bridge", "sandbox", "--tokens"]
    environ = {**unmeasured(), "PYTHONUNBUFFERED": ""}
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environ, check=False)  # noqa: S603 - our own
    os.close(writing)
    assert (done.returncode, done.stderr) == (CLOSED_PIPE_CODE, b"")


KEY = {"TELEMETRY__FINGERPRINT_KEY": "sixteen characters"}
NO_CONFIG = argparse.Namespace(config=None)


def printed(token: bytes, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what the command prints for this standard input."""
    assert run(NO_CONFIG, io.BytesIO(token), environment(NOWHERE, KEY)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("token", ["a-token", "séance-日本", "x" * 4096], ids=["plain", "wide", "the longest"])
async def test_it_is_what_the_log_shows(token: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A bridge with the same key shows for a call with this token what the command prints."""
    events: list[Event] = []
    async with serve() as sandbox, bridge_to(sandbox.url, KEY, emit=events.append) as caller:
        await caller.terminate(token)
    (shown,) = {event.token_fingerprint for event in events if isinstance(event, CallEnded)}
    assert printed(token.encode(), capsys) == f"{shown}\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_the_end_of_the_line_is_none_of_the_tokens(end: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """`echo` and an editor end a line; one such end is no part of the token, also of the longest, and a second is."""
    assert printed(b"x" * 4096 + end, capsys) == printed(b"x" * 4096, capsys)
    assert printed(b"a" + end + end, capsys) == printed(b"a" + end + end, capsys) != printed(b"a" + end, capsys)


REFUSED = {
    "nothing": (b"", "standard input: must be a token, 1 to 4096 bytes"),
    "an empty line": (b"\n", "standard input: must be a token, 1 to 4096 bytes"),
    "too long": (b"x" * 4097, "standard input: must be a token, 1 to 4096 bytes"),
    "endless": (b"x" * 100_000, "standard input: must be a token, 1 to 4096 bytes"),
    "not UTF-8": (b"canary\xff", "standard input: must be a token in UTF-8"),
}


@pytest.mark.parametrize(("given", "line"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_token(given: bytes, line: str) -> None:
    """It is refused in one line that does not hold it, nor does what hangs on the exception."""
    with pytest.raises(SettingsError) as raised:
        run(NO_CONFIG, io.BytesIO(given), environment(NOWHERE, KEY))
    assert str(raised.value) == line
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_without_a_key_there_is_nothing_to_print() -> None:
    """Where no key is set the command says which setting is missing and why that matters."""
    with pytest.raises(SettingsError, match=r"^telemetry\.fingerprint_key: is not set, .* for all replicas$"):
        run(NO_CONFIG, io.BytesIO(b"token"), environment(NOWHERE))


def command(*arguments: str, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `bridge` with the token "canary" on standard input."""
    environ = {**os.environ, **environment(NOWHERE, settings), "PYTHONPATH": SOURCES}
    line = [sys.executable, "-m", "bridge", *arguments]
    return subprocess.run(  # noqa: S603 - the command under test
        line, input="canary\n", capture_output=True, text=True, env=environ, timeout=120, check=False
    )


def test_as_a_command(tmp_path: Path) -> None:
    """The key may stand in a file; the exit code is 0, and 2 where it is not set."""
    (tmp_path / "key").write_text("sixteen characters\n")
    good = command("fingerprint", settings={"TELEMETRY__FINGERPRINT_KEY_FILE": str(tmp_path / "key")})
    bad = command("fingerprint", settings={})
    assert (good.returncode, good.stderr, len(good.stdout)) == (0, "", 17)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert "canary" not in good.stdout + bad.stderr


WARNED = {
    "loopback": ("127.0.0.1:1", {}, False),
    "loopback, IPv6": ("[::1]:1", {}, False),
    "localhost": ("localhost:1", {}, False),
    "every address": ("0.0.0.0:1", {}, True),
    "every address, IPv6": ("[::]:1", {}, True),
    "a name": ("bridge.example:1", {}, True),
    "with a key": ("0.0.0.0:1", KEY, False),
}


@pytest.mark.parametrize(("listen", "settings", "is_warned"), WARNED.values(), ids=WARNED)
def test_replicas_that_would_not_share_a_key(listen: str, settings: dict[str, str], *, is_warned: bool) -> None:
    """A bridge that listens beyond its machine may be one of several: without a key it warns, in one line."""
    line = warning(load(None, environment(NOWHERE, {"SERVER__LISTEN": listen, **settings})))
    assert bool(line) is is_warned
    assert line.isprintable()


@pytest.mark.long
def test_the_check_warns() -> None:
    """`serve --check` says it on standard error, and the settings are good all the same."""
    checked = command("serve", "--check", settings={"SERVER__LISTEN": "0.0.0.0:1"})
    assert checked.returncode == 0
    assert checked.stderr.startswith("bridge: warning: telemetry.fingerprint_key is not set: ")
    assert command("serve", "--check", settings={}).stderr == ""
