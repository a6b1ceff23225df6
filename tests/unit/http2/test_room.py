"""Connections that retire, close or are being made count: never more than twice `connections_max`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bridge.http2 import connect, writer
from bridge.sandbox.behaviours import after, by_token, hang, in_turn, terminated
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour
from tests.support.certificates import Certificates
from tests.support.dead_addresses import given, mute, resolve
from tests.support.http2.calls import (
    LOST,
    NOT_PROCESSED,
    OK,
    PATIENCE_S,
    UNREACHABLE,
    Calls,
    calls_to,
    wallet,
)

pytest_plugins = ["tests.support.two_loops"]
pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]), pytest.mark.usefixtures("nothing_left")]

CONNECTIONS_MAX = 2


def retiring(then: Behaviour) -> Behaviour:
    """Send GOAWAY with each request, and do as `then`."""
    return in_turn(lambda stream: stream.connection.goaway(stream.request.stream_id), then)


@asynccontextmanager
async def most_connections(server: FaultServer) -> AsyncIterator[list[int]]:
    """Yield a list that ends with how many connections were open at once, at most."""
    most = [0]

    async def count() -> None:
        while True:
            most.append(max(most[-1], len(server.open_connections)))
            await server.changed.until(lambda: len(server.open_connections) > most[-1])

    task = asyncio.create_task(count())
    yield most
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.short("asyncio-plain", "uvloop-TLS")
async def test_goaway_after_each_request(tmp_path: Path, *, secure: bool) -> None:
    """60 calls at a server that is slow and ends each connection after one: no more than 4, and all are OK."""
    slow = in_turn(lambda _: asyncio.sleep(0.02), terminated)  # the fault itself: answers overlap
    certificates = Certificates(tmp_path)
    served = certificates.server.server_context() if secure else None
    async with (
        FaultServer(retiring(slow), tls=served) as server,
        calls_to(server, tls=certificates.client_context(), connections_max=CONNECTIONS_MAX) as calls,
        most_connections(server) as most,
    ):

        async def call(number: int) -> str:
            end = ""
            while end != OK:  # as bridge.wallet does: what is proven not processed is sent again
                end = await calls.end(str(number))
                assert end in {OK, NOT_PROCESSED}
            return end

        assert await asyncio.gather(*map(call, range(60))) == [OK] * 60
        assert sorted(server.processed) == sorted(map(str, range(60)))
    assert most[-1] <= 2 * CONNECTIONS_MAX


async def test_calls_wait_for_room() -> None:
    """Where all that there may be retire with calls under way, others wait: none of those under way is cut off."""
    gate = asyncio.Event()
    async with wallet(retiring(after(gate)), connections_max=1) as (server, calls):
        first = calls.start("a")
        await server.until(lambda: len(server.requests) == 1)
        second = calls.start("b")
        await server.until(lambda: len(server.requests) == 2)
        end = NOT_PROCESSED
        while end == NOT_PROCESSED:  # GOAWAY may be under way still
            end = await calls.end("late", timeout_s=0.2)
        assert end == f"{UNREACHABLE} timeout"
        third = calls.start("c")
        gate.set()
        assert [await task for task in (first, second, third)] == [OK] * 3
        assert server.processed[:2] == ["a", "b"]
        assert server.connections == 3


async def test_closing_connections_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is closed, but whose server does not answer that, is dropped where room is needed."""
    # Otherwise each would be gone by itself a second later.
    monkeypatch.setattr(writer, "CLOSE_TIMEOUT_S", 10 * PATIENCE_S)
    certificates = Certificates(tmp_path)
    async with (
        FaultServer(terminated, tls=certificates.server.server_context()) as server,
        calls_to(server, tls=certificates.client_context(), connections_max=1) as calls,
    ):
        for number in range(5):
            assert await calls.end(str(number)) == OK
            (pool,) = calls.transport._pools.values()
            server.open_connections[-1].freeze()
            pool.retire()
            assert calls.transport.connections <= 2
        for connection in server.open_connections:
            connection.abort()


def give_up_newest(calls: Calls) -> None:
    """Find the newest connection silent, now: after which time that is, test_liveness.py shows in virtual time."""
    (pool,) = calls.transport._pools.values()
    liveness = pool._connections[-1]._liveness
    assert liveness is not None
    liveness._give_up()


async def test_silent_connections_make_room() -> None:
    """A connection that was given up is dropped where room is needed, and its calls are UNKNOWN."""
    behaviour = by_token({"caught": hang}, terminated)
    async with wallet(behaviour, connections_max=1) as (server, calls):
        caught = []
        for number in range(1, 4):
            caught.append(calls.start("caught"))
            await server.until(lambda: _caught(server) == number)  # noqa: B023 - awaited in this very turn
            server.open_connections[-1].freeze()
            give_up_newest(calls)
            assert await calls.end("next") == OK
            assert server.connections == number + 1
            assert calls.transport.connections <= 2
        # One that is closed brings no answer any more; one that is only silent may.
        assert await caught[0] == LOST
        for connection in server.open_connections:
            connection.abort()
        assert [await task for task in caught[1:]] == [LOST] * 2


def _caught(server: FaultServer) -> int:
    return sum(request.token == "caught" for request in server.requests)


async def test_sockets_of_a_race_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a connection is being made, its sockets count, too."""
    # The next address is tried when TCP has connected to the one before, and not beside it, however slow that is.
    monkeypatch.setattr(connect, "ATTEMPT_DELAY_S", PATIENCE_S)
    monkeypatch.setattr(connect, "HANDSHAKE_S", 0.05)
    resolve(monkeypatch, given("127.0.0.2", "127.0.0.3", "127.0.0.1"))
    async with FaultServer(terminated) as server, calls_to(server) as calls:
        with mute("127.0.0.2", server.port), mute("127.0.0.3", server.port), contextlib.ExitStack() as stack:
            named = Calls(calls.transport, calls.url.replace("127.0.0.1", "localhost"))
            task = named.start()
            most = 0
            while not task.done():
                most = max(most, calls.transport.connections)
                await asyncio.sleep(0)
            stack.close()
            assert await task == OK
            assert most == 3
