"""Processes of the bridge in tests have the libraries of an installation, and none that only developers have."""

import os
import sys
from pathlib import Path

import pytest

from tests.support.processes import AS_INSTALLED, program

ROOT = Path(__file__).parents[2]
HIDDEN = sorted(path.stem for path in Path(AS_INSTALLED).glob("[a-z]*.py"))


@pytest.mark.parametrize("module", HIDDEN)
async def test_what_is_hidden(module: str) -> None:
    """A process that a test starts cannot import it, and no lock of what is installed in production names it."""
    async with program(sys.executable, "-c", f"import {module}", env=os.environ) as command:
        assert await command.end() == 1
    assert f"ImportError: requirements/run.txt has no {module}" in command.output
    for lock in ("run", "image"):
        assert f"\n{module}==" not in (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8")
