"""How a Python was built: with PGO (profile-guided optimization), with LTO (link-time optimization), or without.

    python benchmarks/python_build.py    prints it; exit code 1: one of the two is missing, or it is older than 3.11

What it changes for the bridge: docs/performance.md. The image is
built on one that has both, and its build stops where a base has not (deploy/Containerfile).
"""

import sys
import sysconfig
from collections.abc import Collection
from dataclasses import dataclass

DEBIAN_SCHEME = "deb_system"
"""A scheme of paths that Debian adds to its Pythons, in a virtual environment too."""


@dataclass(frozen=True)
class Build:
    """How a Python was built."""

    has_pgo: bool
    has_lto: bool
    source: str
    """Where this is known from."""

    @property
    def is_fast(self) -> bool:
        """Whether it was built with both."""
        return self.has_pgo and self.has_lto

    def __str__(self) -> str:
        have = [name for name, has in (("PGO", self.has_pgo), ("LTO", self.has_lto)) if has]
        return f"built with {' and '.join(have) or 'neither PGO nor LTO'} ({self.source})"


def build_of(config_arguments: str, compiler_flags: str, schemes: Collection[str]) -> Build:
    """Return how a Python was built, by its CONFIG_ARGS and PY_CORE_CFLAGS (sysconfig) and its schemes of paths."""
    if DEBIAN_SCHEME in schemes:
        # Debian's packages have both on amd64 and arm64, and sysconfig does not show it: their changelog.Debian, in the
        # entry python3.8 3.8.0~b3-1 (bugs 934771 and 934812).
        return Build(has_pgo=True, has_lto=True, source="Debian's package")
    return Build(
        has_pgo="--enable-optimizations" in config_arguments or "-fprofile-use" in compiler_flags,
        has_lto="--with-lto" in config_arguments or "-flto" in compiler_flags,
        source="its configure flags",
    )


def this_build() -> Build:
    """Return how the Python that runs this was built."""
    arguments, flags = (str(sysconfig.get_config_var(name) or "") for name in ("CONFIG_ARGS", "PY_CORE_CFLAGS"))
    return build_of(arguments, flags, sysconfig.get_scheme_names())


def main() -> int:
    """Print it; return 1 where the build lacks one of the two, or is older than the bridge takes."""
    build = this_build()
    print(f"Python {sys.version.split()[0]}, {build}")
    return 0 if build.is_fast and sys.version_info >= (3, 11) else 1


if __name__ == "__main__":
    sys.exit(main())
