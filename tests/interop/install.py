"""Build what the suite needs beside Debian's packages, and say what is missing; fail on that in CI.

    python -m tests.interop.install

Run by `make interop`, with INTEROP set as it is for the tests.
"""

import os
import sys

from tests.interop.choice import chosen, is_quick
from tests.interop.installed import BUILT, RUST, TOOLS


def main() -> int:
    """Build, and name what is missing for the chosen servers; return the exit code."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    # The folder ignores itself, wherever it is made.
    (TOOLS.parent / ".gitignore").write_text("*\n")
    for each in BUILT:
        if is_quick() and each is RUST:
            continue
        each.install()
    missing = {server.name: why for server in chosen() if (why := server.missing())}
    for name, why in missing.items():
        print(f"interop: {name} left out: {why}")
    return int(bool(missing) and "CI" in os.environ)


if __name__ == "__main__":
    sys.exit(main())
