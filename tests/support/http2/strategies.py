"""Bytes that a server might send in the middle of a conversation (see conversation), as Hypothesis strategies."""

from collections.abc import Callable

import hpack
from hypothesis import strategies as st

from bridge.http2.protocol import PING_PAYLOAD
from tests.support.http2 import frames as raw
from tests.support.http2 import vectors
from tests.support.http2.conversation import OPEN_STREAMS

STATUSES = st.sampled_from(("200", "200", "204", "404", "599"))
ODD_STATUSES = st.sampled_from(("100", "101", "600", "099", "1", "20", "2000", "²00", ""))
FIELDS = st.sampled_from(
    (
        ("content-type", "application/json"),
        ("content-length", "3"),
        ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ("x-long", "v" * 1000),
        ("x-secret", "s"),
        ("x-empty", ""),
    )
)
ODD_FIELDS = st.sampled_from(
    (
        ("te", "trailers"),
        ("te", "gzip"),
        ("connection", "close"),
        ("content-length", "9" * 5000),
        ("X-Case", "y"),
        ("x-space", " y"),
        ("x-line", "y\nz"),
        (":path", "/"),
        (":status", "200"),
        ("", "y"),
    )
)
HEADER_FIELDS = FIELDS | ODD_FIELDS | st.tuples(st.just(":status"), STATUSES | ODD_STATUSES)
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
PINGS = st.sampled_from((PING_PAYLOAD, b"12345678"))
CONVERSATIONS = st.lists(st.sampled_from(vectors.names()), min_size=1, max_size=3).map(
    lambda names: b"".join(map(vectors.read, names))
)


@st.composite
def mutated(draw: st.DrawFn, conversations: st.SearchStrategy[bytes]) -> bytes:
    """Overwrite, cut, duplicate or insert something in a few places of a conversation, or of any bytes."""
    data = draw(conversations)
    for _ in range(draw(st.integers(1, 4))):
        start, size = draw(st.integers(0, len(data))), draw(st.integers(0, 12))
        piece, rest = data[start : start + size], data[start + size :]
        new = draw(st.sampled_from((b"", piece * 2)) | st.binary(min_size=len(piece), max_size=len(piece) + 2))
        data = data[:start] + new + rest
    return data


SMALL = st.integers(0, 2000)


class Speaker:
    """Says what a server may say on its streams, in order; now and then something is odd."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._encoder = hpack.Encoder()
        self._begun: set[int] = set()
        self._over: set[int] = set()
        self._actions: list[Callable[[int], bytes]] = [
            self._block,
            self._block,
            self._data,
            self._data,
            lambda stream_id: raw.frame(raw.PRIORITY, 0, stream_id, b"\0\0\0\0\x10"),
            lambda stream_id: raw.frame(raw.WINDOW_UPDATE, 0, stream_id, draw(st.integers(1, 2**31 - 1)).to_bytes(4)),
            lambda _: raw.frame(raw.WINDOW_UPDATE, 0, 0, draw(st.integers(1, 2**20)).to_bytes(4)),
            lambda _: raw.settings((draw(st.sampled_from((1, 3, 4, 6, 99))), draw(st.integers(0, 2**20)))),
            lambda _: raw.frame(raw.PING, draw(st.sampled_from((0, raw.ACK))), 0, draw(PINGS)),
            lambda _: raw.frame(0xFA, draw(st.integers(0, 255)), draw(st.integers(0, 99)), b"grease"),
            lambda _: raw.goaway(draw(st.sampled_from((5, 2**31 - 1)))),
            self._reset,
        ]

    def say(self) -> bytes:
        """Return the next thing."""
        streams = [each for each in OPEN_STREAMS if each not in self._over] or list(OPEN_STREAMS)
        stream_id = self._draw(st.sampled_from(OPEN_STREAMS if self._is_odd() else streams))
        return self._draw(st.sampled_from(self._actions))(stream_id)

    def _is_odd(self) -> bool:
        return self._draw(st.integers(0, 19)) == 0

    def _block(self, stream_id: int) -> bytes:
        """Return informational, final or trailing headers."""
        fields = self._draw(st.lists(FIELDS, max_size=4))
        is_informational = stream_id not in self._begun and self._draw(st.integers(0, 3)) == 0
        ends = (stream_id in self._begun or self._draw(st.booleans())) and not is_informational
        if stream_id not in self._begun or self._is_odd():
            status = self._draw(ODD_STATUSES if self._is_odd() else STATUSES)
            fields = [(":status", "103" if is_informational else status), *fields]
        if self._is_odd():
            fields = [*fields, self._draw(ODD_FIELDS)]
        if not is_informational:
            self._begun.add(stream_id)
        if ends:
            self._over.add(stream_id)
        block = self._encoder.encode(fields, huffman=self._draw(st.booleans()))
        return self._framed(stream_id, block, self._draw(st.sampled_from((1, 50, 16_000))), ends=ends ^ self._is_odd())

    def _data(self, stream_id: int) -> bytes:
        """Return a piece of a body; of an answer that has not begun, its beginning."""
        if stream_id not in self._begun and not self._is_odd():
            return self._block(stream_id)
        ends = self._draw(st.booleans())
        if ends:
            self._over.add(stream_id)
        flags, payload = self._padded(raw.END_STREAM if ends else 0, b"d" * self._draw(SMALL))
        return raw.frame(raw.DATA, flags, stream_id, payload)

    def _reset(self, stream_id: int) -> bytes:
        self._over.add(stream_id)
        return raw.frame(raw.RST_STREAM, 0, stream_id, self._draw(st.integers(0, 13)).to_bytes(4))

    def _framed(self, stream_id: int, block: bytes, piece_bytes: int, *, ends: bool) -> bytes:
        """Cut a header block into HEADERS, maybe with padding and a priority, and at most 20 CONTINUATION frames."""
        size = max(piece_bytes, -(-len(block) // 20), 1)
        first, *rest = [block[at : at + size] for at in range(0, len(block), size)] or [b""]
        flags = (raw.END_STREAM if ends else 0) | (0 if rest else raw.END_HEADERS)
        if self._draw(st.booleans()):
            flags, first = flags | raw.PRIORITY_FLAG, b"\0\0\0\0\x10" + first
        flags, first = self._padded(flags, first)
        frames = raw.frame(raw.HEADERS, flags, stream_id, first)
        for number, piece in enumerate(rest, 1):
            frames += raw.frame(raw.CONTINUATION, raw.END_HEADERS if number == len(rest) else 0, stream_id, piece)
        return frames

    def _padded(self, flags: int, payload: bytes) -> tuple[int, bytes]:
        """Return flags and payload of a frame, maybe with padding."""
        padding = self._draw(st.none() | st.integers(0, 255))
        if padding is None:
            return flags, payload
        return flags | raw.PADDED, bytes((padding,)) + payload + bytes(padding)


@st.composite
def speeches(draw: st.DrawFn) -> bytes:
    """Return what a server might say after three requests."""
    speaker = Speaker(draw)
    return b"".join(speaker.say() for _ in range(draw(st.integers(1, 25))))


ANY_BYTES = st.one_of(st.lists(FRAMES, max_size=8).map(b"".join), mutated(CONVERSATIONS), st.binary(max_size=100))
SPEECHES = speeches() | mutated(speeches())
"""Almost or wholly right; with a table of HPACK's that all header blocks share."""
