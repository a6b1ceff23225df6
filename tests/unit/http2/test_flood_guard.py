"""How much a server may send that answers nothing, after many streams were given up: no more than before."""

import pytest

from bridge.http2 import frames
from bridge.http2.events import ViolationError
from bridge.http2.flood_guard import NOISE_BYTES_MAX
from bridge.http2.limits import CONNECTION_WINDOW_BYTES, FRAME_BYTES_MIN, STREAM_WINDOW_BYTES
from bridge.http2.protocol import ClientProtocol

GIVEN_UP = 100
"""More than fill the connection's window."""
GREETING = frames.settings({})
LEFT_BYTES = NOISE_BYTES_MAX - len(GREETING)
"""The greeting counts, too."""


def connection(*, given_up: int, requests: int = 0) -> ClientProtocol:
    """Return a connection on which so many streams were given up, and so many more were opened, with a body."""
    protocol = ClientProtocol()
    list(protocol.receive(GREETING))
    for _ in range(given_up):
        protocol.reset(protocol.begin(((b":method", b"POST"),), has_body=False), frames.ErrorCode.CANCEL)
    for _ in range(requests):
        stream_id = protocol.begin(((b":method", b"POST"),), has_body=True)
        protocol.send(stream_id, memoryview(b"x"))
    return protocol


def taken(protocol: ClientProtocol, frame: bytes, at_most: int = CONNECTION_WINDOW_BYTES) -> int:
    """Send a frame again and again; return how many are taken before the connection is closed."""
    for number in range(at_most // len(frame)):
        try:
            list(protocol.receive(frame))
        except ViolationError:
            return number
    return at_most // len(frame)


NOISE = {
    "PING": frames.frame(frames.PING, payload=b"12345678"),
    "SETTINGS": frames.settings({}),
    "WINDOW_UPDATE": frames.window_update(0, 1),
    "RST_STREAM": frames.rst_stream(1, frames.ErrorCode.CANCEL),
}


@pytest.mark.parametrize("frame", NOISE.values(), ids=NOISE)
def test_streams_that_were_given_up_excuse_no_flood(frame: bytes) -> None:
    """They let answers come late, and nothing else."""
    assert taken(connection(given_up=GIVEN_UP), frame) == LEFT_BYTES // len(frame)


def test_requests_excuse_no_flood() -> None:
    """Thousands of bodies, whose credit never came, allow only as much again."""
    protocol = connection(given_up=0, requests=5000)
    frame = NOISE["PING"]
    assert taken(protocol, frame) <= 2 * NOISE_BYTES_MAX // len(frame)


def test_empty_frames_of_streams_that_were_given_up_are_a_flood() -> None:
    """Each counts as a larger one: it is their number that costs time."""
    frame = frames.frame(frames.DATA, 0, 1)
    late = CONNECTION_WINDOW_BYTES // FRAME_BYTES_MIN
    assert taken(connection(given_up=GIVEN_UP), frame) == late + LEFT_BYTES // len(frame)


@pytest.mark.parametrize("frame_bytes", [1000, 16_384])
def test_answers_that_come_late_are_no_flood(frame_bytes: int) -> None:
    """A window of each stream that was given up may still be on its way, up to that of the connection."""
    protocol = connection(given_up=10)
    frame = frames.frame(frames.DATA, 0, 1, bytes(frame_bytes - frames.HEADER_BYTES))
    count = 10 * STREAM_WINDOW_BYTES // frame_bytes
    assert taken(protocol, frame, count * frame_bytes) == count


def test_headers_that_come_late_are_no_flood() -> None:
    """Of each stream that was given up the whole answer may come."""
    count = 10_000
    protocol = connection(given_up=count)
    status_200 = b"\x88"  # RFC 7541, appendix A
    for stream_id in range(1, 2 * count, 2):
        block = frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream_id, status_200)
        assert list(protocol.receive(block)) == []
