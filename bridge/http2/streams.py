"""State of each stream, and of the header block that is arriving. RFC 9113, section 5.1."""

from bridge.http2 import frames
from bridge.http2.events import ViolationError
from bridge.http2.frames import ErrorCode


class Stream:
    """A stream that is not over."""

    __slots__ = ("has_answer", "id", "interim_bytes", "is_ended", "is_sent", "received_bytes", "window_bytes")

    def __init__(self, stream_id: int, window_bytes: int, *, is_sent: bool) -> None:
        self.id = stream_id
        self.window_bytes = window_bytes
        """Number of bytes that may be sent; negative after the server has made it smaller (section 6.9.2)."""
        self.is_sent = is_sent
        """Our END_STREAM has been sent."""
        self.is_ended = False
        """The server's END_STREAM has come."""
        self.received_bytes = 0
        """Of our window, not yet given back."""
        self.interim_bytes = 0
        """Size of the informational answers so far."""
        self.has_answer = False
        """Its final headers are there."""


class HeaderBlock:
    """A header block that is not complete (section 4.3)."""

    __slots__ = ("ends_stream", "parts", "size_bytes", "stream_id")

    def __init__(self, stream_id: int, *, ends_stream: bool) -> None:
        self.stream_id = stream_id
        self.ends_stream = ends_stream
        self.parts: list[bytes] = []
        self.size_bytes = 0

    def add(self, part: bytes) -> None:
        """Take the next piece."""
        self.parts.append(part)
        self.size_bytes += len(part)


class Streams:
    """Streams of one connection, all opened by us, by their ids."""

    __slots__ = ("next_id", "open")

    def __init__(self) -> None:
        self.open: dict[int, Stream] = {}
        self.next_id = 1

    @property
    def left(self) -> int:
        """Number of streams that can still be opened before the ids are used up (section 5.1.1)."""
        return (frames.STREAM_ID_MAX - self.next_id) // 2 + 1

    def begin(self, window_bytes: int, *, is_sent: bool) -> int:
        """Open the next stream, of which one must be left, and return its id."""
        stream_id = self.next_id
        self.next_id += 2
        self.open[stream_id] = Stream(stream_id, window_bytes, is_sent=is_sent)
        return stream_id

    def find(self, stream_id: int) -> Stream | None:
        """Return a stream that the server may speak on; None where it is over. Others are a violation (section 5.1)."""
        stream = self.open.get(stream_id)
        if stream is None and (not stream_id % 2 or stream_id >= self.next_id):
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} is none of ours")
        return stream
