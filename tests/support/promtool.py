"""Prometheus' own tool, which checks metrics, rules and queries."""

import shutil
import subprocess
from subprocess import PIPE, STDOUT

PROMTOOL = shutil.which("promtool")
"""None where it is not installed."""
MISSING = "promtool is not installed; on Debian: apt-get install prometheus"


def promtool(*arguments: str, text: str = "") -> tuple[int, str]:
    """Run it on this text; return its exit code and what it says."""
    assert PROMTOOL is not None, MISSING
    command = (PROMTOOL, *arguments)
    done = subprocess.run(command, input=text, stdout=PIPE, stderr=STDOUT, text=True, check=False)  # noqa: S603 - its own
    return done.returncode, done.stdout
