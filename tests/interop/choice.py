"""The servers that a run is about, from the environment that `make interop` sets."""

import os
from collections.abc import Sequence

from tests.interop.server import Server
from tests.interop.servers import SERVERS

VARIABLE = "INTEROP"
"""`all`, `quick`, or names of servers; unset: the suite is not asked for."""


def wanted() -> str:
    """Return what is asked for; "" for nothing."""
    return os.environ.get(VARIABLE, "").strip()


def is_quick() -> bool:
    """Say whether the rows are to be short."""
    return wanted() == "quick"


def chosen() -> Sequence[Server]:
    """Return the servers to run."""
    asked = wanted()
    if asked in ("all", ""):
        return SERVERS
    if asked == "quick":
        return [server for server in SERVERS if server.quick]
    words = asked.lower().split()
    return [server for server in SERVERS if any(word in server.name.lower() for word in words)]
