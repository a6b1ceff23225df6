"""Real shells for tests: what a completion script offers there, and a terminal in which a person presses Tab."""

import os
import pty
import select
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

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
