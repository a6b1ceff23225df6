"""A caller that speaks HTTP/2 frame by frame: for calls that no gRPC library makes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import hpack

from bridge.sandbox.wire import take_frames
from tests.support.floods.attacks import PREFACE, opened
from tests.support.http2 import frames as h2

GOAWAY_CODE = slice(4, 8)

Fields = tuple[tuple[str, str], ...]
"""Further headers of a call."""


@dataclass
class Answer:
    """What came back on a stream."""

    headers: dict[str, str] = field(default_factory=dict)
    """Headers and trailers together."""
    body: bytes = b""
    reset: int | None = None
    """The code of a RST_STREAM."""
    is_over: bool = False


class RawCaller:
    """One connection in plaintext."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._decoder = hpack.Decoder()
        self._buffer = bytearray()
        self.settings: dict[int, int] = {}
        self.answers: dict[int, Answer] = {}
        self.pongs = 0
        self.goaway: int | None = None
        """The code of a GOAWAY."""
        self.is_closed = False
        self.acknowledges = True
        """Whether it acknowledges the bridge's SETTINGS."""

    def send(self, *frames: bytes) -> None:
        """Put these on the wire."""
        self._writer.write(b"".join(frames))

    def call(
        self, path: str, body: bytes, *, stream_id: int = 1, ends: bool = True, more: tuple[tuple[str, str], ...] = ()
    ) -> None:
        """Begin a call; `ends`: whether its stream ends with these bytes."""
        self.send(opened(path, *more, payload=body, ends=ends)(stream_id))

    async def answer(self, stream_id: int = 1) -> Answer:
        """Wait until a stream has ended, or the connection."""
        while not self.answers.get(stream_id, Answer()).is_over and not self.is_closed:
            await self.read()
        return self.answers.get(stream_id, Answer())

    async def read(self) -> None:
        """Wait for bytes and take them in."""
        try:
            received = await self._reader.read(2**16)
        except OSError:
            received = b""
        self.is_closed = not received
        self._buffer += received
        for frame in take_frames(self._buffer):
            self._take(frame[3], frame[4], int.from_bytes(frame[5:9]), frame[9:])

    def _take(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == h2.SETTINGS and not flags & h2.ACK:
            entries = [payload[start : start + 6] for start in range(0, len(payload), 6)]
            self.settings |= {int.from_bytes(entry[:2]): int.from_bytes(entry[2:]) for entry in entries}
            if self.acknowledges:
                self.send(h2.frame(h2.SETTINGS, h2.ACK))
        elif kind == h2.PING:
            self._pong(flags, payload)
        elif kind == h2.GOAWAY:
            self.goaway = int.from_bytes(payload[GOAWAY_CODE])
        elif kind in {h2.HEADERS, h2.DATA, h2.RST_STREAM}:
            answer = self.answers.setdefault(stream_id, Answer())
            answer.is_over |= kind == h2.RST_STREAM or bool(flags & h2.END_STREAM)
            if kind == h2.HEADERS:
                answer.headers |= {str(name): str(value) for name, value in self._decoder.decode(payload)}
            elif kind == h2.DATA:
                answer.body += payload
            else:
                answer.reset = int.from_bytes(payload)

    def _pong(self, flags: int, payload: bytes) -> None:
        if flags & h2.ACK:
            self.pongs += 1
        else:
            self.send(h2.frame(h2.PING, h2.ACK, payload=payload))


@asynccontextmanager
async def raw_caller(address: str) -> AsyncIterator[RawCaller]:
    """Open a connection to "host:port" and send the preface."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    caller = RawCaller(reader, writer)
    caller.send(PREFACE, h2.settings())
    try:
        yield caller
    finally:
        writer.transport.abort()
