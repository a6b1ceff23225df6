"""One version and one Go module path: every place with a copy says the same.

Which Python `make test-newest` takes: the newest that works, or none.
"""

import re
import sys
import tomllib
from pathlib import Path

import pytest

import newest_python
import stamps
from bridge import __version__
from protos import ROOT


def test_every_place_says_the_same() -> None:
    """No file has another version or module path than the one place that decides."""
    assert stamps.version() == __version__
    assert {path: path.read_text(encoding="utf-8") for path, _ in stamps.stamped()} == dict(stamps.stamped())


@pytest.mark.parametrize("stamp", stamps.VERSIONED, ids=lambda stamp: f"{stamp.file} {stamp.place}")
def test_another_version_is_carried_over(stamp: stamps.Stamp) -> None:
    """A new version reaches its place, and what stands around it stays."""
    text = (ROOT / stamp.file).read_text(encoding="utf-8")
    changed = stamps.put(stamp, "7.8.9", text)
    assert changed.count("7.8.9") > text.count("7.8.9")
    assert stamps.put(stamp, __version__, changed) == text


@pytest.mark.parametrize("stamp", stamps.OF_GO_MODULE, ids=lambda stamp: f"{stamp.file} {stamp.place}")
def test_another_module_path_is_carried_over(stamp: stamps.Stamp) -> None:
    """A fork's module path reaches its place, and the way back gives the text of before."""
    text = (ROOT / stamp.file).read_text(encoding="utf-8")
    changed = stamps.put(stamp, "code.example.org/games/bridge/generated/go", text)
    assert "code.example.org/games/bridge/generated/go" in changed
    assert stamps.put(stamp, stamps.go_module(), changed) == text


def test_a_lost_place_is_an_error() -> None:
    """A file that has no place for the version any more is named."""
    with pytest.raises(stamps.StampError, match=r"pyproject\.toml: no place like"):
        stamps.put(stamps.Stamp("pyproject.toml", "^absent (.+)$"), "1.0.0", "text")


def test_no_proto_names_a_place() -> None:
    """The Go module path stands in go.mod alone: no proto has go_package."""
    assert [path for path in (ROOT / "protos").rglob("*.proto") if "go_package" in path.read_text()] == []


def test_the_stubs_require_the_runtimes_of_their_code() -> None:
    """Generated code refuses an older runtime: both distributions ask for the versions that the code itself names."""
    code = (ROOT / "generated/python/wallet/v1/wallet_service_pb2.py").read_text(encoding="utf-8")
    grpc_code = (ROOT / "generated/python/wallet/v1/wallet_service_pb2_grpc.py").read_text(encoding="utf-8")
    (protobuf,) = re.findall(r"^# Protobuf Python Version: (\S+)$", code, re.MULTILINE)
    (grpcio,) = re.findall(r"^GRPC_GENERATED_VERSION = '(\S+)'$", grpc_code, re.MULTILINE)
    for path in ("generated/python/pyproject.toml", "pyproject.toml"):
        wanted = tomllib.loads(Path(ROOT, path).read_text(encoding="utf-8"))["project"]["dependencies"]
        assert {f"protobuf>={protobuf}", f"grpcio>={grpcio}"} <= set(wanted), path


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
