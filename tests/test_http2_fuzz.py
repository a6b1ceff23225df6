"""Whatever bytes a server sends: our events or a violation come of them, every call ends, and nothing is left over.

The corpus in `vectors/http2` always runs; `http2_vectors.py` says how a case is added to it.
"""

import asyncio
import contextlib
import itertools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import http2_frames as raw
import http2_vectors
from bridge.http2.protocol import NOISE_BYTES_MAX
from bridge.http2.transport import Http2Transport
from descriptors import open_descriptors
from faults.behaviours import terminated
from faults.client import terminate_body
from faults.server import FaultServer
from faults.stream import Stream
from http2_conversation import OPEN_STREAMS, Heard, conversation, listen
from whole_path import PATIENCE_S

NAMES = http2_vectors.names()
SOON_S = 0.1

# --- strategies -------------------------------------------------------------------------------------------------

HEADER_FIELDS = st.sampled_from(
    (
        (":status", "200"),
        (":status", "100"),
        (":status", "²00"),
        (":path", "/"),
        ("content-type", "application/json"),
        ("content-length", "2"),
        ("content-length", "9" * 5000),
        ("connection", "close"),
        ("", ""),
    )
)
HEADER_BLOCKS = st.lists(HEADER_FIELDS, max_size=4).map(lambda fields: raw.header_block(*fields)) | st.just(
    raw.header_block(*raw.ANSWER_HEADERS)
)
PAYLOADS = st.one_of(
    HEADER_BLOCKS,
    HEADER_BLOCKS,
    st.binary(max_size=24),
    st.sampled_from((0, 4, 5, 6, 8)).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    st.tuples(st.integers(0, 8), st.sampled_from((0, 1, 100, 2**31 - 1, 2**32 - 1))).map(
        lambda entry: raw.setting(*entry)
    ),
)
FRAMES = st.builds(
    raw.frame,
    st.integers(raw.DATA, raw.CONTINUATION + 1),
    st.sampled_from((0, raw.END_STREAM, raw.END_HEADERS, raw.END_HEADERS | raw.END_STREAM)) | st.integers(0, 255),
    st.sampled_from((0, *OPEN_STREAMS, *OPEN_STREAMS, 2, 7, 2**31 + 1)),
    PAYLOADS,
)
CONVERSATIONS = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(
    lambda names: b"".join(map(http2_vectors.read, names))
)


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Take recorded conversations and overwrite, cut, repeat or insert something in a few places."""
    mutated = draw(CONVERSATIONS)
    for _ in range(draw(st.integers(1, 4))):
        start, size = draw(st.integers(0, len(mutated))), draw(st.integers(0, 12))
        piece, rest = mutated[start : start + size], mutated[start + size :]
        new = draw(st.sampled_from((b"", piece * 2)) | st.binary(min_size=len(piece), max_size=len(piece) + 2))
        mutated = mutated[:start] + new + rest
    return mutated


ANY_BYTES = st.one_of(st.lists(FRAMES, max_size=8).map(b"".join), mutations(), st.binary(max_size=100))


# --- the state machine ------------------------------------------------------------------------------------------


def heard(data: bytes, cuts: list[int], given_up: set[int]) -> Heard:
    """Let a client in the middle of a conversation give these streams up and hear these bytes, cut at these places."""
    client = conversation()
    for stream_id in sorted(given_up):
        client.reset(stream_id, 8)
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return listen(client, *(data[start:end] for start, end in itertools.pairwise(edges)))


@pytest.mark.parametrize("name", NAMES)
def test_corpus_verdict(name: str) -> None:
    """A case of the corpus closes the connection or keeps it, as its name says."""
    violation = heard(http2_vectors.read(name), [], set()).violation
    assert name.startswith("keeps_" if violation is None else "closes_"), violation


@pytest.mark.parametrize("name", NAMES)
def test_corpus_byte_by_byte(name: str) -> None:
    """A case of the corpus means the same when every byte comes alone."""
    case = http2_vectors.read(name)
    assert heard(case, list(range(len(case))), set()) == heard(case, [], set())


@settings(max_examples=300)
@given(data=ANY_BYTES, cuts=st.lists(st.integers(0, 400), max_size=6), given_up=st.sets(st.sampled_from(OPEN_STREAMS)))
@example(data=raw.frame(raw.PING, payload=bytes(8)) * 4000 + raw.headers(1), cuts=[65_000], given_up=set())
def test_any_bytes(data: bytes, cuts: list[int], given_up: set[int]) -> None:
    """Any bytes give our events or a violation, never another exception, and how they are cut changes nothing."""
    assert heard(data, cuts, given_up) == heard(data, [], given_up)


FLOODS: dict[str, bytes] = {
    "PING": raw.frame(raw.PING, payload=bytes(8)),
    "PING ACK": raw.frame(raw.PING, raw.ACK, payload=bytes(8)),
    "SETTINGS": raw.settings(),
    "SETTINGS with values": raw.settings((3, 100)),
    "RST_STREAM": raw.frame(raw.RST_STREAM, 0, 1, bytes(4)),
    "WINDOW_UPDATE": raw.frame(raw.WINDOW_UPDATE, 0, 1, b"\0\0\0\1"),
    "PRIORITY": raw.frame(raw.PRIORITY, 0, 1, b"\0\0\0\3\x10"),
    "unknown frames": raw.frame(0xFA),
    "100": raw.headers(1, fields=((":status", "100"),)),
    "GOAWAY": raw.goaway(5),
    "CONTINUATION": raw.frame(raw.CONTINUATION, 0, 1),
    "empty DATA": raw.data(1, b""),
    "padding": raw.frame(raw.DATA, raw.PADDED, 1, b"\xff" + bytes(255)),
}
BEFORE_FLOOD: dict[str, bytes] = {
    "CONTINUATION": raw.frame(raw.HEADERS, 0, 1),
    "empty DATA": raw.headers(1),
    "padding": raw.headers(1),
}


@pytest.mark.parametrize("name", FLOODS)
def test_flood(name: str) -> None:
    """What answers nothing is a violation before it is much: the limit, and what our own requests give leave for."""
    unit = FLOODS[name]
    client = conversation()
    opening = listen(client, BEFORE_FLOOD.get(name, b""))
    assert opening.violation is None
    flood = listen(client, unit * (4 * NOISE_BYTES_MAX // len(unit)))
    assert flood.violation is not None


# --- over a socket ----------------------------------------------------------------------------------------------


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
    """Compare tasks and descriptors before and after. Two turns of the loop close what was closed in the block."""
    tasks, descriptors = asyncio.all_tasks(), open_descriptors()
    yield
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (asyncio.all_tasks(), open_descriptors()) == (tasks, descriptors)


async def survive(data: bytes, *, ends: bool, timeout_s: float = SOON_S) -> list[httpx.TransportError | int]:
    """Meet these bytes with three calls, return how they ended, and see that later calls succeed."""
    async with nothing_is_left(), FaultServer(Saboteur(data, ends=ends)) as server:
        transport = Http2Transport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
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
async def test_corpus_over_a_socket(name: str) -> None:
    """After a case that closes the connection no call waits for its time-out; after any case calls succeed again."""
    closes = name.startswith("closes_")
    ends = await survive(http2_vectors.read(name), ends=False, timeout_s=PATIENCE_S if closes else SOON_S)
    assert len(ends) == len(OPEN_STREAMS)
    assert not closes or not any(isinstance(end, httpx.TimeoutException) for end in ends)


@settings(max_examples=40)
@given(data=ANY_BYTES, ends=st.booleans())
async def test_any_bytes_over_a_socket(data: bytes, *, ends: bool) -> None:
    """Whatever a server says, every call ends by its time-out, nothing is left of it, and later calls succeed."""
    await survive(data, ends=ends)
