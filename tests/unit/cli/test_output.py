"""Standard output that nothing reads any more, or that cannot be written: no command ends in a traceback."""

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.cli.main import main
from bridge.cli.output import CLOSED_PIPE_CODE
from tests.support.processes import unmeasured
from tests.support.settings_files import toml, write

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
