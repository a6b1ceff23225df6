"""What hatch_build.py, the hook that compiles, makes of a linker's command and of what libraries ask of a system."""

import tomllib
from pathlib import Path

import pytest
from packaging.tags import sys_tags

import hatch_build
from protos import ROOT

LIBRARY = b"\x7fELF..\0PyErr_Format\0libc.so.6\0%b\0_edata\0"


@pytest.mark.parametrize(
    ("linker", "left"),
    [
        ("cc -shared -L/opt/p/lib -Wl,-rpath,/opt/p/lib", "cc -shared -L/opt/p/lib"),
        ("cc -Wl,-rpath=/opt/p/lib -shared", "cc -shared"),
        ("cc -shared -Wl,--enable-new-dtags,-rpath,/opt/p/lib -O2", "cc -shared -O2"),
        ("cc -shared -Wl,-O1 -Wl,-Bsymbolic-functions", "cc -shared -Wl,-O1 -Wl,-Bsymbolic-functions"),
    ],
    ids=["pyenv", "with an equals sign", "with other options", "Debian, without"],
)
def test_no_folder_is_searched(linker: str, left: str) -> None:
    """Only what makes libraries be searched for in a folder of this machine is left out."""
    assert hatch_build.without_library_folders(linker.split()) == left.split()


@pytest.mark.parametrize(
    ("names", "versions"),
    [
        (b"GLIBC_2.2.5\0GLIBC_2.14", {(2, 2), (2, 14)}),
        (b"GLIBC_2.34", {(2, 34)}),
        (b"GLIBCXX_3.4\0GLIBC_PRIVATE\0not GLIBC_2.99\0GLIBC_2.98 text", set()),
        (b"", set()),
    ],
    ids=["two", "one", "none of them", "musl"],
)
def test_versions_of_glibc(names: bytes, versions: set[tuple[int, int]]) -> None:
    """The versions are read from their names, with two numbers or three, and nothing else is one."""
    assert hatch_build.glibc_versions(LIBRARY % names) == versions


HAS_GLIBC = any(each.platform.startswith("manylinux_2_17_") for each in sys_tags())


@pytest.mark.skipif(not HAS_GLIBC, reason="this system's C library is not glibc")
@pytest.mark.parametrize(
    ("names", "version"),
    [((b"GLIBC_2.2.5", b"GLIBC_2.14"), "2_17"), ((b"GLIBC_2.28", b"GLIBC_2.4"), "2_28"), ((b"",), "2_17")],
    ids=["older than any tag", "newer", "nothing asked"],
)
def test_the_tag_is_what_the_libraries_ask(tmp_path: Path, names: tuple[bytes, ...], version: str) -> None:
    """It names this Python, and the newest glibc that one of the libraries asks for, but none before manylinux2014."""
    files = [tmp_path / f"{number}.so" for number in range(len(names))]
    for file, name in zip(files, names, strict=True):
        file.write_bytes(LIBRARY % name)
    tag = hatch_build.tag(files)
    python = next(sys_tags()).interpreter
    assert tag.startswith(f"{python}-{python}-manylinux_{version}_")


def test_every_module_of_the_table_is_one() -> None:
    """The table of compiled modules names sources that are there, each once, in order."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        table = tomllib.load(file)["tool"]["wallet-bridge"]["compiled"]
    assert hatch_build.compiled_modules(ROOT) == table == sorted(set(table))
    assert [name for name in table if not (ROOT / f"{name.replace('.', '/')}.py").exists()] == []
