"""Prometheus' own tool, which checks metrics, rules and queries; and which metrics a query reads."""

import re
import shutil
import subprocess
from subprocess import PIPE, STDOUT

PROMTOOL = shutil.which("promtool")
"""None where it is not installed."""
MISSING = "promtool is not installed; on Debian: apt-get install prometheus"

NO_METRIC = re.compile(
    r"""
      \b(?:\w+\s+(?:by|without)|on|ignoring|group_left|group_right)\s*\([^()]*\)   # what is grouped, and by what
    | \[[^\]]*\]                                                                   # a range
    | \b(?:and|or|unless|bool|offset|group_left|group_right)\b
    | \b[a-zA-Z_]\w*\s*\(                                                          # a function
    """,
    re.VERBOSE,
)
LABELS = re.compile(r"\{[^{}]*\}")
NAME = re.compile(r"(?<![\w:.$])[a-zA-Z_:][\w:]*")


def promtool(*arguments: str, text: str = "") -> tuple[int, str]:
    """Run it on this text; return its exit code and what it says."""
    assert PROMTOOL is not None, MISSING
    command = (PROMTOOL, *arguments)
    done = subprocess.run(command, input=text, stdout=PIPE, stderr=STDOUT, text=True, check=False)  # noqa: S603 - its own
    return done.returncode, done.stdout


def metrics_in(query: str) -> set[str]:
    """Return the names of all metrics in a query, of recorded ones too."""
    # What stands in quotes may hold any bracket.
    bare = LABELS.sub(" ", re.sub(r'"[^"]*"', '""', query))
    return set(NAME.findall(NO_METRIC.sub(" ", bare)))
