"""What of the foreign software is installed, where, and how the rest is installed.

Programs of Debian are on PATH; what the suite builds and what it takes from PyPI is in .tools/interop.
"""

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
WALLETS = HERE / "wallets"
TOOLS = HERE.parents[1] / ".tools" / "interop"
_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"


def found(name: str) -> str:
    """Return the path of a program; "" where it is not installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}") or ""


def first_line(*argv: str, pattern: str) -> str:
    """Return the version that a program says, cut out by the pattern's first group; "?" where it says none."""
    run = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)  # noqa: S603 - fixed commands
    match = re.search(pattern, run.stdout)
    return match[1] if match else "?"


@dataclass(frozen=True)
class Debian:
    """A program from a package of Debian's."""

    program: str
    package: str
    says: tuple[str, ...] = ("-v",)
    pattern: str = r"(\d+\.\d+[\w.]*)"

    @property
    def path(self) -> str:
        """The program, found or not."""
        return found(self.program) or self.program

    def missing(self) -> str:
        """Say what to install; "" when it is there."""
        return (
            "" if found(self.program) else f"{self.program} is not installed; on Debian: apt-get install {self.package}"
        )

    def version(self) -> str:
        """Return the installed version."""
        return first_line(self.path, *self.says, pattern=self.pattern)


def fingerprint(folder: Path, pattern: str) -> str:
    """Return what distinguishes one state of the files in a folder from another."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob(pattern)):
        if file.is_file():
            digest.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


@dataclass(frozen=True)
class Built:
    """What is built from a folder of wallets/ by a toolchain; a new source is rebuilt."""

    folder: str
    needs: str
    """The toolchain's program."""
    package: str
    """Debian's package of it."""
    build: Callable[[Path, Path], Sequence[Sequence[str]]]
    """From the source's and the target's folder to the commands."""
    sources: str = "**/*"
    """The files that the result depends on."""

    @property
    def source(self) -> Path:
        """The sources."""
        return WALLETS / self.folder

    @property
    def target(self) -> Path:
        """Where the result is."""
        return TOOLS / f"{self.folder}-{fingerprint(self.source, self.sources)}"

    @property
    def stamp(self) -> Path:
        """There when the build has ended well."""
        return self.target / ".done"

    def missing(self) -> str:
        """Say what to install; "" when it is built."""
        if self.stamp.exists():
            return ""
        if not found(self.needs):
            return f"{self.needs} is not installed; on Debian: apt-get install {self.package}"
        return f"tests/interop/wallets/{self.folder} is not built: run `make interop`"

    def install(self) -> None:
        """Build it, unless that is done; CalledProcessError when it fails."""
        if self.stamp.exists() or not found(self.needs):
            return
        self.target.mkdir(parents=True, exist_ok=True)
        for command in self.build(self.source, self.target):
            subprocess.run(command, cwd=self.source, check=True)  # noqa: S603 - the commands stand below
        self.stamp.touch()


PYTHON = Built(
    "python",
    "python3",
    "python3-venv",
    lambda source, target: (
        ("python3", "-m", "venv", str(target)),
        (
            *(f"{target}/bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"),
            *("--require-hashes", "-r", str(source / "requirements.txt")),
        ),
    ),
    "requirements.txt",
)
GO = Built(
    "go", "go", "golang-go", lambda _source, target: (("go", "build", "-trimpath", "-o", f"{target}/wallet", "."),)
)
JAVA = Built(
    "java",
    "mvn",
    "maven default-jdk-headless",
    lambda _source, target: (("mvn", "--quiet", "--batch-mode", f"-Dinterop.target={target}", "package"),),
)
RUST = Built(
    "rust",
    "cargo",
    "cargo (1.80 or newer)",
    lambda _source, target: (("cargo", "build", "--quiet", "--release", "--target-dir", str(target)),),
    "**/*.[rt]*",  # not Cargo.lock, which cargo writes
)
BUILT = (PYTHON, GO, JAVA, RUST)


@cache
def python_version(package: str) -> str:
    """Return the version of a package in the suite's Python environment."""
    script = f"import importlib.metadata as m; print(m.version({package!r}))"
    return first_line(str(PYTHON.target / "bin" / "python"), "-c", script, pattern=r"(\S+)")
