"""The wallet's own log, the oracle of the matrix: one line for each request that the application has seen whole."""

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Entry:
    """A request as the application saw it."""

    fault: str
    """The first thing that was wrong with it; "" for nothing."""
    body: bytes


Ledger = Mapping[str, Sequence[Entry]]
"""Requests by token, in the order of arrival."""


def read(file: Path) -> Ledger:
    """Return the requests by token, in the order of arrival. A request without a token is filed under `none`."""
    found: defaultdict[str, list[Entry]] = defaultdict(list)
    for line in file.read_text(encoding="utf-8").splitlines():
        # An empty body leaves an empty third field.
        token, fault, encoded = line.split(" ")
        found[token].append(Entry("" if fault == "-" else fault, base64.b64decode(encoded)))
    return found
