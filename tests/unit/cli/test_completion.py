"""`bridge completion`: what each script offers in its own shell, and that every flag of every command is in it."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from bridge.cli.completion.places import Flag, Place, places
from bridge.cli.completion.shells import SHELLS
from bridge.cli.main import COMMANDS, main
from bridge.cli.settlement import STATES

PATIENCE_S = 60
"""How long a shell may take: seconds at most on a free machine."""

# The functions that only a line editor has are replaced by ones that print what they are given.
BASH = """
compopt() { :; }
source "$1"; shift
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
_bridge
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
compdef() { : }
compset() { : }
compadd() { shift; print -l -- "$@" }
_files() { print -l -- *(N) }
_describe() { print -l -- "${(@)${(P)@[-1]}%%:*}" }
source "$1"; shift
words=("$@") CURRENT=$#
_bridge
"""
FISH = """
source $argv[1]
set line (string join -- ' ' $argv[2..-1])
complete -C $line | string replace -r '\\t.*' ''
"""
RUN = {
    "bash": ("bash", "--norc", "--noprofile", "-c", BASH, "bash"),
    "zsh": ("zsh", "-f", "-c", ZSH, "zsh"),
    "fish": ("fish", "--no-config", "-c", FISH, "--"),
}

INTERACTIVE = {"bash": ("bash", "--norc", "--noprofile", "-i"), "zsh": ("zsh", "-f", "-i")}
PREPARED = {"bash": "", "zsh": "autoload -Uz compinit && compinit -u -D; "}
"""What a shell needs before it completes anything."""


def installed(shell: str) -> str:
    """Return the shell, or skip the test where it is missing."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    return shell


def offered(shell: str, script: Path, words: Sequence[str], folder: Path) -> set[str]:
    """Return what a script offers at the last of these words in a shell that works in this folder."""
    ended = subprocess.run(  # noqa: S603 - our own
        (*RUN[installed(shell)], str(script), *words),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
        env=environment(folder),
    )
    assert not ended.stderr, ended.stderr
    current = words[-1].rpartition("=")[2] if words[-1].startswith("--") and "=" in words[-1] else words[-1]
    lines = (line.removeprefix(words[-1].removesuffix(current)) for line in ended.stdout.splitlines())
    return {line for line in lines if line and line.startswith(current)}


def environment(home: Path) -> dict[str, str]:
    """Return variables for a shell that keeps what it writes in this folder."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "TERM": "dumb", "LC_ALL": "C.UTF-8"}


def typed(shell: str, script: Path, keys: str, folder: Path) -> str:
    """Return what a shell in a terminal prints of a command line: `bridge` there prints its words, each in <>."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen(  # noqa: S603 - our own
        INTERACTIVE[installed(shell)],
        cwd=folder,
        env=environment(folder),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    )
    os.close(terminal)
    try:
        prepare = f"{PREPARED[shell]}source {script}; bridge() {{ printf '<%s>' \"$@\"; printf ':end\\n'; }}; "
        # What is echoed of this line has a quote in it; what it prints has not.
        os.write(controller, f"{prepare} PS1='$ '; echo rea''dy\n".encode())
        _read_until(controller, b"ready")
        os.write(controller, f"{keys}\n".encode())
        shown = _read_until(controller, b":end")
        os.write(controller, b"exit\n")
        return shown.decode()
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def _read_until(controller: int, end: bytes) -> bytes:
    read = b""
    while end not in read:
        assert select.select([controller], [], [], PATIENCE_S)[0], read
        read += os.read(controller, 4096)
    return read


PLACES = places(COMMANDS)
TLS_FILES = {"--ca-file", "--call-id", "--client-certificate-file", "--client-key-file", "--config", "--currency"}

each_shell = pytest.mark.parametrize("shell", SHELLS)


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with each shell's script, and a folder `work` with two files."""
    folder = tmp_path_factory.mktemp("completion")
    for shell, script in SHELLS.items():
        (folder / f"bridge.{shell}").write_text(script(PLACES), encoding="utf-8")
    (folder / "work").mkdir()
    for name in ("certificate.pem", "a key.pem"):
        (folder / "work" / name).touch()
    return folder


def offers(shell: str, folder: Path, *words: str) -> set[str]:
    """Return what is offered at the last of these words, "bridge" before them."""
    return offered(shell, folder / f"bridge.{shell}", ("bridge", *words), folder / "work")


