"""The pinned programs beside Python: what is installed in .tools/, what is missing and why, and how to install it.

    tools/toolchain.py            install everything that this machine's Go and Node.js can install
    tools/toolchain.py grpcurl    only the named programs

Versions stand in toolchain.toml and tools/node/package-lock.json. A version is part of its folder's name, so that a
program that is there is the one that is pinned.
"""

import contextlib
import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TOOLS = ROOT / ".tools"
INSTALL = "python tools/toolchain.py"


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A command that Go builds; its checksum database, or the go.sum of the module here, vouches for the version."""

    name: str
    package: str
    version: str
    module: str = ""
    """The folder here whose go.mod and go.sum pin it; "" where the version alone does."""
    required: bool = True
    """Whether `make tools` fails without it."""

    installed_by = "go"
    run_by = ""

    @property
    def path(self) -> Path:
        """Where the executable is, installed or not."""
        return TOOLS / "go" / f"{self.name}@{self.version}" / self.package.rpartition("/")[2]

    def install(self) -> None:
        """Build it into its folder."""
        environ = {**os.environ, "GOBIN": str(self.path.parent), "GOFLAGS": "-trimpath"}
        package = self.package if self.module else f"{self.package}@{self.version}"
        subprocess.run(["go", "install", package], check=True, env=environ, cwd=HERE / self.module)  # noqa: S607 -- the Go that is on PATH is the one to use


@dataclass(frozen=True, slots=True)
class NodeProgram:
    """A command of the packages in tools/node/; package-lock.json holds the hash of each."""

    name: str

    installed_by = "npm"
    run_by = "node"
    required = True

    @property
    def modules(self) -> Path:
        """The node_modules that hold it."""
        lock = hashlib.sha256((HERE / "node" / "package-lock.json").read_bytes()).hexdigest()[:12]
        return TOOLS / "node" / lock / "node_modules"

    @property
    def path(self) -> Path:
        """Where the executable is, installed or not."""
        return self.modules / ".bin" / self.name

    def install(self) -> None:
        """Install all packages of tools/node/; what was interrupted does not count as installed."""
        folder = self.modules.parent
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(HERE / "node", unfinished)
        subprocess.run(["npm", "ci", "--silent"], cwd=unfinished, check=True)  # noqa: S607 -- likewise
        unfinished.rename(folder)


Program = GoProgram | NodeProgram


@functools.cache
def programs() -> dict[str, Program]:
    """Return every pinned program by its name."""
    pins = tomllib.loads((HERE / "toolchain.toml").read_text())["go"]
    found: list[Program] = [GoProgram(name, **pin) for name, pin in pins.items()]
    found += [NodeProgram("protoc-gen-ts_proto"), NodeProgram("tsc")]
    return {program.name: program for program in found}


def absent(name: str) -> str:
    """Say why this program cannot run; "" when it can."""
    program = programs()[name]
    if program.run_by and shutil.which(program.run_by) is None:
        return f"{program.run_by} is not installed"
    if program.path.exists():
        return ""
    if shutil.which(program.installed_by) is None:
        return f"{program.installed_by} is not installed"
    return f"{name} is not installed: run `{INSTALL}`"


def install(*names: str) -> None:
    """Install those of these programs that are not there and whose language is.

    CalledProcessError when that fails, but for programs that are not required.
    """
    TOOLS.mkdir(exist_ok=True)
    # The folder ignores itself, wherever it is made.
    (TOOLS / ".gitignore").write_text("*\n")
    for name in names:
        if absent(name) and shutil.which(programs()[name].installed_by):
            print(f"toolchain: {name}", flush=True)
            with contextlib.suppress(*(() if programs()[name].required else (subprocess.CalledProcessError,))):
                programs()[name].install()


def main() -> int:
    """Install what the arguments name, or everything; return 1 when something is still missing."""
    names = sys.argv[1:] or list(programs())
    if unknown := [name for name in names if name not in programs()]:
        print(f"toolchain: no program {', '.join(unknown)}; there are {', '.join(programs())}", file=sys.stderr)
        return 2
    install(*names)
    missing = {name: why for name in names if (why := absent(name))}
    for name, why in missing.items():
        print(f"toolchain: {name} left out: {why}")
    return 1 if any(programs()[name].required for name in missing) else 0


if __name__ == "__main__":
    sys.exit(main())
