"""Whatever bytes a server sends: our events or a violation come of them, every call ends, and nothing is left over.

The corpus in `tests/vectors/http2` always runs; `tests/support/http2/vectors.py` says what a case is.
"""

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.http2.flood_guard import NOISE_BYTES_MAX
from bridge.http2.limits import CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES
from bridge.http2.protocol import CREDIT_BYTES, ClientProtocol
from bridge.http2.transport import Http2Transport
from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Stream
from tests.support.examples import examples
from tests.support.http2 import frames as raw
from tests.support.http2 import vectors
from tests.support.http2.calls import PATIENCE_S, terminate_body
from tests.support.http2.conversation import GREETING, OPEN_STREAMS, REQUEST, Received, conversation, listen, replies
from tests.support.http2.strategies import ANY_BYTES
from tests.support.two_loops import open_descriptors, until_closed

NAMES = vectors.names()
SOON_S = 0.05


def received(data: bytes, cuts: list[int], given_up: set[int]) -> Received:
    """Let a client in the middle of a conversation give these streams up and receive these bytes, cut so."""
    client = conversation()
    for stream_id in sorted(given_up):
        client.reset(stream_id, 8)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return listen(client, *(data[start:end] for start, end in itertools.pairwise(edges)))


def marked(name: str, mark: str) -> list[str]:
    """Return what a case of the corpus says behind this mark."""
    return [line.removeprefix(mark) for line in vectors.lines(name) if line.startswith(mark)]


@pytest.mark.parametrize("name", NAMES)
def test_corpus(name: str) -> None:
    """A case of the corpus gives its events and its replies, and the connection is closed or kept, as its name says."""
    came = received(vectors.read(name), [], set())
    events = [[type(event).__name__, *map(str, msgspec.structs.astuple(event))] for event in came.events]
    assert [" ".join(words) for words in events] == marked(name, "# > ")
    assert replies(came) == marked(name, "# < ")
    assert name.startswith("keeps_" if came.violation is None else "closes_"), came.violation


@pytest.mark.parametrize("name", NAMES)
def test_corpus_byte_by_byte(name: str) -> None:
    """A case of the corpus means the same when every byte comes alone."""
    case = vectors.read(name)
    assert received(case, list(range(len(case))), set()) == received(case, [], set())


@settings(max_examples=examples(300))
@given(data=ANY_BYTES, cuts=st.lists(st.integers(0, 400), max_size=6), given_up=st.sets(st.sampled_from(OPEN_STREAMS)))
@example(data=raw.frame(raw.PING, payload=bytes(8)) * 4000 + raw.headers(1), cuts=[65_000], given_up=set())
def test_any_bytes(data: bytes, cuts: list[int], given_up: set[int]) -> None:
    """Any bytes give our events or a violation, never another exception, and how they are cut changes nothing."""
    assert received(data, cuts, given_up) == received(data, [], given_up)


