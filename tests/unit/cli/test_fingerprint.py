"""`bridge fingerprint` prints what the log shows, and nothing shows the token."""

import argparse
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.cli.fingerprint import run, warning
from bridge.events import CallEnded, Event
from bridge.sandbox import serve
from bridge.settings.model import SettingsError, load
from tests.support.processes import SOURCES
from tests.support.supervised import NOWHERE
from tests.support.whole_path import bridge_to, environment

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


def test_the_check_warns() -> None:
    """`serve --check` says it on standard error, and the settings are good all the same."""
    checked = command("serve", "--check", settings={"SERVER__LISTEN": "0.0.0.0:1"})
    assert checked.returncode == 0
    assert checked.stderr.startswith("bridge: warning: telemetry.fingerprint_key is not set: ")
    assert command("serve", "--check", settings={}).stderr == ""
