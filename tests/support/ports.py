"""Addresses for servers in processes of their own, which cannot be asked which port they have taken."""

from collections.abc import Iterator
from contextlib import contextmanager

from bridge.sandbox.server import bound_socket


@contextmanager
def reserved_address() -> Iterator[str]:
    """Hold a port of 127.0.0.1 for a server that is given its address; yield its address.

    A port that was merely free a moment ago may be anybody's by then: the kernel gives it to the next client that
    connects anywhere. This one is bound and does not listen, with SO_REUSEADDR (socket(7)), as our servers bind too.
    """
    with bound_socket() as held:
        host, port = held.getsockname()
        yield f"{host}:{port}"
