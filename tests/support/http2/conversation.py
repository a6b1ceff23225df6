"""A client's state machine in the middle of a conversation, and everything that comes of further bytes for it."""

from dataclasses import dataclass, field

from h2.errors import ErrorCodes
from hyperframe.frame import Frame, GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from bridge.http2.events import Event, ViolationError
from bridge.http2.frames import HEADER_BYTES, PAYLOAD_BYTES_MAX
from bridge.http2.protocol import ClientProtocol
from bridge.sandbox.wire import take_frames
from tests.support.http2 import frames as raw

REQUEST = ((b":method", b"POST"), (b":authority", b"wallet"), (b":scheme", b"http"), (b":path", b"/terminate"))
BODY = b"{}"
OPEN_STREAMS = (1, 3, 5)
"""The streams that a conversation begins with: requests are sent, answers have not begun."""
GREETING = raw.settings((0x3, 100))
"""The server's SETTINGS, with which a conversation begins."""


@dataclass
class Received:
    """What came of some bytes."""

    events: list[Event] = field(default_factory=list)
    violation: str | None = None
    said: bytes = b""
    """What the client is to send because of them."""


def conversation() -> ClientProtocol:
    """Return a client that has the server's SETTINGS and waits for the answers on OPEN_STREAMS."""
    client = ClientProtocol()
    assert listen(client, GREETING).violation is None
    for stream_id in OPEN_STREAMS:
        assert client.begin(REQUEST, has_body=True) == stream_id
        assert not client.send(stream_id, memoryview(BODY))
    client.outgoing()
    return client


def listen(client: ClientProtocol, *pieces: bytes) -> Received:
    """Feed these bytes, as a connection does: until a violation. Any other exception is the client's fault."""
    received = Received()
    try:
        for piece in pieces:
            for event in client.receive(piece):
                received.events.append(event)
            # Of what has arrived, no more is kept than one frame that is not complete.
            assert len(client._incoming) < HEADER_BYTES + PAYLOAD_BYTES_MAX  # no event shows it
    except ViolationError as violation:
        received.violation = str(violation)
    received.said = client.outgoing()
    return received


def frames_of(said: bytes) -> list[Frame]:
    """Parse what was said, without the preface, by hyperframe; it must end with a whole frame."""
    rest = bytearray(said)
    frames = [raw.parsed(each) for each in take_frames(rest)]
    assert not rest
    return frames


def in_words(frame: Frame) -> str:
    """Say what a frame of the client's means; only those with which it reacts have words of their own."""
    match frame:
        case RstStreamFrame():
            return f"RST_STREAM {frame.stream_id} {ErrorCodes(frame.error_code).name}"
        case GoAwayFrame():
            return f"GOAWAY {frame.last_stream_id} {ErrorCodes(frame.error_code).name}"
        case WindowUpdateFrame():
            return f"WINDOW_UPDATE {frame.stream_id} {frame.window_increment}"
        case PingFrame():
            return " ".join(["PING", *frame.flags, frame.opaque_data.hex()])
        case SettingsFrame():
            return " ".join(["SETTINGS", *frame.flags])
    return type(frame).__name__


def replies(received: Received) -> list[str]:
    """Return the client's frames that came of some bytes, in words."""
    return [in_words(each) for each in frames_of(received.said)]
