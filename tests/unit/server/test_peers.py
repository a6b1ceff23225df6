"""Peers with an open connection, by the names that gRPC itself gives them."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from bridge.server import peers
from bridge.server.peers import OpenPeers
from tests.support.ports import needs_ipv6
from tests.support.whole_path import until

ADDRESSES = [
    pytest.param("127.0.0.1:0", "127.0.0.1:%d", id="IPv4"),
    pytest.param("[::1]:0", "[::1]:%d", id="IPv6", marks=needs_ipv6),
    pytest.param("[::]:0", "127.0.0.1:%d", id="IPv4 at a port for both", marks=needs_ipv6),
]


@pytest.fixture(autouse=True)
def always_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the sockets each time."""
    monkeypatch.setattr(peers, "LOOK_S", 0.0)
    monkeypatch.setattr(peers, "REST", 0)


@asynccontextmanager
async def peer_of(listen: str, target: str) -> AsyncIterator[tuple[str, grpc.aio.Channel]]:
    """Call a gRPC server; yield how it names the caller, whose connection stays open."""

    async def name(_request: bytes, context: Any) -> bytes:
        return str(context.peer()).encode()

    server = grpc.aio.server()
    handlers: dict[str, Any] = {"Who": grpc.unary_unary_rpc_method_handler(name)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("x.Y", handlers),))
    port = server.add_insecure_port(listen)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(target % port if "%" in target else target) as channel:
            who: Any = channel.unary_unary("/x.Y/Who")
            yield (await who(b"")).decode(), channel
    finally:
        await server.stop(None)


@pytest.mark.parametrize(("listen", "target"), ADDRESSES)
async def test_open_then_closed(listen: str, target: str) -> None:
    """A peer is there for as long as its connection is."""
    found = OpenPeers()
    async with peer_of(listen, target) as (peer, channel):
        assert found.has(peer)
        assert not found.has(f"{peer}0")
        await channel.close()
        await until(lambda: not found.has(peer))


async def test_a_connection_that_its_peer_has_closed() -> None:
    """It is not open, although our side still has its socket, which goes on working."""
    found = OpenPeers()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
        with ours:
            host, port = ours.getpeername()
            assert found.has(f"ipv4:{host}:{port}")
            theirs.close()
            await until(lambda: not found.has(f"ipv4:{host}:{port}"))
            ours.sendall(b"x")


@pytest.mark.parametrize("folder", ["missing", "no folder"])
def test_sockets_that_cannot_be_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    """Where the system does not list them, or has no descriptor left for that, every peer counts as open."""
    (tmp_path / "no folder").touch()
    monkeypatch.setattr(peers, "DESCRIPTORS", tmp_path / folder)
    assert OpenPeers().has("ipv4:192.0.2.1:1")


async def test_a_unix_socket(short_path: Path) -> None:
    """A peer that comes over no TCP counts as open."""
    address = f"unix:{short_path}/socket"
    async with peer_of(address, address) as (peer, _channel):
        assert OpenPeers().has(peer)


def test_looks_are_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two looks the answer is that of the first."""
    monkeypatch.setattr(peers, "LOOK_S", 3600.0)
    found = OpenPeers()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as ours:
            name = f"ipv4:127.0.0.1:{ours.getsockname()[1]}"
            accepted, _ = listener.accept()
            with accepted:
                assert found.has(name)
        assert found.has(name)
