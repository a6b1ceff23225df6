"""Addresses for servers in processes of their own, which cannot be asked for theirs, and a mark for IPv6."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from bridge.sandbox.server import bound_socket


@contextmanager
def reserved_address() -> Iterator[str]:
    """Hold a port of 127.0.0.1, which refuses until a server that is given its address listens; yield its address.

    A port that was merely free a moment ago may be anybody's by then: the kernel gives it to the next client that
    connects anywhere. This one is bound and does not listen, with SO_REUSEADDR (socket(7)), as our servers bind too.
    """
    with bound_socket() as held:
        host, port = held.getsockname()
        yield f"{host}:{port}"


def _has_ipv6() -> bool:
    with suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no loopback address of IPv6")
