"""What the state machine keeps of each stream, and of the header block that is just arriving. RFC 9113, section 5.1."""


class Stream:
    """A stream that is not over."""

    __slots__ = ("has_answer", "id", "is_sent", "received_bytes", "window_bytes")

    def __init__(self, stream_id: int, window_bytes: int, *, is_sent: bool) -> None:
        self.id = stream_id
        self.window_bytes = window_bytes
        """How much may be sent; negative after the server has made it smaller (section 6.9.2)."""
        self.is_sent = is_sent
        """Our END_STREAM has been sent."""
        self.received_bytes = 0
        """Of our window, not yet given back."""
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
