"""Which form of the bridge the tests run against: its sources, or with `make test-compiled` the compiled modules."""

import importlib
import json
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import pytest

from tests.support.forms import IS_COMPILED

ROOT = Path(__file__).parents[2]
with (ROOT / "pyproject.toml").open("rb") as file:
    COMPILED: list[str] = tomllib.load(file)["tool"]["wallet-bridge"]["compiled"]
PLACES = "import importlib, json, sys; print(json.dumps([importlib.import_module(n).__file__ for n in sys.argv[1:]]))"


def is_right(file: str | None) -> bool:
    """Say whether a module was imported from where this run requires it."""
    if file is None:
        return False
    return not file.endswith(".py") if IS_COMPILED else Path(file).is_relative_to(ROOT / "bridge")


@pytest.mark.parametrize("name", COMPILED)
def test_the_tests_import_the_form_they_are_run_for(name: str) -> None:
    """Each module of the table is a library in the compiled form, and else the repository's own source."""
    assert is_right(importlib.import_module(name).__file__)


def test_processes_import_it_too() -> None:
    """A Python that a test starts in the repository's root, like a bridge, imports the same form."""
    command = (sys.executable, "-c", PLACES, *COMPILED)
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S603 - our own
    assert [file for file in json.loads(printed) if not is_right(file)] == []


@pytest.mark.skipif(not IS_COMPILED, reason="a source searches no library")
def test_no_library_is_searched_for_in_a_folder_of_the_builder() -> None:
    """No library of the wheel names a folder of the Python that it was built with (ld(1), -rpath), nor its own."""
    folder = Path(importlib.import_module(COMPILED[0]).__file__ or "").parents[2]
    libraries = [path.read_bytes() for path in folder.rglob("*.so")]
    named = [os.fsencode(path) + b"/" for path in (sys.base_prefix, ROOT, tempfile.gettempdir()) if path != "/usr"]
    assert len(libraries) == len(COMPILED) + 1
    assert not [name for name in named for library in libraries if name in library]