FLOODS: dict[str, bytes] = {
    "PING": raw.frame(raw.PING, payload=bytes(8)),
    "PING ACK": raw.frame(raw.PING, raw.ACK, payload=bytes(8)),
    "SETTINGS": raw.settings(),
    "SETTINGS with values": raw.settings((3, 100)),
    "RST_STREAM": raw.frame(raw.RST_STREAM, 0, 1, bytes(4)),
    "WINDOW_UPDATE": raw.frame(raw.WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
    "PRIORITY": raw.frame(raw.PRIORITY, 0, 1, b"\0\0\0\3\x10"),
    "unknown frames": raw.frame(0xFA),
    "GOAWAY": raw.goaway(5),
    "CONTINUATION": raw.frame(raw.CONTINUATION, 0, 1),
    "empty DATA": raw.data(1, b""),
    "padding": raw.frame(raw.DATA, raw.PADDED, 1, b"\xff" + bytes(255)),
    "padding of single bytes": raw.frame(raw.DATA, raw.PADDED, 1, b"\xffx" + bytes(255)),
}
NOISE_BYTES = {"padding of single bytes": 1 + 255}
"""How much of a unit is noise, if not all of it: there is a byte of an answer in it, which needs a frame."""
BEFORE_FLOOD: dict[str, bytes] = {
    "CONTINUATION": raw.frame(raw.HEADERS, 0, 1),
    "empty DATA": raw.headers(1),
    "padding": raw.headers(1),
    "padding of single bytes": raw.headers(1),
}


ANSWER_FIELD = (b"content-type", b"application/json")
CALMED = ["GOAWAY 0 ENHANCE_YOUR_CALM"]
LATE = raw.data(1, bytes(10_000))
LATE_BYTES = len(LATE)


@pytest.mark.parametrize("name", FLOODS)
def test_flood(name: str) -> None:
    """What answers nothing is a violation at once beyond its limit, and not before.

    The limit is NOISE_BYTES_MAX and what our requests give leave for: the credit for the one DATA frame of each.
    """
    opening, unit = BEFORE_FLOOD.get(name, b""), FLOODS[name]
    leave_bytes = NOISE_BYTES_MAX + CREDIT_BYTES * len(OPEN_STREAMS) - len(GREETING) - len(opening)
    fitting = leave_bytes // NOISE_BYTES.get(name, len(unit))
    client = conversation()
    assert listen(client, opening + unit * fitting).violation is None
    assert replies(listen(client, unit))[-1:] == CALMED


GIVEN_UP = {
    "by us": lambda client: client.reset(1, 8),
    "for a mistake": lambda client: listen(client, raw.frame(raw.WINDOW_UPDATE, 0, 1, bytes(4))),
}


@pytest.mark.parametrize("give_up", GIVEN_UP.values(), ids=GIVEN_UP)
def test_leave_of_a_reset(give_up: Callable[[ClientProtocol], object]) -> None:
    """What can be on its way for a stream that we have reset is no noise: what is left of its window."""
    client = conversation()
    listen(client, raw.headers(1), raw.data(1, bytes(10_000)))
    give_up(client)
    client.outgoing()
    fitting = (STREAM_WINDOW_BYTES - 10_000) // LATE_BYTES + NOISE_BYTES_MAX // LATE_BYTES
    assert replies(listen(client, LATE * fitting)) == []
    assert replies(listen(client, LATE)) == CALMED


def test_leave_is_bounded() -> None:
    """However many streams we reset, no more can be on its way for them than the connection's window."""
    client = conversation()
    client.reset(1, 8)
    for _ in range(2 * CONNECTION_WINDOW_BYTES // STREAM_WINDOW_BYTES):
        client.reset(client.begin(REQUEST, has_body=False), 8)
    client.outgoing()
    fitting = CONNECTION_WINDOW_BYTES // LATE_BYTES + NOISE_BYTES_MAX // LATE_BYTES
    assert listen(client, LATE * fitting).violation is None
    assert replies(listen(client, LATE))[-1:] == CALMED


@pytest.mark.parametrize("name", [name for name in FLOODS if not name.startswith("SETTINGS")])
def test_settings_come_first(name: str) -> None:
    """A server that begins with any other frame is no HTTP/2 server (RFC 9113, section 3.4)."""
    client = ClientProtocol()
    client.outgoing()
    assert replies(listen(client, FLOODS[name])) == ["GOAWAY 0 PROTOCOL_ERROR"]


def test_answers_are_no_flood() -> None:
    """An answer's headers forgive the noise before them, and its body is none, however much there is of both."""
    client = conversation()
    quiet = raw.frame(raw.PING, raw.ACK, payload=bytes(8)) * (NOISE_BYTES_MAX // 17)
    for stream_id in OPEN_STREAMS:
        body = raw.data(stream_id, bytes(10_000)) * 20
        assert listen(client, quiet, raw.headers(stream_id), body).violation is None


class Saboteur:
    """Waits for as many requests as a conversation begins with, and then puts these bytes on the wire."""

    def __init__(self, data: bytes, *, ends: bool) -> None:
        self._data = data
        self._ends = ends

    async def __call__(self, stream: Stream) -> None:
        """Speak once, at the last request, and end the connection afterwards if asked to."""
        if stream.id == OPEN_STREAMS[-1]:
            stream.connection.raw(self._data)
            if self._ends:
                stream.connection.close()
        await stream.closed.wait()


def request(url: str, timeout_s: float) -> httpx.Request:
    """Return a Terminate request that may take this long."""
    return httpx.Request(
        "POST",
        f"{url}/api/wallet/terminate",
        stream=httpx.ByteStream(terminate_body()),
        extensions={"timeout": {"read": timeout_s}},
    )


async def ended(transport: Http2Transport, url: str, timeout_s: float) -> httpx.TransportError | int:
    """Return how a call ended: with a status, or with an error of the transport; any other exception is a bug."""
    try:
        return (await transport.handle_async_request(request(url, timeout_s))).status_code
    except httpx.TransportError as error:
        return error


@asynccontextmanager
async def nothing_is_left() -> AsyncIterator[None]:
    """Compare tasks and descriptors before and after. Some turns of the loop close what was closed in the block."""
    tasks, descriptors = asyncio.all_tasks(), open_descriptors()
    yield
    await until_closed(descriptors)
    assert asyncio.all_tasks() == tasks


async def survive(data: bytes, *, ends: bool, timeout_s: float = SOON_S) -> list[httpx.TransportError | int]:
    """Meet these bytes with three calls, return how they ended, and see that later calls succeed."""
    async with nothing_is_left(), FaultServer(Saboteur(data, ends=ends)) as server:
        transport = Http2Transport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), connect_timeout_s=PATIENCE_S)
        async with contextlib.aclosing(transport), asyncio.timeout(PATIENCE_S):
            ends_of_calls = await asyncio.gather(*(ended(transport, server.url, timeout_s) for _ in OPEN_STREAMS))
            server.behaviour = terminated
            # Who has half a frame in its buffer cannot be helped: the server must drop that connection.
            async with server.offline():
                pass
            # The first one may still go to a connection whose reset has not been read yet.
            last = [await ended(transport, server.url, PATIENCE_S) for _ in range(2)]
            assert last[-1] == 200
        await server.until(lambda: not server.open_connections)
    return ends_of_calls


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.short(
    "closes_bad_huffman",
    "closes_data_inside_headers",
    "closes_frame_too_large",
    "closes_http_1",
    "closes_push_promise",
    "closes_rst_on_idle_stream",
    "closes_settings_length",
    "keeps_answer_in_pieces",
    "keeps_data_after_our_reset",
    "keeps_truncated_frame",
)
async def test_corpus_over_a_socket(name: str) -> None:
    """After a case that closes the connection no call waits for its time-out; after any case calls succeed again."""
    closes = name.startswith("closes_")
    ends = await survive(vectors.read(name), ends=False, timeout_s=PATIENCE_S if closes else SOON_S)
    assert len(ends) == len(OPEN_STREAMS)
    assert not closes or not any(isinstance(end, httpx.TimeoutException) for end in ends)


@settings(max_examples=examples(40))
@given(data=ANY_BYTES, ends=st.booleans())
async def test_any_bytes_over_a_socket(data: bytes, *, ends: bool) -> None:
    """Whatever a server says, every call ends by its time-out, nothing is left of it, and later calls succeed."""
    await survive(data, ends=ends)
