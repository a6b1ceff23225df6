"""The process's open file descriptors: what a leak of sockets shows in."""

from pathlib import Path


def open_descriptors() -> int:
    """Return how many there are, the one that lists them included."""
    return sum(1 for _ in Path("/dev/fd").iterdir())
