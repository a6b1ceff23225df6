"""Which metrics a query of Prometheus reads."""

import re

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


def metrics_in(query: str) -> set[str]:
    """Return the names of all metrics in a query, of recorded ones too."""
    # What stands in quotes may hold any bracket.
    bare = LABELS.sub(" ", re.sub(r'"[^"]*"', '""', query))
    return set(NAME.findall(NO_METRIC.sub(" ", bare)))
