"""Peers that have an open connection to this process: gRPC does not say when one has closed.

Linux keeps the state of each socket. Where it cannot be had every peer counts as open.
"""

import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

LOOK_S = 0.1
"""Least interval of looks at the sockets."""

REST = 20
"""How many times as long as a look took there is none: of 2,000 connections a look takes some 10 ms."""

DESCRIPTORS = "/proc/self/fd"

ESTABLISHED = b"\x01"
"""State of a connection that neither side has closed, the first byte of TCP_INFO (tcp(7))."""


class OpenPeers:
    """The peers with an open connection, as of the last look, in gRPC's words: "ipv4:192.0.2.1:50000"."""

    def __init__(self) -> None:
        self._peers: frozenset[str] | None = None
        """None: they are not known."""
        self._look_again_at = 0.0

    def has(self, peer: str) -> bool:
        """Say whether a peer has a connection; yes for one that comes over no TCP."""
        if sys.platform != "linux" or not peer.startswith(("ipv4:", "ipv6:")):
            return True
        now = time.monotonic()
        if now >= self._look_again_at:
            self._peers = _peers()
            done = time.monotonic()
            self._look_again_at = done + max(LOOK_S, REST * (done - now))
        return self._peers is None or peer in self._peers


def _peers() -> frozenset[str] | None:
    try:
        with os.scandir(DESCRIPTORS) as entries:
            return frozenset(_each_peer(int(entry.name) for entry in entries))
    except OSError:  # no /proc, or no descriptor left to read it with
        return None


def _each_peer(descriptors: Iterable[int]) -> Iterator[str]:
    for descriptor in descriptors:
        with suppress(OSError):  # no socket, no TCP, no peer, or closed meanwhile
            yield _peer(descriptor)


def _peer(descriptor: int) -> str:
    """Return the peer of an open connection, "" for one that is no longer open; raise OSError for other descriptors."""
    connection = socket.socket(fileno=descriptor)
    try:
        if connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) != ESTABLISHED:
            return ""
        host, port = connection.getpeername()[:2]
    finally:
        connection.detach()  # it is gRPC's
    # gRPC's names: an IPv4 address within IPv6 is one of IPv4; brackets are escaped (RFC 3986, section 2.1).
    host = host.removeprefix("::ffff:") if "." in host else host
    return f"ipv4:{host}:{port}" if "." in host else f"ipv6:%5B{host}%5D:{port}"
