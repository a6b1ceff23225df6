"""The image's Python is one that was built with PGO and LTO: its build asks, and stops where the base has another."""

import json
import re
import subprocess
import sys
import sysconfig

import pytest

from benchmarks.python_build import DEBIAN_SCHEME, build_of
from tests.support.manifests import ROOT

STEPS = (ROOT / "deploy" / "Containerfile").read_text().splitlines()
ASKS = 'RUN ["python", "benchmarks/python_build.py"]'


def test_the_build_asks_first() -> None:
    """The base's own Python is asked first of all, in the stage that every stage with an environment is built on."""
    stages = [line for line in STEPS if line.startswith("FROM")]
    assert stages[0] == "FROM ${PYTHON_IMAGE} AS checked"
    asked, made = STEPS.index(ASKS), [number for number, line in enumerate(STEPS) if '"venv"' in line]
    assert made[0] > asked
    assert [line for line in STEPS[:asked] if line.startswith(("FROM", "RUN"))] == stages[:1]
    for number in made:
        (*_, stage) = (line for line in STEPS[:number] if line.startswith("FROM"))
        assert stage.startswith("FROM checked AS ")


def test_the_exit_code_of_what_the_build_runs() -> None:
    """The command of the Containerfile ends with 0 exactly where this Python was built with both, and prints which."""
    command = json.loads(ASKS.partition(" ")[2])
    # Without the environment's site-packages, as in the base.
    done = subprocess.run([sys.executable, "-I", *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    assert re.fullmatch(r"Python 3\S+, built with (PGO and LTO|PGO|LTO|neither PGO nor LTO) \(.+\)\n", done.stdout)
    assert (done.returncode == 0) == ("PGO and LTO" in done.stdout)


@pytest.mark.parametrize(
    ("arguments", "flags", "schemes", "text"),
    [
        ("'--enable-optimizations' '--with-lto' '--enable-shared'", "-O3", (), "PGO and LTO (its configure flags)"),
        ("'--enable-optimizations' '--with-lto=thin'", "-O3", (), "PGO and LTO (its configure flags)"),
        ("'--enable-optimizations'", "-O3", (), "PGO (its configure flags)"),
        ("'--with-lto'", "-O3", (), "LTO (its configure flags)"),
        ("", "-O2 -flto=auto -fprofile-use", (), "PGO and LTO (its configure flags)"),
        ("'--enable-shared'", "-O3", (), "neither PGO nor LTO (its configure flags)"),
        ("", "", (), "neither PGO nor LTO (its configure flags)"),
        ("'--prefix=/usr'", "-O2", ("posix_prefix", DEBIAN_SCHEME), "PGO and LTO (Debian's package)"),
    ],
    ids=["official image", "thin LTO", "PGO alone", "LTO alone", "by compiler flags", "plain", "unknown", "Debian"],
)
def test_builds(arguments: str, flags: str, schemes: tuple[str, ...], text: str) -> None:
    """How a Python was built is known from configure's arguments, the compiler's flags, or whose package it is."""
    build = build_of(arguments, flags, schemes)
    assert str(build) == f"built with {text}"
    assert build.is_fast == text.startswith("PGO and LTO")


def test_this_python_is_known() -> None:
    """The module sysconfig has the names that are asked for, under this Python too."""
    assert {"CONFIG_ARGS", "PY_CORE_CFLAGS"} <= set(sysconfig.get_config_vars())