OFFERED: dict[str, tuple[Sequence[str], set[str]]] = {
    "commands": (("c",), {"call", "certify", "completion"}),
    "flags of bridge": (("--v",), {"--version"}),
    "operations": (("call", "t"), {"terminate"}),
    "flags of an operation": (("call", "terminate", "--c"), TLS_FILES),
    "flags after a switch": (("call", "terminate", "--json", "--ca"), {"--ca-file", "--call-id"}),
    "flags after a value": (("serve", "--config", "serve", "--ch"), {"--check"}),
    "a value is no command": (("doctor", "--config", "call", "t"), set()),
    "a value with = is no value before": (("serve", "--config=x", "--ch"), {"--check"}),
    "values of a positional": (("settlement", "list", "P"), {"PENDING"}),
    "such values after a flag": (("settlement", "list", "--config", "x", "R"), {"REJECTED"}),
    "shells": (("completion", "z"), {"zsh"}),
    "files": (("serve", "--config", "c"), {"certificate.pem"}),
    "a file with a space": (("sandbox", "--key-file", "a"), {"a key.pem"}),
    "a value that is no file": (("sandbox", "--listen", "c"), set()),
    "what only processes use": (("serve", "--w"), set()),
}


@each_shell
@pytest.mark.parametrize(("words", "wanted"), OFFERED.values(), ids=OFFERED)
def test_what_is_offered(shell: str, folder: Path, words: Sequence[str], wanted: set[str]) -> None:
    """At each place a shell offers what the commands take there, and nothing else."""
    split = words if shell != "bash" else [part for word in words for part in re.split(r"(=)", word)]
    unquoted = {word.replace("\\ ", " ").strip("'") for word in offers(shell, folder, *split)}
    assert unquoted == wanted


@each_shell
@pytest.mark.parametrize(("words", "wanted"), [(("",), COMMANDS), (("settlement", "list", ""), STATES)])
def test_every_word_is_offered(shell: str, folder: Path, words: Sequence[str], wanted: Collection[str]) -> None:
    """Where one of a few words must stand, all of them are offered: the commands, the states."""
    assert {word for word in offers(shell, folder, *words) if word[0] != "-"} == set(wanted)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
def test_flags_are_those_of_the_help(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """Every place has exactly the flags and the sub-commands that its own --help lists."""
    with pytest.raises(SystemExit):
        main([*place.words[1:], "--help"])
    lines = re.findall(r"^ {2}(-.*?)(?: {2}|$)", capsys.readouterr().out, re.MULTILINE)
    listed = {name for line in lines for name in re.findall(r"(?<![\w-])--?[a-z][\w-]*", line)}
    assert {name for flag in place.flags for name in flag.names} == listed


@each_shell
def test_the_command_prints_the_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`bridge completion SHELL` prints that shell's script and nothing else."""
    assert main(["completion", shell]) == 0
    assert capsys.readouterr().out == SHELLS[shell](PLACES)


MADE_UP = (
    Place(("bridge",), {"paint": "it's done with \\ and `$(false)`"}, ()),
    Place(("bridge", "paint"), {}, (Flag(("--colour",), "50 % 'off'", takes_value=True, choices=("red", "green")),)),
)
"""A flag with choices, and texts that a shell could take for its own."""


@each_shell
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("",), {"paint"}),
        (("paint", "--"), {"--colour"}),
        (("paint", "--colour", "r"), {"red"}),
        (("paint", "--colour", "red", "--"), {"--colour"}),
    ],
)
def test_choices_and_any_text(shell: str, tmp_path: Path, words: Sequence[str], wanted: set[str]) -> None:
    """Values of a flag with choices are offered, and no text of a help is read as code."""
    script = tmp_path / "script"
    script.write_text(SHELLS[shell](MADE_UP), encoding="utf-8")
    assert offered(shell, script, ("bridge", *words), tmp_path) == wanted


TYPED = {
    "words": ("ca\tterm\t--client-k\tx.pem --js\t", "<call><terminate><--client-key-file><x.pem><--json>"),
    "a file": ("serve --config cert\t", "<serve><--config><certificate.pem>"),
    "a file after =": ("serve --config=cert\t", "<serve><--config=certificate.pem>"),
    "a file with a space": ("serve --config a\\ k\t--ch\t", "<serve><--config><a key.pem><--check>"),
}


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there is no pty")
@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize(("keys", "line"), TYPED.values(), ids=TYPED)
@pytest.mark.timeout(200)
def test_tab_in_a_terminal(shell: str, keys: str, line: str, folder: Path) -> None:
    """In a terminal Tab completes commands, flags and files, as a person sees them."""
    shown = typed(shell, folder / f"bridge.{shell}", f"bridge {keys}", folder / "work")
    assert f"{line}:end" in shown
