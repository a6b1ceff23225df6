"""A port for several processes: other processes are noticed and kept out, the bridge's own workers are let in."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bridge.address import ListenError
from bridge.process.reserved_port import reserved
from tests.support.ports import needs_ipv6

ANY = "127.0.0.1:0"
SHARED = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
ALONE = (socket.SO_REUSEADDR,)


@contextmanager
def listening(address: str, options: tuple[int, ...] = ALONE) -> Iterator[socket.socket]:
    """Listen on "host:port" with these options: SHARED as a worker does, ALONE as any other server."""
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        for option in options:
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind((host.strip("[]"), int(port)))
        listener.listen()
        yield listener


def test_workers_share_a_port() -> None:
    """Port 0 becomes the number of a free port, on which several processes can listen."""
    with reserved("server.listen", ANY) as address, listening(address, SHARED), listening(address, SHARED):
        assert address.startswith("127.0.0.1:")
        assert not address.endswith(":0")


def test_a_given_port() -> None:
    """A port that is free is held as it was given, and free again afterwards."""
    with reserved("server.listen", ANY) as free:
        pass
    with reserved("server.listen", free) as address:
        assert address == free
    with listening(free):
        pass


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - for a moment, and nothing is served
        pytest.param("[::1]", "[::1]", marks=needs_ipv6),
        pytest.param("[::]", "[::1]", marks=needs_ipv6),
        pytest.param("[::]", "127.0.0.1", marks=needs_ipv6),
    ],
)
def test_other_processes_are_kept_out(host: str, address: str) -> None:
    """While the port is held, no other process can listen on an address of it, even before a worker does."""
    with reserved("server.listen", f"{host}:0") as listen:
        assert listen.startswith(f"{host}:")
        with pytest.raises(OSError, match="in use"), listening(f"{address}:{listen.rpartition(':')[2]}"):
            pass


def test_two_bridges() -> None:
    """A second bridge cannot hold the same port, even before a worker of the first one listens."""
    with (
        reserved("server.listen", ANY) as address,
        pytest.raises(ListenError, match=f"^server.health_listen: cannot listen on {address}; "),
        reserved("server.health_listen", address),
    ):
        pass


@pytest.mark.parametrize("options", [ALONE, SHARED], ids=["alone", "shared"])
def test_a_port_in_use(options: tuple[int, ...]) -> None:
    """A server that listens there is noticed, even one that would share its port."""
    with (
        listening(ANY, options) as taken,
        pytest.raises(ListenError, match="the port is taken"),
        reserved("server.listen", f"127.0.0.1:{taken.getsockname()[1]}"),
    ):
        pass


@pytest.mark.parametrize("listen", ["192.0.2.1:0", "no-such-host.invalid:0"], ids=["address", "name"])
def test_an_address_of_another_machine(listen: str) -> None:
    """An address that is not this machine's, or an unknown name, is reported like a port that is taken."""
    with (
        pytest.raises(ListenError, match=f"^server.listen: cannot listen on {listen}; "),
        reserved("server.listen", listen),
    ):
        pass


@pytest.mark.parametrize("options", [ALONE, SHARED], ids=["alone", "shared"])
def test_a_bridge_that_was_restarted(options: tuple[int, ...]) -> None:
    """Connections that the former process has closed, and that TCP remembers for a minute, do not take the port."""
    with listening(ANY, options) as former:
        address = former.getsockname()
        with socket.create_connection(address) as client:
            accepted, _ = former.accept()
            accepted.close()
            assert client.recv(1) == b""
    with reserved("server.listen", f"127.0.0.1:{address[1]}") as listen, listening(listen, SHARED):
        pass
