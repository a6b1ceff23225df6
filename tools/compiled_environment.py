"""An environment with the compiled bridge installed: `make test-compiled` runs the tests in it, `make bench` its rows.

    tools/compiled_environment.py FOLDER                make it
    tools/compiled_environment.py FOLDER ARGUMENT...    start its Python, which imports what is installed

It has no packages of its own but the bridge and its stubs: all others are those of the environment that runs this.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

from protos import ROOT

SWITCH = "HATCH_BUILD_HOOK_ENABLE_CUSTOM"
"""Hatchling's switch of hatch_build.py."""
FORM = "WALLET_BRIDGE_FORM"
"""Tests read which form of the bridge they must find: "compiled", else the sources."""


class CannotMakeError(Exception):
    """It cannot be made. The text says why."""


def packages(folder: Path) -> Path:
    """Return where an environment's packages are."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return folder / "lib" / version / "site-packages"


def make(folder: Path) -> None:
    """Build both wheels and install them in a new environment; raise CannotMakeError."""
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, symlinks=True)
    # Last on its path: what is installed here comes before.
    (packages(folder) / "development.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    wheels = folder / "wheels"
    for source in ("generated/python", "."):
        _run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels.resolve()), folder=source)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(folder / "bin" / "python"))
    _run(*pip, "install", "--quiet", "--no-deps", "--no-index", *(str(path.resolve()) for path in wheels.glob("*.whl")))


def environ(folder: Path) -> Mapping[str, str]:
    """Return the variables with which the Python there imports the installed bridge, also in the repository's root.

    Python prepends the current folder, where the sources are, and pytest too: PYTHONSAFEPATH forbids the one.
    """
    paths = (packages(folder.resolve()), ROOT, ROOT / "tools")
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(map(str, paths)), FORM: "compiled"}


def _run(*command: str, folder: str = "") -> None:
    done = subprocess.run(
        command, cwd=ROOT / folder, env={**os.environ, SWITCH: "true"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CannotMakeError(f"{done.stdout}{done.stderr}".strip())


def main(arguments: Sequence[str]) -> int:
    """Make the environment, or run a command in it; return the exit code."""
    if not arguments:
        print("usage: compiled_environment.py FOLDER [ARGUMENT]...", file=sys.stderr)
        return 2
    folder, *command = arguments
    if command:
        python = str(Path(folder) / "bin" / "python")
        return subprocess.run((python, *command), env={**os.environ, **environ(Path(folder))}, check=False).returncode
    try:
        make(Path(folder))
    except CannotMakeError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
