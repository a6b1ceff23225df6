"""Run the commands of docs/callers.md, "From nothing to a decoded error", as they stand there, and check their output.

    python tests/clients/first_calls.py           every language whose toolchain is here; says which are missing
    python tests/clients/first_calls.py --all     the same, and a missing toolchain is a failure
    python tests/clients/first_calls.py go java   only these

The commands of Python run on each version from 3.11 on that is here. Each runs in an empty folder, with a copy of the
packages as BRIDGE, before a bridge and its sandbox. What Maven installs goes into a repository that is thrown away.
"""

import asyncio
import os
import re
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "generated" / "python"), str(ROOT / "tools"), str(ROOT)]

from bridge import sandbox  # noqa: E402 -- after the path is set: a script brings only its own folder
from bridge.cli.demo import demo_settings  # noqa: E402 -- likewise
from bridge.server.app import running  # noqa: E402 -- likewise
from newest_python import candidates, each_minor  # noqa: E402 -- likewise

CALLERS = ROOT / "docs" / "callers.md"
NODE = ("node", "npm")
NEEDS = {
    "go": ("go",),
    "java": ("java", "mvn"),
    "node": NODE,
    "node-commonjs": NODE,
    "node-typescript": NODE,
    "python": ("python3",),
}
"""Programs that must be on PATH."""
COMMANDS_MAX = 10
ADDRESS = "127.0.0.1:50051"
"""The bridge's address in the document; that of the run stands in its place."""
PRINTED = re.compile(
    r"^OK code=1 balance=22085\.75\nDATA_LOSS OUTCOME_UNKNOWN WALLET_ECHO_MISMATCH call_id=[0-9a-f-]{36}\n\Z",
    re.MULTILINE,
)
STYLE = re.compile(r"\x1b\[[0-9;]*m")
"""What Maven prints for a terminal's colours, also where there is none."""
PYTHON_AT_LEAST = (3, 11)
TIMEOUT_S = 1200
"""A build downloads what it needs at its first time."""


def commands(language: str) -> list[str]:
    """Return the commands of a language, as the document has them."""
    found = re.search(
        rf"<!-- commands: {language} -->\n```sh\n(.*?)```", CALLERS.read_text(encoding="utf-8"), re.DOTALL
    )
    return found[1].splitlines() if found else []


def absent(language: str) -> str:
    """Say which programs are missing; "" when it can run."""
    return ", ".join(program for program in NEEDS[language] if shutil.which(program) is None)


@dataclass(frozen=True)
class Run:
    """The commands of a language, and what `python3` is for them; None: that of PATH."""

    language: str
    version: str = ""
    python: Path | None = None

    @property
    def name(self) -> str:
        """The name to print."""
        return f"{self.language} {self.version}".strip()


def runs(language: str) -> Sequence[Run]:
    """Return the runs of a language: Python's on each version that the package takes and this machine has."""
    pythons = each_minor(candidates(), PYTHON_AT_LEAST) if language == "python" else {}
    return [Run(language, version, python) for version, python in pythons.items()] or [Run(language)]


def environment(folder: Path, clone: Path) -> Mapping[str, str]:
    """Return what a shell of a new user has: no Python of ours, and a Maven repository of its own."""
    environ = {
        name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV", "NODE_PATH"}
    }
    repository = folder / "repository"
    repository.mkdir()
    # What has been downloaded already is used; what the commands install is not left there.
    for known in (Path.home() / ".m2" / "repository").glob("*"):
        if known.name != "wallet":
            (repository / known.name).symlink_to(known)
    return {**environ, "BRIDGE": str(clone), "MAVEN_OPTS": f"-Dmaven.repo.local={repository}"}


def with_python(python: Path | None, folder: Path, environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment with this Python as `python3`."""
    if python is None:
        return environ
    folder.mkdir()
    (folder / "python3").write_text(f'#!/bin/sh\nexec {shlex.quote(str(python))} "$@"\n', encoding="utf-8")
    (folder / "python3").chmod(0o755)
    return {**environ, "PATH": f"{folder}{os.pathsep}{environ['PATH']}"}


async def printed_by(run: Run, address: str) -> str:
    """Run these commands in an empty folder and return what they print, both streams."""
    with tempfile.TemporaryDirectory() as scratch:
        clone, empty = Path(scratch) / "clone", Path(scratch) / "empty"
        empty.mkdir()
        for folder in ("generated", "examples"):
            shutil.copytree(
                ROOT / folder, clone / folder, ignore=shutil.ignore_patterns("target", "__pycache__", "*.tgz")
            )
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euc", "\n".join(commands(run.language)).replace(ADDRESS, address)),
            cwd=empty,
            env=with_python(run.python, Path(scratch) / "bin", environment(Path(scratch), clone)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                output, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return f"the commands did not end within {TIMEOUT_S} s"
        return STYLE.sub("", output.decode())


async def is_as_it_must_be(run: Run, address: str) -> bool:
    """Run the commands and print how that ended."""
    count = len(commands(run.language))
    if not 0 < count <= COMMANDS_MAX:
        print(f"{run.name:<16}FAILED: docs/callers.md has {count} commands, wanted 1 to {COMMANDS_MAX}", flush=True)
        return False
    printed = await printed_by(run, address)
    if not PRINTED.search(printed):
        print(f"{run.name:<16}FAILED: docs/callers.md, {count} commands, printed\n{printed}", flush=True)
        return False
    print(f"{run.name:<16}ok: {count} commands from an empty folder to a decoded error", flush=True)
    return True


async def main(arguments: list[str]) -> int:
    """Run the commands of the languages that are asked for; return the exit code."""
    languages = [name for name in arguments if name != "--all"] or list(NEEDS)
    missing = {name: absent(name) for name in languages if absent(name)}
    for name, programs in missing.items():
        print(f"{name:<16}left out: {programs} not found on PATH", flush=True)
    settings = {"BRIDGE_SERVER__LISTEN": "127.0.0.1:0"}
    async with sandbox.serve() as wallet, running(demo_settings(wallet.url, settings)) as bridge:
        todo = [run for name in languages if name not in missing for run in runs(name)]
        ends = [await is_as_it_must_be(run, bridge.address) for run in todo]
    return int(not all(ends) or (bool(missing) and "--all" in arguments))


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
