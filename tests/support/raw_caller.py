"""A caller that speaks HTTP/2 frame by frame: for calls that no gRPC library makes."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import hpack
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from bridge.sandbox.wire import take_frames
from tests.support.floods.attacks import PREFACE, opened
from tests.support.http2 import frames as h2


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
        self.answers_pings = True

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
            self._take(h2.parsed(frame))

    def _take(self, frame: Frame) -> None:
        match frame:
            case SettingsFrame() if "ACK" not in frame.flags:
                self.settings |= frame.settings
                if self.acknowledges:
                    self.send(h2.frame(h2.SETTINGS, h2.ACK))
            case PingFrame() if "ACK" in frame.flags:
                self.pongs += 1
            case PingFrame() if self.answers_pings:
                self.send(h2.frame(h2.PING, h2.ACK, payload=frame.opaque_data))
            case GoAwayFrame():
                self.goaway = frame.error_code
            case HeadersFrame() | DataFrame() | RstStreamFrame():
                self._answered(frame, self.answers.setdefault(frame.stream_id, Answer()))

    def _answered(self, frame: HeadersFrame | DataFrame | RstStreamFrame, answer: Answer) -> None:
        answer.is_over |= isinstance(frame, RstStreamFrame) or "END_STREAM" in frame.flags
        match frame:
            case HeadersFrame():
                answer.headers |= {str(name): str(value) for name, value in self._decoder.decode(frame.data)}
            case DataFrame():
                answer.body += frame.data
            case RstStreamFrame():
                answer.reset = frame.error_code


@asynccontextmanager
async def raw_caller(address: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawCaller]:
    """Open a connection to "host:port" and send the preface."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=tls)
    caller = RawCaller(reader, writer)
    caller.send(PREFACE, h2.settings())
    try:
        yield caller
    finally:
        writer.transport.abort()
