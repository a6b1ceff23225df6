"""What a behaviour does to its connection: ends of every kind, GOAWAY, waiting for the client."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from h2 import events
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from faults.behaviours import after, by_token, sequence, terminated
from faults.certificates import Certificates, write_certificates
from faults.client import RawClient
from faults.connection import Connection
from faults.server import FaultServer
from faults.stream import Stream
from faults.wire import GoneError


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for all tests of this file."""
    return write_certificates(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("fin", [False, True], ids=["rst", "fin"])
async def test_connection_ends_in_the_middle(certificates: Certificates, *, tls: bool, fin: bool) -> None:
    """A connection can end in the middle of an answer, by FIN after what was sent or by TCP reset."""

    async def leave(stream: Stream) -> None:
        await stream.respond(200, b"half", end=False)
        if fin:
            stream.connection.close()
        else:
            await stream.connection.ping()
            stream.connection.abort()
        with pytest.raises(GoneError):
            await stream.end()
        await stream.closed.wait()

    server_tls = certificates.server.server_context() if tls else None
    client_tls = certificates.client_context() if tls else None
    async with FaultServer(leave, tls=server_tls) as server:
        async with RawClient.connect(server.port, client_tls) as client:
            client.request()
            assert (await client.next(events.DataReceived)).data == b"half"
            with contextlib.nullcontext() if fin else pytest.raises(ConnectionResetError):
                await client.until_closed()
            assert server.open_streams == 0
        await server.until(lambda: server.open_connections == [])


async def test_goaway_disowns_streams_above_its_last() -> None:
    """Streams up to GOAWAY's last id are answered; open ones above it can no longer be, and new ones are ignored."""

    async def cut_off(stream: Stream) -> None:
        if stream.id == 3:
            stream.connection.goaway(1, ErrorCodes.ENHANCE_YOUR_CALM)
            with pytest.raises(GoneError):
                stream.mark_processed()
            with pytest.raises(GoneError):
                stream.send_headers(200)
        else:
            await stream.connection.until(lambda: stream.connection.retired)
            await server.until(lambda: server.ignored_streams == 1)
            await terminated(stream)

    async with FaultServer(cut_off) as server, RawClient.connect(server.port) as client:
        first, _ = client.request("first"), client.request("second")
        goaway = await client.next(events.ConnectionTerminated)
        client.request("third")
        assert (await client.answer(first)).headers[":status"] == "200"
        await client.ping()
    assert (goaway.last_stream_id, goaway.error_code) == (1, ErrorCodes.ENHANCE_YOUR_CALM)
    assert ([request.token for request in server.requests], server.processed) == (["first", "second"], ["first"])
    assert server.client_errors == []


async def ping(connection: Connection) -> None:
    """Wait for a PING ACK."""
    await connection.ping()


async def narrow(connection: Connection) -> None:
    """Wait for the ACK of new settings."""
    await connection.settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})


async def finish(connection: Connection) -> None:
    """Wait for the client to read what it was sent."""
    await connection.finish()


@pytest.mark.parametrize("wait", [ping, narrow, finish], ids=["ping", "settings", "finish"])
async def test_can_wait_for_a_client_to_read(wait: Callable[[Connection], Awaitable[None]]) -> None:
    """PING, SETTINGS and a graceful end return only after the client has read and acknowledged them."""

    async def wait_and_tell(stream: Stream) -> None:
        await stream.respond(200)
        await wait(stream.connection)
        over.set()

    over = asyncio.Event()
    behaviour = by_token({"other": terminated}, wait_and_tell)
    async with FaultServer(behaviour) as server, RawClient.connect(server.port) as client:
        stream_id = client.request()
        async with RawClient.connect(server.port) as other:
            await other.answer(other.request("other"))
            await other.ping()
        assert not over.is_set()
        await client.answer(stream_id)
        await over.wait()


@pytest.mark.parametrize("wait", [ping, narrow, finish], ids=["ping", "settings", "finish"])
async def test_waiting_ends_when_the_client_leaves(wait: Callable[[Connection], Awaitable[None]]) -> None:
    """A wait for the client ends with GoneError when the connection is lost."""

    async def wait_in_vain(stream: Stream) -> None:
        waiting.set()
        with pytest.raises(GoneError):
            await wait(stream.connection)
        over.set()

    waiting, over = asyncio.Event(), asyncio.Event()
    async with FaultServer(wait_in_vain) as server:
        async with RawClient.connect(server.port) as client:
            client.request()
            await waiting.wait()
        await over.wait()


async def test_changed_settings_arrive() -> None:
    """SETTINGS sent on the way are known to the client."""

    async def narrow_and_answer(stream: Stream) -> None:
        await narrow(stream.connection)
        await stream.respond(200)

    async with FaultServer(narrow_and_answer) as server, RawClient.connect(server.port) as client:
        await client.answer(client.request())
        assert client.h2.remote_settings.max_concurrent_streams == 1


async def test_frozen_connection_reads_and_writes_nothing() -> None:
    """A frozen connection stands, but what is sent on it goes nowhere, in both directions."""

    async def lose_power(stream: Stream) -> None:
        stream.connection.freeze()
        await stream.respond(200)

    async with FaultServer(sequence(lose_power, terminated)) as server, RawClient.connect(server.port) as frozen:
        unanswered = frozen.request("before")
        await server.until(lambda: len(server.requests) == 1 and server.open_streams == 0)
        frozen.request("after")
        async with RawClient.connect(server.port) as other:
            await other.answer(other.request("other"))
        assert [request.token for request in server.requests] == ["before", "other"]
        server.open_connections[0].abort()
        with pytest.raises(ConnectionResetError):
            await frozen.until_closed()
    assert frozen.events_of(unanswered) == []


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_finish_waits_for_open_streams(certificates: Certificates, *, tls: bool) -> None:
    """A graceful end lets open streams finish, and then closes the connection."""

    async def answer_and_finish(stream: Stream) -> None:
        await stream.respond(200, bytes(50_000))
        await stream.connection.finish()

    gate = asyncio.Event()
    server_tls = certificates.server.server_context() if tls else None
    client_tls = certificates.client_context() if tls else None
    async with FaultServer(by_token({"slow": after(gate)}, answer_and_finish), tls=server_tls) as server:
        async with RawClient.connect(server.port, client_tls) as client:
            slow, last = client.request("slow"), client.request("last")
            assert (await client.answer(last)).body == bytes(50_000)
            await client.ping()
            gate.set()
            assert (await client.answer(slow)).headers[":status"] == "200"
            await client.until_closed()
        await server.until(lambda: server.open_connections == [])


async def test_close_lets_the_client_read_its_answer() -> None:
    """What was sent before FIN arrives, even if the client sends more after the server closed."""

    async def answer_and_close(stream: Stream) -> None:
        await stream.respond(200, b"half", end=False)
        stream.connection.close()

    async with FaultServer(answer_and_close) as server, RawClient.connect(server.port) as client:
        client.request()
        await server.until(lambda: len(server.requests) == 1 and server.open_streams == 0)
        for _ in range(2):
            client.request("late")
            async with RawClient.connect(server.port) as other:
                other.request("other")
                await other.until_closed()
        assert (await client.next(events.DataReceived)).data == b"half"
        await client.until_closed()
    assert [request.token for request in server.requests] == ["t", "other", "other"]
