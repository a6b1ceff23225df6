"""A port that several processes listen on: other processes are kept out, also while none of them listens.

With SO_REUSEPORT any process of the same user may share a port without a word. So a port is first proved to be free,
by listening without that option, and then held by a socket that never listens: it gets no connection, but no process
can take the port in the seconds when workers start, and a worker that is restarted finds it again.
"""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bridge.address import cannot_listen, split_listen


@contextmanager
def reserved(setting: str, listen: str) -> Iterator[str]:
    """Hold "host:port" for processes that set SO_REUSEPORT; yield it with the port's number where it was 0.

    Raise ListenError, which names the setting, where the port is taken or the host is not this machine's.
    """
    host, port = split_listen(listen)
    with ExitStack() as held:
        try:
            for family, address in _addresses(host):
                port = held.enter_context(_held(family, address, port)).getsockname()[1]
        except OSError as error:
            raise cannot_listen(setting, listen, error) from None
        yield f"{listen.rpartition(':')[0]}:{port}"


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """Return where to listen for this host. A name may have several addresses, of which this machine must have one."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses: list[tuple[socket.AddressFamily, str]] = [(family, str(address[0])) for family, *_, address in found]
    return [(family, address) for family, address in addresses if _is_here(family, address)] or addresses


def _is_here(family: socket.AddressFamily, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        return error.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}
    return True


def _held(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Or else connections that a bridge closed before it was restarted would take the port for a minute.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address, port))
        probe.listen()
        port = probe.getsockname()[1]
    holder = socket.socket(family, socket.SOCK_STREAM)
    try:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            holder.setsockopt(socket.SOL_SOCKET, option, 1)
        holder.bind((address, port))
        # From now on another process without SO_REUSEPORT cannot listen here, even before the first worker does.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        holder.close()
        raise
    return holder
