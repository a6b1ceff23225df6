"""What a behaviour does to its stream and connection arrives on the wire, legal or not."""

from collections.abc import Callable

import pytest
from faults.behaviours import answer, sequence, terminated
from faults.certificates import Certificates, write_certificates
from faults.client import RawClient, terminate_body, well_behaved
from faults.server import FaultServer
from faults.stream import Stream
from faults.wire import GoneError
from h2 import events
from h2.errors import ErrorCodes
from h2.exceptions import FrameDataMissingError, ProtocolError
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, Frame, HeadersFrame, PushPromiseFrame


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for all tests of this file."""
    return write_certificates(tmp_path_factory.mktemp("tls"))


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
        stream.reset(ErrorCodes.INTERNAL_ERROR)
        await stream.connection.ping()
        server.processed.append("acknowledged")

    async with FaultServer(late_reset) as server, RawClient.connect(server.port) as client:
        assert (await client.answer(client.request())).headers[":status"] == "200"
        await client.next(events.PingReceived)
        client.flush()
        await server.until(lambda: server.processed == ["acknowledged"])


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
    async with FaultServer(leave, tls=server_tls) as server, RawClient.connect(server.port, client_tls) as client:
        client.request()
        assert (await client.next(events.DataReceived)).data == b"half"
        if fin:
            await client.until_closed()
        else:
            with pytest.raises(ConnectionResetError):
                await client.until_closed()
        await server.until(lambda: server.open_connections == [])
        assert server.open_streams == 0


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


async def test_settings_can_change() -> None:
    """SETTINGS sent on the way are acknowledged by the client, which then obeys them."""

    async def narrow(stream: Stream) -> None:
        await stream.connection.settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        await stream.respond(200)

    async with FaultServer(narrow) as server, RawClient.connect(server.port) as client:
        await client.answer(client.request())
        assert client.h2.remote_settings.max_concurrent_streams == 1


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
async def test_finish_closes_when_everything_is_read(certificates: Certificates, *, tls: bool) -> None:
    """A graceful end waits for open streams and for the client to read its answers, and then sends FIN."""
    body = bytes(200_000)

    async def say_goodbye(stream: Stream) -> None:
        await stream.respond(200, body)
        await stream.connection.finish()

    server_tls = certificates.server.server_context() if tls else None
    client_tls = certificates.client_context() if tls else None
    async with FaultServer(say_goodbye, tls=server_tls) as server:
        async with RawClient.connect(server.port, client_tls) as client:
            assert (await client.answer(client.request())).body == body
            await client.until_closed()
        await server.until(lambda: server.open_connections == [])
