"""Servers that do not serve: silent, closing at once, or not listening."""

import contextlib
from collections.abc import Iterator

from bridge.sandbox.behaviours import hang
from bridge.sandbox.server import FaultServer, Welcome, bound_socket


def silent_server() -> FaultServer:
    """Return a server that accepts connections and never sends a byte: a TLS handshake with it stalls."""
    return FaultServer(hang, welcome=lambda _number: Welcome.STALL)


def closing_server() -> FaultServer:
    """Return a server that ends every connection with FIN as soon as it is accepted."""
    return FaultServer(hang, welcome=lambda _number: Welcome.CLOSE)


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """Hold a port on 127.0.0.1 where connecting is refused, for the time of the block."""
    with bound_socket() as bound:
        yield int(bound.getsockname()[1])
