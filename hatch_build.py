"""Build hook of hatchling: the wheel with compiled modules.

    HATCH_BUILD_HOOK_ENABLE_CUSTOM=true python -m hatchling build -t wheel

Without that variable the hook does not run, and the wheel is pure Python. With it mypyc compiles the modules of
pyproject.toml's table `compiled` for this Python and platform. Their sources stay in the wheel: tracebacks show them,
and of the two a Python imports the compiled module. Needs mypy[mypyc], types-protobuf, and a C compiler.

The same sources, Python and compiler give the same bytes in whatever folder, with SOURCE_DATE_EPOCH as the files' time.
"""

import contextlib
import importlib.metadata
import os
import re
import shutil
import sysconfig
import tempfile
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

GROUP = "wallet_bridge"
"""The library with the code of all compiled modules is named after it."""
RUNTIME = "mypy"
"""What every compiled module has a part of in it: mypyc's C runtime, which belongs to mypy."""
EDITABLE = "editable"
OLDEST_GLIBC = (2, 17)
"""The oldest that a tag names: that of manylinux2014 (PEP 599)."""


def compiled_modules(root: Path) -> list[str]:
    """Return the names of the modules that are compiled: the one table of them."""
    with (root / "pyproject.toml").open("rb") as file:
        table: list[str] = tomllib.load(file)["tool"]["wallet-bridge"]["compiled"]
    return table


def missing() -> str:
    """Return what this machine lacks to compile, and how to get it; "" where all is there."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"no C compiler: {compiler} is not on PATH; on Debian: apt-get install gcc libc6-dev"
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").exists():
        return f"no {headers / 'Python.h'}; on Debian: apt-get install python3-dev"
    try:
        import mypyc.build  # noqa: F401, PLC0415 - a build of the pure wheel goes without
    except ImportError:
        return "no mypyc: pip install 'mypy[mypyc]'"
    return ""


def runtime_licence() -> Path:
    """Return the file with the licence of the C runtime; it has to go with each copy."""
    files = importlib.metadata.files(RUNTIME) or ()
    return next(Path(str(each.locate())) for each in files if each.match("*.dist-info/licenses/LICENSE"))


def without_library_folders(linker: Sequence[str]) -> list[str]:
    """Return a linker's command without the folders of this machine in which it has libraries searched for.

    A Python that is built by hand, as pyenv does, links with the path of its own libraries (ld(1), -rpath).
    In a wheel it would be searched on each machine, by whoever may write to a folder of that name there.
    """
    return [word for word in linker if not (word.startswith("-Wl,") and "-rpath" in word)]


def compile_modules(root: Path, folder: Path) -> list[Path]:
    """Compile the modules below a folder; return the libraries' paths in it, as they stand in the wheel."""
    from mypyc.build import mypycify  # noqa: PLC0415 - likewise
    from setuptools import Distribution  # noqa: PLC0415 - likewise
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415 - likewise

    class Build(build_ext):  # type: ignore[misc] # setuptools has no types
        def build_extensions(self) -> None:
            self.compiler.set_executables(linker_so=without_library_folders(self.compiler.linker_so))
            super().build_extensions()

    sources = [f"{name.replace('.', '/')}.py" for name in compiled_modules(root)]
    with contextlib.chdir(root):
        options = ["--config-file=pyproject.toml", f"--cache-dir={os.devnull}", *sources]
        # Level 2, as Debian builds its Python; 3 takes longer and shows no gain. Without debug symbols, whose paths
        # would make each build another.
        extensions = mypycify(
            options, opt_level="2", debug_level="0", group_name=GROUP, target_dir=str(folder / "c"), verbose=False
        )
        for extension in extensions:
            # Wherever the C sources are, a library says the same. A new list: mypyc gives all extensions one.
            extension.extra_compile_args = [*extension.extra_compile_args, f"-ffile-prefix-map={folder}=."]
        command = Build(Distribution({"name": GROUP, "ext_modules": extensions}))
        command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "objects")
        command.ensure_finalized()
        command.run()
    return sorted(path.relative_to(folder / "lib") for path in (folder / "lib").rglob("*") if path.is_file())


def tag(libraries: Iterable[Path]) -> str:
    """Return the wheel's tag: this Python, and a system whose C library has what the libraries ask of it.

    glibc names the symbols of a library by the version that they are from: the newest of them is what PEP 600 wants in
    the tag. musl has no such versions: there it is this machine's or a newer one (PEP 656).
    """
    from packaging.tags import sys_tags  # noqa: PLC0415 - hatchling has it

    newest = max([OLDEST_GLIBC, *(version for each in libraries for version in glibc_versions(each.read_bytes()))])
    wanted = ("manylinux_{}_{}_".format(*newest), "musllinux_")
    tags = list(sys_tags())
    # "linux" would be taken by every C library; elsewhere the first is the system's own.
    return str(next((each for each in tags if each.platform.startswith(wanted)), tags[0]))


def glibc_versions(library: bytes) -> set[tuple[int, int]]:
    """Return the versions of glibc whose symbols a shared library asks for; their names stand in it as C strings."""
    found = re.findall(rb"\0GLIBC_(\d+)\.(\d+)(?=[.\0])", library)
    return {(int(major), int(minor)) for major, minor in found}


class CompiledBuild(BuildHookInterface[BuilderConfig]):
    """The hook."""

    _folder = ""

    def dependencies(self) -> list[str]:
        """Return what an isolated build has to install."""
        return ["mypy[mypyc]", "types-protobuf"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and add the libraries to the wheel."""
        if version == EDITABLE:
            return  # an editable installation is its sources
        if lacks := missing():
            self.app.abort(f"the compiled wheel cannot be built: {lacks}")
        self._folder = tempfile.mkdtemp(prefix="wallet-bridge-compiled-")
        libraries = compile_modules(Path(self.root), Path(self._folder))
        build_data["pure_python"] = False
        lib = Path(self._folder, "lib")
        build_data["tag"] = tag(lib / path for path in libraries)
        build_data["force_include"] |= {str(lib / path): path.as_posix() for path in libraries}
        licences = f"{self.build_config.builder.project_id}.dist-info/licenses"
        build_data["force_include"][str(runtime_licence())] = f"{licences}/{RUNTIME}/LICENSE"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's signature
        """Remove what the compiler has left."""
        shutil.rmtree(self._folder, ignore_errors=True)
