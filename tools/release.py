"""Build everything that a release consists of into one folder, the same bytes every time.

    tools/release.py FOLDER             every part; a missing toolchain is an error
    tools/release.py FOLDER python go   only these parts

The sources are what git has of the work tree, copied first, so that nothing that lies about gets in. Every time in the
files is SOURCE_DATE_EPOCH (reproducible-builds.org, "SOURCE_DATE_EPOCH"), else that of the last commit. SHA256SUMS has
every file; `sha256sum --check SHA256SUMS` verifies them.
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import archives
import hatch_build
import proto_image
from compiled_environment import SWITCH
from protos import ROOT
from stamps import go_module, version

CHECKSUMS = "SHA256SUMS"
CHART = Path("deploy") / "helm" / "wallet-bridge"


class ReleaseError(Exception):
    """A part cannot be built. The text says which and why."""


@dataclass(frozen=True, slots=True)
class Release:
    """What is built: from where, to where, and the time that its files have."""

    source: Path
    """A copy of the repository."""
    target: Path
    epoch: int
    """Seconds since 1970."""

    def run(self, *command: str, folder: str = "", **variables: str) -> None:
        """Run a command in a folder of the source; ReleaseError with its output when it fails."""
        environ = {**os.environ, "SOURCE_DATE_EPOCH": str(self.epoch), **variables}
        ended = subprocess.run(
            command, cwd=self.source / folder, env=environ, capture_output=True, text=True, check=False
        )
        if ended.returncode:
            raise ReleaseError(f"`{' '.join(command)}` ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")


def build_python(release: Release) -> None:
    """Build wheel and sdist of the bridge and of its stubs, in Python alone: they fit everywhere."""
    for folder in ("generated/python", "."):
        release.run(sys.executable, "-m", "hatchling", "build", "--directory", str(release.target), folder=folder)


def build_compiled(release: Release) -> None:
    """Build the bridge's wheel with compiled modules, for this Python and platform: pip prefers it where it fits."""
    hatchling = (sys.executable, "-m", "hatchling", "build", "--target", "wheel")
    release.run(*hatchling, "--directory", str(release.target), **{SWITCH: "true"})


def build_npm(release: Release) -> None:
    """Pack the npm package; npm gives each file the same time."""
    release.run("npm", "pack", "--silent", "--pack-destination", str(release.target), folder="generated/node")


def build_java(release: Release) -> None:
    """Build the jar, the jar of its sources, and copy the pom, by the names that a Maven repository has them."""
    time = datetime.fromtimestamp(release.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    maven = ("mvn", "--batch-mode", "--quiet", f"-Dproject.build.outputTimestamp={time}", "package")
    release.run(*maven, folder="generated/java")
    package = release.source / "generated" / "java"
    for jar in (package / "target").glob("*.jar"):
        shutil.copyfile(jar, release.target / jar.name)
    shutil.copyfile(package / "pom.xml", release.target / f"wallet-bridge-{version()}.pom")


def build_go(release: Release) -> None:
    """Write the Go module as a proxy serves it (go.dev/ref/mod, "GOPROXY protocol"): GOPROXY=file://.../go."""
    archives.write_go_module(
        release.source / "generated" / "go", release.target / "go", go_module(), f"v{version()}", release.epoch
    )


def build_chart(release: Release) -> None:
    """Write the archive of the Helm chart."""
    name = f"wallet-bridge-chart-{version()}.tgz"
    archives.write_chart(release.source / CHART, release.target / name, release.epoch)


def build_contract(release: Release) -> None:
    """Write the protos as one image."""
    proto_image.write_whole(release.target / f"wallet-bridge-contract-{version()}.binpb")


def build_sbom(release: Release) -> None:
    """Write what the bridge is installed with, by its lock, and what is compiled into it, as CycloneDX (ECMA-424)."""
    path = release.target / f"wallet-bridge-{version()}.cdx.json"
    options = (
        "--pyproject",
        "pyproject.toml",
        "--output-reproducible",
        "--output-format",
        "JSON",
        "--output-file",
        str(path),
    )
    release.run(sys.executable, "-m", "cyclonedx_py", "requirements", *options, "requirements/run.txt")
    bom = json.loads(path.read_text(encoding="utf-8"))
    bom["components"].append(compiled_in())
    path.write_text(json.dumps(bom, indent=2) + "\n", encoding="utf-8")


def compiled_in() -> Mapping[str, object]:
    """Return the component that no lock of the bridge has: the C runtime in the wheel with compiled modules."""
    name = hatch_build.RUNTIME
    facts = importlib.metadata.metadata(name)
    return {
        "bom-ref": f"{name}-runtime",
        "description": "mypyc's C runtime, in the wheel with compiled modules alone",
        "licenses": [{"expression": facts["License-Expression"]}],
        "name": name,
        "purl": f"pkg:pypi/{name}@{facts['Version']}",
        "type": "library",
        "version": facts["Version"],
    }


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a release."""

    missing: Callable[[], str]
    """Returns what this machine lacks to build it; "" where all is there."""
    build: Callable[[Release], None]


def on_path(*programs: str) -> Callable[[], str]:
    """Return what says which of these programs are not on PATH."""

    def missing() -> str:
        lacks = ", ".join(program for program in programs if shutil.which(program) is None)
        return lacks and f"{lacks} not found on PATH"

    return missing


PARTS: Mapping[str, Part] = {
    "python": Part(on_path(), build_python),
    "compiled": Part(hatch_build.missing, build_compiled),
    "npm": Part(on_path("npm"), build_npm),
    "java": Part(on_path("java", "mvn"), build_java),
    "go": Part(on_path(), build_go),
    "chart": Part(on_path(), build_chart),
    "contract": Part(on_path(), build_contract),
    "sbom": Part(on_path(), build_sbom),
}


def epoch() -> int:
    """Return the time that everything gets: SOURCE_DATE_EPOCH, else that of the last commit."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or _git("log", "-1", "--format=%ct"))


def export(folder: Path) -> None:
    """Copy what git has of the work tree, as it stands now."""
    for name in filter(None, _git("ls-files", "-z").split("\0")):
        if (ROOT / name).exists():
            into = folder / name
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, into)
            into.chmod(0o755 if (ROOT / name).stat().st_mode & 0o100 else 0o644)


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def write_checksums(folder: Path) -> None:
    """Write the SHA-256 of every file below a folder, in the format of sha256sum."""
    (folder / CHECKSUMS).unlink(missing_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in files
    ]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def build(target: Path, names: Sequence[str], time: int) -> None:
    """Build these parts into a folder, which is emptied first; ReleaseError when one cannot be built."""
    for name in names:
        if missing := PARTS[name].missing():
            raise ReleaseError(f"{name}: {missing}; leave it out by naming the other parts")
    # Jars have the modes of the files that Maven finds and makes.
    os.umask(0o022)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in names:
        print(f"release: {name}", flush=True)
        # A copy for each: no part sees what another's tools leave behind.
        with tempfile.TemporaryDirectory() as scratch:
            export(Path(scratch))
            PARTS[name].build(Release(Path(scratch), target.resolve(), time))
    write_checksums(target)


def main(arguments: Sequence[str]) -> int:
    """Build what the arguments name; return the exit code."""
    names = arguments[1:] or list(PARTS)
    if not arguments or set(names) - PARTS.keys():
        print(f"usage: release.py FOLDER [{'|'.join(PARTS)}]...", file=sys.stderr)
        return 2
    try:
        build(Path(arguments[0]), names, epoch())
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    print(f"release: {version()} is in {arguments[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
