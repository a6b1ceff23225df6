"""Which Python `make test-newest` takes: the newest that works, or none."""

import sys
from pathlib import Path

import pytest

import newest_python

OURS = sys.version_info[:3]
NEWER = (OURS[0], OURS[1] + 1, 0)


def stub(folder: Path, minor: int, says: str, exit_code: int = 0) -> Path:
    """Write a program that says this when it is asked, whatever it is asked."""
    file = folder / f"python3.{minor}"
    file.write_text(f"#!/bin/sh\necho '{says}'\nexit {exit_code}\n", encoding="utf-8")
    file.chmod(0o755)
    return file


def test_versions_are_numbers(tmp_path: Path) -> None:
    """3.13 is newer than 3.9 and 3.12.9, which as texts are greater."""
    pythons = {each: stub(tmp_path, each, f"3 {each} 9") for each in (9, 12)}
    pythons[13] = stub(tmp_path, 13, "3 13 0")
    assert newest_python.newest(iter(pythons.values()), (3, 8, 0)) == pythons[13]


NONE = {
    "as old as ours": (f"{OURS[0]} {OURS[1]} 99", 0),
    "a stub that starts nothing": ("no such version", 127),
    "says nothing": ("", 0),
    "fails after its version": (" ".join(map(str, NEWER)), 1),
}


@pytest.mark.parametrize(("says", "exit_code"), NONE.values(), ids=NONE)
def test_what_is_no_newer_python(tmp_path: Path, says: str, exit_code: int) -> None:
    """A file that merely has the name, and one of the same minor version, are passed over."""
    assert newest_python.newest(iter([stub(tmp_path, 99, says, exit_code)]), OURS) is None


def test_what_is_no_program(tmp_path: Path) -> None:
    """Neither a file that may not be executed nor one that is gone ends the search."""
    plain = tmp_path / "python3.98"
    plain.touch()
    good = stub(tmp_path, 99, " ".join(map(str, NEWER)))
    assert newest_python.newest(iter([plain, tmp_path / "python3.97", good]), OURS) == good


def test_where_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the path by name, and at every version of pyenv; python3.N-config is none."""
    path, pyenv = tmp_path / "bin", tmp_path / "pyenv"
    (pyenv / "versions" / "3.99.1" / "bin").mkdir(parents=True)
    (pyenv / "versions" / "3.99.1" / "bin" / "python3").touch()
    path.mkdir()
    for name in ("python3.98", "python3.98-config", "python3"):
        (path / name).touch()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setenv("PYENV_ROOT", str(pyenv))
    assert list(newest_python.candidates()) == [path / "python3.98", pyenv / "versions" / "3.99.1" / "bin" / "python3"]


def test_the_real_one_says_its_version() -> None:
    """What is asked is understood by a Python, as the stubs cannot prove."""
    assert newest_python.version_of(Path(sys.executable)) == OURS


def test_each_minor_version_once(tmp_path: Path) -> None:
    """Of each minor version from the lowest on the highest patch level counts; what does not start is left out."""
    says = {9: "3 9 99", 11: "3 11 2", 12: "3 12 1", 13: "no such version", 14: "3 11 10"}
    pythons = {number: stub(tmp_path, number, version) for number, version in says.items()}
    found = newest_python.each_minor(pythons.values(), (3, 11))
    assert found == {"3.11": pythons[14], "3.12": pythons[12]}
