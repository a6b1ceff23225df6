"""Mistakes of operators: `serve`, `serve --check` and `bridge doctor` refuse the same, with one line that helps."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.cli.main import main
from bridge.process.signals import IGNORED_SIGNALS
from tests.support.late_mistakes import LATE_MISTAKES, NO_WARNINGS, WARNINGS
from tests.support.mistakes import MISTAKES, Mistake
from tests.support.pem_files import write_pem_files
from tests.support.processes import bridge_command

SERVE, CHECK, DOCTOR = ("serve",), ("serve", "--check"), ("doctor",)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of files that settings can name."""
    folder = tmp_path_factory.mktemp("mistakes")
    write_pem_files(folder)
    return folder


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave out the variables of the environment, and put back the signals that `bridge serve` ignores."""
    for name in [name for name in os.environ if name.startswith(("BRIDGE_", "OTEL_"))]:
        monkeypatch.delenv(name)
    signals = {number: signal.getsignal(number) for number in (signal.SIGHUP, *IGNORED_SIGNALS)}
    yield
    for number, handler in signals.items():
        signal.signal(number, handler)


def config_of(mistake: Mistake, folder: Path) -> Path:
    """Write the settings and return their file."""
    content = mistake.content.encode() if isinstance(mistake.content, str) else mistake.content
    path = folder / "bridge.toml"
    path.write_bytes(content.replace(b"{folder}", str(folder).encode().lstrip(b"/")))
    return path


def test_there_are_enough() -> None:
    """At least 80 mistakes have their line."""
    assert len(MISTAKES) + len(LATE_MISTAKES) >= 80


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake(
    mistake: Mistake, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All three commands refuse these settings with this line alone, and exit code 2."""
    config = config_of(mistake, folder)
    for name, value in mistake.environ.items():
        monkeypatch.setenv(name, value)
    for command in (SERVE, CHECK, DOCTOR):
        code = main((*command, "--config", str(config)))
        said = capsys.readouterr()
        assert (code, said.out) == (2, "")
        assert said.err == f"bridge: {mistake.line.replace('{folder}', str(folder))}\n"


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


COMMAND_LINES: dict[str, tuple[tuple[str, ...], str]] = {
    "no command": ((), "bridge: error: the following arguments are required: COMMAND"),
    "unknown command": (("server",), "bridge: error: argument COMMAND: invalid choice: 'server' (choose from "),
    "no --config": (
        ("serve", "own.pem"),
        "bridge: error: unrecognized arguments: own.pem; did you mean --config own.pem?",
    ),
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


@pytest.mark.parametrize(("name", "reason"), [("nowhere.toml", "No such file or directory"), (".", "Is a directory")])
def test_no_such_file(name: str, reason: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be read is named as it was given, with the system's reason."""
    path = str(folder / name)
    for command in (SERVE, CHECK, DOCTOR):
        assert main((*command, "--config", path)) == 2
        assert capsys.readouterr().err == f"bridge: {path.removesuffix('/.')}: cannot be read: {reason}\n"
