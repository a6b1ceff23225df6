"""What a behaviour says on its stream arrives on the wire, legal or not."""

import asyncio
from collections.abc import Callable

import pytest
from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import FrameDataMissingError, ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PushPromiseFrame, RstStreamFrame

from faults.behaviours import answer, by_token, terminated
from faults.client import RawClient, terminate_body, well_behaved
from faults.server import FaultServer
from faults.stream import Stream


async def test_stream_can_say_everything() -> None:
    """An answer may have informational headers before it, several pieces of body, and trailers."""

    async def talkative(stream: Stream) -> None:
        stream.informational(103, [("link", "x")])
        stream.send_headers(200, [("a", "1")])
        await stream.send_data(b"one ")
        await stream.send_data(b"two")
        stream.trailers([("checksum", "7")])

    async with FaultServer(talkative) as server, RawClient.connect(server.port) as client:
        stream_id = client.request()
        answered = await client.answer(stream_id)
        assert (await client.next(events.InformationalResponseReceived)).stream_id == stream_id
    assert answered.headers == {":status": "200", "a": "1"}
    assert (answered.body, answered.trailers) == (b"one two", {"checksum": "7"})


async def test_answer_can_stay_open() -> None:
    """Without `end`, an answer goes on until it is ended."""

    async def slow_end(stream: Stream) -> None:
        await stream.respond(200, b"a", end=False)
        await stream.connection.ping()
        assert server.open_streams == 1
        await stream.end()

    async with FaultServer(slow_end) as server, RawClient.connect(server.port) as client:
        assert (await client.answer(client.request())).body == b"a"
        assert server.open_streams == 0


async def test_body_obeys_flow_control() -> None:
    """A body longer than the client's window waits for credit, and arrives whole once that is given."""
    body = bytes(range(256)) * 1000
    async with FaultServer(answer(200, body)) as server, RawClient.connect(server.port, credit=False) as client:
        stream_id = client.request()
        received = b""
        while len(received) < 65535:
            received += (await client.next(events.DataReceived)).data
        assert server.open_streams == 1
        client.h2.increment_flow_control_window(len(body))
        client.h2.increment_flow_control_window(len(body), stream_id)
        client.flush()
        assert received + (await client.answer(stream_id)).body == body


async def test_body_waits_for_a_client_that_does_not_read() -> None:
    """A body within the client's windows still waits while the client leaves it in the socket: memory stays bounded."""

    async def send_much(stream: Stream) -> None:
        stream.send_headers(200)
        await stream.send_data(bytes(20_000_000))
        sent.set()

    sent = asyncio.Event()
    behaviour = by_token({"other": terminated}, send_much)
    async with FaultServer(behaviour) as server, RawClient.connect(server.port) as client:
        client.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
        client.h2.increment_flow_control_window(2**31 - 65536)
        client.request()
        async with RawClient.connect(server.port) as other:
            await other.answer(other.request("other"))
        assert not sent.is_set()


async def test_long_request_bodies_are_credited() -> None:
    """Request bodies may be longer than the windows that HTTP/2 starts with, on the stream and on the connection."""
    body = bytes(200_000)
    async with FaultServer(answer(200)) as server, well_behaved(server.url) as client:
        await client.post("/", content=body)
        assert [request.body for request in server.requests] == [body]


async def test_request_body_obeys_initial_window() -> None:
    """With INITIAL_WINDOW_SIZE 1, a request comes byte by byte and is complete."""
    async with FaultServer(answer(200), settings={SettingCodes.INITIAL_WINDOW_SIZE: 1}) as server:
        async with well_behaved(server.url) as client:
            await client.get("/")
            await client.post("/", content=terminate_body())
        assert server.requests[-1].body == terminate_body()
        assert server.client_errors == []


async def test_early_answer_before_the_body() -> None:
    """With `early`, an answer can be complete before the request is; RST NO_ERROR may follow it."""

    async def hasty(stream: Stream) -> None:
        assert stream.request.body == b""
        await stream.respond(413)
        stream.reset(ErrorCodes.NO_ERROR)

    async with FaultServer(hasty, early=True) as server, RawClient.connect(server.port) as client:
        stream_id = client.open()
        assert (await client.answer(stream_id)).headers[":status"] == "413"
        assert (await client.next(events.StreamReset, stream_id)).error_code == ErrorCodes.NO_ERROR
        assert server.open_streams == 0


async def test_early_behaviour_can_wait_for_the_body() -> None:
    """With `early`, a behaviour can still ask for the whole body."""

    async def patient(stream: Stream) -> None:
        stream.send_headers(200)
        await stream.send_data(await stream.body(), end=True)

    async with FaultServer(patient, early=True) as server, well_behaved(server.url) as client:
        assert (await client.post("/", content=terminate_body())).content == terminate_body()


async def test_reset_after_a_complete_exchange() -> None:
    """RST_STREAM can be sent even when request and answer are complete."""

    async def late_reset(stream: Stream) -> None:
        await stream.respond(200)
        stream.reset(ErrorCodes.NO_ERROR)

    async with FaultServer(late_reset) as server, RawClient.connect(server.port) as client:
        assert (await client.answer(client.request())).headers[":status"] == "200"
        await client.ping()
        assert client.frame_types.count(RstStreamFrame.type) == 1


def bad_hpack(stream: Stream) -> Frame:
    """Refer to an entry that no HPACK table has."""
    return HeadersFrame(stream.id, data=b"\xff\xff\x00", flags=["END_HEADERS"])


def push_promise(stream: Stream) -> Frame:
    """Promise a well-formed push to a client that has switched push off."""
    promised = [(":method", "GET"), (":scheme", "http"), (":authority", "wallet"), (":path", "/")]
    block = stream.connection.encode(promised)
    return PushPromiseFrame(stream.id, promised_stream_id=2, data=block, flags=["END_HEADERS"])


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (bad_hpack, "decoding header block"),
        (push_promise, "Received pushed stream"),
        (lambda stream: DataFrame(stream.id, data=bytes(70000)), "overlong frame"),
    ],
    ids=["hpack", "push_promise", "frame_size"],
)
async def test_any_frame_reaches_the_wire(make: Callable[[Stream], Frame], complaint: str) -> None:
    """A frame that HTTP/2 forbids is sent as it is, and the client complains of exactly that."""

    async def break_rules(stream: Stream) -> None:
        stream.connection.frame(make(stream))

    async with FaultServer(break_rules) as server, RawClient.connect(server.port) as client:
        client.h2.update_settings({SettingCodes.ENABLE_PUSH: 0})
        client.request()
        with pytest.raises(ProtocolError, match=complaint):
            await client.until_closed()


async def test_illegal_headers_reach_the_wire_unchecked() -> None:
    """With `checked` off, headers that h2 would refuse or mend are sent as they are."""

    async def shout(stream: Stream) -> None:
        stream.send_headers(200, [("Shout", "x")])

    async with FaultServer(shout, checked=False) as server, RawClient.connect(server.port) as client:
        client.request()
        with pytest.raises(ProtocolError, match="uppercase"):
            await client.until_closed()


async def test_raw_bytes_reach_the_wire() -> None:
    """Bytes are sent as they are: here a PING frame too short."""

    async def short_ping(stream: Stream) -> None:
        stream.connection.raw(b"\0\0\1\6\0\0\0\0\0!")

    async with FaultServer(short_ping) as server, RawClient.connect(server.port) as client:
        client.request()
        with pytest.raises(FrameDataMissingError):
            await client.until_closed()
