"""Rebuild generated/ from protos/. With --check, compare instead and fail on any difference.

Python needs nothing but this environment. Go and Node.js need their pinned plugins (toolchain.py), which a rebuild
installs where the language is there; a language whose plugin cannot run is named and left as it is. Java's sources are
made by Maven when the package in generated/java is built, as Java teams expect: there is nothing to rebuild.
"""

import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import toolchain
from protos import ROOT, compile_protos, sources

GENERATED = ROOT / "generated"
# protoc finds the plugins of mypy-protobuf on PATH: put this environment's first, activated or not.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])

# Details of errors and the types of fields: for Go, Java and Python they come with a library of Google's, for Node.js
# with none that fits ts-proto, so that our package carries them.
NODE_EXTRAS = (
    "google/protobuf/any.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/timestamp.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
    "google/type/decimal.proto",
)
TS_PROTO_OPTIONS = (
    "outputServices=grpc-js",
    "forceLong=bigint",  # uint64 without loss
    "useOptionals=none",
    "oneof=unions-value",
    "unrecognizedEnum=true",  # an outcome of a later version stays a number
    "emitImportedFiles=false",
    "esModuleInterop=true",
    "env=node",
    "outputJsonMethods=true",
    "outputPartialMethods=true",
    "snakeToCamel=true",
    "annotateFilesWithVersion=false",
)
TSC = toolchain.NodeProgram("tsc")
TSC_OPTIONS = (
    "--strict",
    "--declaration",
    *("--target", "es2022"),
    *("--module", "node16"),
    *("--moduleResolution", "node16"),
    "--esModuleInterop",
    "--skipLibCheck",
)


@dataclass(frozen=True, slots=True)
class Language:
    """One generated tree."""

    folder: str
    """Below generated/; everything in it is ours to replace. What is written by hand lies beside it."""
    programs: tuple[str, ...]
    """The pinned programs that it takes, see toolchain.py."""
    write: Callable[[Path], None]
    """Writes the tree into an empty folder."""

    @property
    def committed(self) -> Path:
        """The tree as it stands in the repository."""
        return GENERATED / self.folder

    @property
    def absent(self) -> str:
        """Why this tree cannot be made here; "" when it can."""
        return "; ".join(dict.fromkeys(filter(None, map(toolchain.absent, self.programs))))


def plugin(name: str) -> str:
    """Return protoc's argument that names a plugin in .tools/."""
    return f"--plugin={name}={toolchain.programs()[name].path}"


def write_python(target: Path) -> None:
    """Write messages, services and their type stubs."""
    compile_protos(
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
    )


def write_go(target: Path) -> None:
    """Write messages and services; the module's own path is cut off, as its go.mod lies one folder up."""
    with tempfile.TemporaryDirectory() as scratch:
        compile_protos(
            plugin("protoc-gen-go"),
            plugin("protoc-gen-go-grpc"),
            f"--go_out=module=wallet-bridge:{scratch}",
            f"--go-grpc_out=module=wallet-bridge:{scratch}",
        )
        shutil.copytree(Path(scratch) / "wallet", target, dirs_exist_ok=True)


def write_node(target: Path) -> None:
    """Write JavaScript with its types, so that the package needs no build step where it is used."""
    with tempfile.TemporaryDirectory() as scratch:
        compile_protos(
            plugin("protoc-gen-ts_proto"),
            f"--ts_proto_out={','.join(TS_PROTO_OPTIONS)}:{scratch}",
            extra_sources=NODE_EXTRAS,
        )
        # Where the compiler looks for the packages that the code imports.
        (Path(scratch) / "node_modules").symlink_to(TSC.modules)
        names = [*sources(), *NODE_EXTRAS]
        subprocess.run(
            [TSC.path, *TSC_OPTIONS, "--rootDir", ".", "--outDir", target, *(f"{name[:-6]}.ts" for name in names)],
            cwd=scratch,
            check=True,
        )


LANGUAGES = (
    Language("python", (), write_python),
    Language("go/wallet", ("protoc-gen-go", "protoc-gen-go-grpc"), write_go),
    Language("node/lib", ("protoc-gen-ts_proto", "tsc"), write_node),
)


def files(folder: Path) -> set[str]:
    """Return the files of this folder, relative, without what Python leaves behind."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def differences(fresh: Path, committed: Path) -> list[str]:
    """Names of files that differ between these folders, or that only one of them has."""
    both = files(fresh) & files(committed)
    _, changed, unreadable = filecmp.cmpfiles(fresh, committed, both, shallow=False)
    return sorted({*changed, *unreadable, *(files(fresh) ^ files(committed))})


def replace(language: Language, fresh: Path) -> None:
    """Put the fresh tree in the place of the committed one."""
    shutil.rmtree(language.committed, ignore_errors=True)
    shutil.copytree(fresh, language.committed)


def main() -> int:
    """Make every tree that can be made here, then compare or replace it; return the exit code."""
    check = "--check" in sys.argv[1:]
    stale = 0
    for language in LANGUAGES:
        if not check:
            toolchain.install(*language.programs)
        if why := language.absent:
            print(f"generated/{language.folder}: {'not compared' if check else 'left as it is'}: {why}")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            language.write(Path(scratch))
            if not check:
                replace(language, Path(scratch))
                continue
            for name in differences(Path(scratch), language.committed):
                print(f"generated/{language.folder}/{name} is not what protos/ gives: run `make proto` and commit")
                stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())
