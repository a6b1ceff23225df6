"""Print the newest released CPython on this machine that is newer than the one that runs this; nothing without one.

It looks at `python3.N` on the path and at pyenv's versions (PYENV_ROOT, or .pyenv at home), and asks each for its
version: a name may be a mere stub that starts nothing. Only what can make a virtual environment counts.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

ASK = """
import ensurepip, sys, venv
assert sys.implementation.name == "cpython" and sys.version_info.releaselevel == "final"
print(*sys.version_info[:3])
"""
PATIENCE_S = 60

Version = tuple[int, ...]


def candidates() -> Iterator[Path]:
    """Yield every file that may be a Python 3."""
    for folder in os.get_exec_path():
        yield from (each for each in Path(folder).glob("python3.*") if re.fullmatch(r"python3\.\d+", each.name))
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from root.glob("versions/3.*/bin/python3")


def version_of(python: Path) -> Version | None:
    """Return the version that a file says it is, or None for one that is no Python of use."""
    try:
        said = subprocess.run(
            [python, "-c", ASK], capture_output=True, text=True, timeout=PATIENCE_S, check=True
        ).stdout
        return tuple(map(int, said.split()))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def each_minor(pythons: Iterable[Path], at_least: Version) -> Mapping[str, Path]:
    """Return one file for each minor version from this one on, "3.12" -> file, the highest patch level of each."""
    versions = sorted((version, python) for python in pythons if (version := version_of(python)))
    return {f"{version[0]}.{version[1]}": python for version, python in versions if version >= at_least}


def newest(pythons: Iterator[Path], than: Version) -> Path | None:
    """Return the one of the highest version of those with a higher minor version than this one; None without."""
    found = [(version, python) for python in pythons if (version := version_of(python)) and version[:2] > than[:2]]
    return max(found)[1] if found else None


if __name__ == "__main__":
    print(newest(candidates(), sys.version_info[:3]) or "")
