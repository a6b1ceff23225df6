"""File descriptors: how many this process may have open, and how many of them callers' connections may take.

Each connection takes one. A process that has none left can neither accept callers nor reach the wallet.
"""

import resource

WANTED = 8_192
"""Enough for both ports' connections, the wallet's, and files. The usual soft limit is 1024, for select(2)."""

RESERVED = 256
"""Never for callers: connections to the wallet, log, files that are re-read, the metrics port."""

PORTS = 2
"""Which share what is not reserved: the one for calls, and the one for health."""


def raise_limit() -> None:
    """Raise the soft limit of this process as far as it needs and the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED if hard == resource.RLIM_INFINITY else min(WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_max(wanted: int) -> int:
    """Return how many connections a port may have, at most `wanted` and at least 1: what the soft limit allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (soft - RESERVED) // PORTS))
