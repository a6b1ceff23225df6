"""A burst of calls over several connections, before the bridge can look at any of them."""

import asyncio
import socket
import time
from contextlib import AsyncExitStack

import pytest

from tests.support.engines import on_both_engines, served_by
from tests.support.floods.attacks import PREFACE, REQUEST, TERMINATE, opened
from tests.support.http2 import frames as h2
from tests.support.raw_caller import RawCaller
from tests.support.serving import listening_bridge
from tests.support.whole_path import PATIENCE_S

WALLET = "http://127.0.0.1:1"
BURST, CONNECTIONS = 500, 3
STANDSTILL_S = 32.0
"""Longer than gRPC's C core lets a call wait by default."""
PING, PONG = h2.frame(h2.PING, payload=b"all sent"), h2.frame(h2.PING, h2.ACK, payload=b"all sent")


def burst(address: str) -> tuple[socket.socket, bytes]:
    """Send a burst of calls on a connection; return it, and what it has answered, when the bridge has taken them all.

    It blocks this thread, whose event loop is the bridge's: none of the calls is looked at meanwhile.
    """
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
    connection.sendall(PREFACE + h2.settings())
    received = connection.recv(2**16)
    call = opened(TERMINATE, payload=REQUEST)
    connection.sendall(h2.frame(h2.SETTINGS, h2.ACK) + b"".join(call(2 * n + 1) for n in range(BURST)) + PING)
    while PONG not in received:
        more = connection.recv(2**16)
        assert more, "the bridge has closed the connection"
        received += more
    return connection, received


async def answers(connection: socket.socket, received: bytes) -> list[dict[str, str]]:
    """Return the headers and trailers of all answers; {} for a call that was reset."""
    connection.setblocking(False)  # noqa: FBT003 - the only parameter
    reader, writer = await asyncio.open_connection(sock=connection)
    caller = RawCaller(reader, writer)
    reader.feed_data(received)
    caller.acknowledges = False  # it was said
    try:
        return [(await caller.answer(2 * number + 1)).headers for number in range(BURST)]
    finally:
        writer.transport.abort()


@on_both_engines
@pytest.mark.short("grpcio")
async def test_a_burst_over_connections() -> None:
    """1,500 calls that begin at once, before the bridge can look at any, all end with a status and details."""
    async with listening_bridge(WALLET, {}) as bridge, AsyncExitStack() as stack:
        bursts = [burst(bridge.address) for _ in range(CONNECTIONS)]
        for connection, _ in bursts:
            stack.callback(connection.close)
        ends = [end for each in bursts for end in await answers(*each)]
    assert len(ends) == BURST * CONNECTIONS
    assert {(end.get("grpc-status"), "grpc-status-details-bin" in end) for end in ends} <= {("8", True), ("14", True)}


@pytest.mark.long
async def test_a_standstill() -> None:
    """Calls that come while the event loop stands still for half a minute end with a status and details after it."""
    with served_by("grpcio"):
        async with listening_bridge(WALLET, {}) as bridge:
            connection, received = burst(bridge.address)
            time.sleep(STANDSTILL_S)  # noqa: ASYNC251 - the loop is to stand still
            ends = await answers(connection, received)
    assert {(end.get("grpc-status"), "grpc-status-details-bin" in end) for end in ends} == {("14", True)}
