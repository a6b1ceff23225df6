"""The two forms of the bridge: its sources, and, as it is published, with its hot modules compiled (hatch_build.py).

The compiled form is installed in a folder of its own beside the environment that measures, `.venv-bench-compiled`:
`make bench` sees to it. All rows of ours in a table are of one form; the part "forms" has both in turns.
"""

import os
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = Path(f"{sys.prefix}-compiled")
PACKAGES = FOLDER / Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
LIBRARIES = "*__mypyc*"
"""The library with the code of all compiled modules; mypyc names it."""


class Form(StrEnum):
    """A form of the bridge."""

    PURE = "pure"
    COMPILED = "compiled"


def variables(form: Form) -> Mapping[str, str]:
    """Return the variables with which a Python imports the bridge in this form.

    PYTHONSAFEPATH: the current folder, where the sources are, would come first.
    """
    return {"PYTHONPATH": str(PACKAGES), "PYTHONSAFEPATH": "1"} if form is Form.COMPILED else {}


def missing(forms: Iterable[Form]) -> str:
    """Return what is not there of these forms, or is of other sources, and how to get it; "" when all is there."""
    if Form.COMPILED not in forms:
        return ""
    make = f"{sys.executable} {os.path.relpath(ROOT / 'tools' / 'compiled_environment.py')} {os.path.relpath(FOLDER)}"
    if not any(PACKAGES.glob(LIBRARIES)):
        return f"the bridge with compiled modules is not in {FOLDER.name}: {make}"
    if other := _others():
        return f"the bridge with compiled modules in {FOLDER.name} is of another {other[0]}: {make}"
    return ""


def _others() -> Sequence[Path]:
    """Return the sources that are not as they were when the bridge was compiled."""
    files = [path.relative_to(ROOT) for path in sorted((ROOT / "bridge").rglob("*.py"))]
    return [file for file in files if _content(PACKAGES / file) != _content(ROOT / file)]


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None
