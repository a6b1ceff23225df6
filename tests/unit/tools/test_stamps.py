"""One version and one Go module path: every place with a copy says the same."""

import re
import tomllib
from pathlib import Path

import pytest

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
