"""Rebuild generated/ from protos/, from empty. With --check, compare instead and fail on any difference."""

import filecmp
import os
import shutil
import sys
import tempfile
from pathlib import Path

from protos import ROOT, compile_protos

GENERATED = ROOT / "generated" / "python"
# protoc finds the plugins of mypy-protobuf on PATH: put this environment's first, activated or not.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def generate(target: Path) -> None:
    """Write messages, services and their type stubs to this folder, which must be empty."""
    compile_protos(
        f"--python_out={target}",
        f"--grpc_python_out={target}",
        f"--mypy_out=quiet:{target}",
        f"--mypy_grpc_out=quiet:{target}",
    )


def files(folder: Path) -> set[str]:
    """Return the files of this folder, relative, without what Python leaves behind."""
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def differences(fresh: Path) -> list[str]:
    """Names of files that differ between this folder and the committed code, or that only one of them has."""
    both = files(fresh) & files(GENERATED)
    _, changed, unreadable = filecmp.cmpfiles(fresh, GENERATED, both, shallow=False)
    return sorted({*changed, *unreadable, *(files(fresh) ^ files(GENERATED))})


def main() -> int:
    """Generate beside the committed code, then compare or replace; return the exit code."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch)
        generate(fresh)
        if "--check" not in sys.argv[1:]:
            shutil.rmtree(GENERATED, ignore_errors=True)
            shutil.copytree(fresh, GENERATED)
            return 0
        different = differences(fresh)
    for name in different:
        print(f"generated/python/{name} is not what protos/ gives: run `make proto` and commit the result")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
