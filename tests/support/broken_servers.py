"""Servers that do not serve: silent, or closing at once."""

from bridge.sandbox.behaviours import hang
from bridge.sandbox.server import FaultServer, Welcome


def silent_server() -> FaultServer:
    """Return a server that accepts connections and never sends a byte: a TLS handshake with it stalls."""
    return FaultServer(hang, welcome=lambda _number: Welcome.STALL)


def closing_server() -> FaultServer:
    """Return a server that ends every connection with FIN as soon as it is accepted."""
    return FaultServer(hang, welcome=lambda _number: Welcome.CLOSE)
