"""What happens in one turn of the loop, after a call has got a connection and before its request is written."""

import asyncio
import ssl

import pytest

from bridge.http2.transport import Http2Transport
from bridge.http2.writer import GATHER_FROM
from bridge.sandbox.behaviours import after, by_token, terminated
from bridge.sandbox.stream import Stream
from bridge.sandbox.wire import PREFACE, take_frames
from tests.support.http2 import frames as raw
from tests.support.http2.calls import LOST, OK, PATIENCE_S, TIMEOUT, UNREACHABLE, Calls, cancelled, streams_max, wallet

pytest_plugins = ["tests.support.two_loops"]
pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]), pytest.mark.usefixtures("nothing_left")]

VIOLATION = raw.data(99, b"x")  # on an idle stream


async def test_time_is_over_in_the_turn_in_which_a_call_begins() -> None:
    """A call whose time is over when its turn comes is either not sent, or not reported as such: not both."""
    loop = asyncio.get_running_loop()
    gate = asyncio.Event()
    due_s = loop.time() + 0.1

    async def answered_when_it_is_due(stream: Stream) -> None:
        await gate.wait()
        await terminated(stream)
        while loop.time() < due_s:  # a busy loop: the answer and the time-out are found in one turn
            pass

    table = {"first": answered_when_it_is_due}
    async with wallet(by_token(table), settings=streams_max(1), connections_max=1) as (server, calls):
        first = calls.start("first")
        await server.until(lambda: len(server.requests) == 1)
        queued = calls.start("queued", timeout_s=0.05)
        await asyncio.sleep(0)
        due_s = loop.time() + 0.1
        gate.set()
        assert await first == OK
        end = await queued
        assert await calls.end("last") == OK  # what was sent before it has arrived, too
        was_sent = any(request.token == "queued" for request in server.requests)
        assert (end, was_sent) in {(f"{UNREACHABLE} timeout", False), (TIMEOUT, True)}


@pytest.mark.parametrize("hex_", ["00000403000000000300000008", "000001020000000003ff"], ids=["RST_STREAM", "PRIORITY"])
async def test_server_speaks_of_a_stream_that_has_not_left(hex_: str) -> None:
    """Whatever a server says of a stream that it cannot know: what is reported as NOT_SENT is never sent."""
    async with wallet(terminated, connections_max=1) as (server, calls):
        assert await calls.end("first") == OK
        (connection,) = server.open_connections
        # Found in the turn in which the second call begins, before its frames are written.
        connection.raw(bytes.fromhex(hex_))
        end = await calls.start("second")
        assert await calls.end("last") == OK
        was_sent = any(request.token == "second" for request in server.requests)
        assert not (end.startswith(UNREACHABLE) and was_sent)


async def test_nothing_new_is_sent_on_a_connection_that_closes() -> None:
    """A call that begins in the turn in which its connection is closed is not sent any more: NOT_SENT."""
    async with wallet(terminated, connections_max=1) as (server, calls):
        assert await calls.end("first") == OK
        (connection,) = server.open_connections
        # Found in the turn in which the second call begins, before its frames are written: DATA on an idle stream.
        connection.raw(bytes.fromhex("00000100000000006378"))
        end = await calls.start("second")
        assert await calls.end("last") == OK
        was_sent = any(request.token == "second" for request in server.requests)
        # It depends on the loop which comes first: the call, the violation (then it has another connection), or, on a
        # busy machine, even the call's frames.
        assert (end, was_sent) in {(f"{UNREACHABLE} closed", False), (OK, True), (LOST, True), (LOST, False)}


async def test_slot_of_a_call_that_never_left_is_free_at_once() -> None:
    """A call that is cancelled before its request is written gives its slot to the next in line."""
    gate = asyncio.Event()
    held = GATHER_FROM + 1
    table = {"cancelled": terminated, "queued": terminated}
    one_more = streams_max(held + 1)
    async with wallet(by_token(table, after(gate)), settings=one_more, connections_max=1) as (server, calls):
        tasks = [calls.start() for _ in range(held)]
        await server.until(lambda: len(server.requests) == held)
        cancelled_call, queued = calls.start("cancelled"), calls.start("queued")
        await asyncio.sleep(0)
        await cancelled(cancelled_call)
        assert await queued == OK
        assert [request.token for request in server.requests[held:]] == ["queued"]
        gate.set()
        assert await asyncio.gather(*tasks) == [OK] * held


class Listener:
    """A server that greets, writes down what it receives, and answers nothing."""

    def __init__(self) -> None:
        self.received: list[bytearray] = []
        """By connection."""
        self.writers: list[asyncio.StreamWriter] = []
        self.has_headers = asyncio.Event()
        """Set once a HEADERS frame has come."""
        self.ended = asyncio.Event()
        """Set once a client has closed a connection."""

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the client closes it."""
        received = bytearray()
        self.received.append(received)
        self.writers.append(writer)
        writer.write(raw.settings())
        while data := await reader.read(65_536):
            received += data
            if raw.HEADERS in self.frames(len(self.received) - 1):
                self.has_headers.set()
        self.ended.set()
        writer.close()
        await writer.wait_closed()

    def frames(self, connection: int) -> list[int]:
        """Return the types of the frames that have come on a connection."""
        return [frame[3] for frame in take_frames(self.received[connection][len(PREFACE) :])]


async def test_goaway_is_our_last_word() -> None:
    """A call that begins in the turn in which its connection is closed for a violation is not sent behind GOAWAY."""
    listener = Listener()
    async with await asyncio.start_server(listener, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        transport = Http2Transport(
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), connections_max=1, connect_timeout_s=PATIENCE_S
        )
        calls = Calls(transport, url)
        first = calls.start("first")
        await listener.has_headers.wait()
        listener.writers[0].write(VIOLATION)
        second = calls.start("second", timeout_s=0.1)
        assert await first == LOST
        await listener.ended.wait()
        await second
        await transport.aclose()
    kinds = listener.frames(0)
    assert kinds.index(raw.GOAWAY) == len(kinds) - 1
