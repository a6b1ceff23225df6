"""Whatever a source holds, it gives settings or a SettingsError of whole lines."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.settings.model import KNOWN, SettingsError, describe, load
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY, toml, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder that many examples share."""
    return tmp_path_factory.mktemp("config")


def loads_or_refuses(path: Path, environ: Mapping[str, str]) -> None:
    """Load settings; anything but Settings and a SettingsError of printable lines is a failure."""
    try:
        loaded = load(path, environ)
    except SettingsError as error:
        lines = str(error).split("\n")
        assert all(line.isprintable() and ": " in line for line in lines), lines
    else:
        tomllib.loads(describe(loaded))


@settings(deadline=None)
@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes(folder: Path, content: bytes) -> None:
    """Whatever the file holds, it gives settings or a SettingsError."""
    path = folder / "bridge.toml"
    path.write_bytes(content)
    loads_or_refuses(path, {})


# Names that exist are likely, so that values come under every one of them.
NAMES = sorted({*KNOWN, *(name for section in KNOWN.values() for name in section.below)})
NAMES += ["12345", "7", "2", "access_key", "access_key_file", "private_key", "private_key_file"]
NAMES += ["grpc", "reason", "success"]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)
NAME = st.sampled_from(NAMES) | TEXTS.filter(lambda name: max(name, default="") <= "\uffff")
SCALAR = (
    st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | TEXTS
    | st.sampled_from(["https://wallet.example", ACCESS_KEY, PRIVATE_KEY, "ABORTED", "127.0.0.1:1", "a\0"])
)
TREE = st.recursive(SCALAR, lambda below: st.lists(below, max_size=2) | st.dictionaries(NAME, below, max_size=4))


def inline(value: Any) -> str:
    """Write a value in TOML, tables on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{quoted(name)} = {inline(below)}' for name, below in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(inline, value))}]"
    if isinstance(value, str):
        return quoted(value)
    return str(value).lower()


def quoted(text: str) -> str:
    """Write a text in TOML."""
    return '"' + "".join(f"\\U{ord(character):08x}" for character in text) + '"'


SECTION = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, SCALAR | TREE))


@settings(deadline=None)
@given(tree=st.dictionaries(st.sampled_from(sorted(KNOWN)) | NAME, SECTION | TREE, max_size=4))
def test_any_tree(folder: Path, tree: dict[str, Any]) -> None:
    """Whatever stands under whatever key, it gives settings or a SettingsError."""
    path = folder / "bridge.toml"
    path.write_text("".join(f"{quoted(name)} = {inline(value)}\n" for name, value in tree.items()))
    loads_or_refuses(path, {})


VARIABLE = st.lists(NAME, max_size=5).map(lambda parts: f"BRIDGE_{'__'.join(parts).upper()}")


# Bytes that are not UTF-8 come out of os.environ as lone surrogates.
VALUE = TEXTS | st.binary(max_size=20).map(os.fsdecode) | SCALAR.map(str)


@settings(deadline=None)
@given(environ=st.dictionaries(VARIABLE, VALUE, max_size=6))
def test_any_environment(folder: Path, environ: dict[str, str]) -> None:
    """Whatever variables there are, they give settings or a SettingsError."""
    loads_or_refuses(write(folder, toml()), environ)
