"""File descriptors: callers' connections never take the last ones."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource
from bridge.server.descriptors import connections_max, raise_limit
raise_limit()
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], connections_max(2000))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "raised", "connections"),
    [(1024, 4096, 4096, 1920), (1024, 1024, 1024, 384), (64, 100, 100, 1), (8192, 8192, 8192, 2000)],
)
def test_limits(soft: int, hard: int, raised: int, connections: int) -> None:
    """The soft limit goes up to the hard one, and each port gets half of what is left after a reserve."""
    shell = f"ulimit -Sn {soft} && ulimit -Hn {hard} && exec {sys.executable} -c '{SCRIPT}'"
    found = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)  # noqa: S603, S607 - the shell's ulimit is the means
    assert found.stdout.split() == [str(raised), str(connections)]
