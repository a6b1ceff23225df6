"""A client's state machine in the middle of a conversation, and everything that comes of further bytes for it."""

from dataclasses import dataclass, field

import http2_frames as raw
from bridge.http2.protocol import FRAME_BYTES_MAX, FRAME_HEADER_BYTES, ClientProtocol, Event, ViolationError

REQUEST = ((b":method", b"POST"), (b":authority", b"wallet"), (b":scheme", b"http"), (b":path", b"/terminate"))
BODY = b"{}"
OPEN_STREAMS = (1, 3, 5)
"""The streams that a conversation begins with: requests are sent, answers have not begun."""


@dataclass
class Heard:
    """What came of some bytes."""

    events: list[Event] = field(default_factory=list)
    violation: str | None = None
    said: bytes = b""
    """What the client wants to send because of them."""


def conversation() -> ClientProtocol:
    """Return a client that has the server's SETTINGS and waits for the answers on OPEN_STREAMS."""
    client = ClientProtocol()
    assert listen(client, raw.settings((0x3, 100))).violation is None
    for stream_id in OPEN_STREAMS:
        assert client.begin(REQUEST, has_body=True) == stream_id
        assert not client.send(stream_id, memoryview(BODY))
    client.outgoing()
    return client


def listen(client: ClientProtocol, *pieces: bytes) -> Heard:
    """Feed these bytes, as a connection does: until a violation. Any other exception is the client's fault."""
    heard = Heard()
    try:
        for piece in pieces:
            for event in client.receive(piece):
                heard.events.append(event)
            # Of what has arrived, no more is kept than one frame that is not complete.
            assert len(client._incoming) < FRAME_HEADER_BYTES + FRAME_BYTES_MAX  # no event shows it
    except ViolationError as violation:
        heard.violation = str(violation)
    heard.said = client.outgoing()
    return heard
