"""Our ClientProtocol and a server of h2's, each with a record of its bytes, and the bytes between them."""

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from h2 import events as h2_events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from bridge.http2 import events
from bridge.http2.protocol import ClientProtocol
from bridge.sandbox.wire import FRAME_HEADER_BYTES, PREFACE, take_frames
from tests.support.http2 import frames as raw

Fields = list[tuple[bytes, bytes]]

NOISE = random.Random(0).randbytes(400_000)  # noqa: S311 - bytes that differ at every place, no secret
"""Bodies are pieces of it: one that is shifted, or another's, is not equal."""


@dataclass
class Message:
    """What one side has said on a stream, or the other has received."""

    headers: Fields
    body: bytearray = field(default_factory=bytearray)
    is_ended: bool = False


class ClientEnd:
    """A ClientProtocol, driven as `bridge.http2.connection` does it."""

    def __init__(self) -> None:
        self.protocol = ClientProtocol()
        self.requests: dict[int, Message] = {}
        self.answers: dict[int, Message] = {}
        self.unsent: dict[int, memoryview] = {}
        self.open: set[int] = set()
        """Streams whose answer is still waited for."""
        self.resets: dict[int, int] = {}
        """Streams that we have reset, with their codes."""
        self.reset_by_server: dict[int, int] = {}
        self.disowned: set[int] = set()
        self.takes_streams = True
        self.pings = self.pongs = 0
        self.said = bytearray()
        """Everything so far, with the preface."""

    def request(self, headers: Fields, body: bytes) -> None:
        """Open a stream, and send what the windows allow."""
        stream_id = self.protocol.begin(tuple(headers), has_body=bool(body))
        self.requests[stream_id] = Message(headers, bytearray(body), is_ended=True)
        self.open.add(stream_id)
        self._send(stream_id, memoryview(body))

    def reset(self, stream_id: int, error_code: int) -> None:
        """Give a stream up."""
        self._forget(stream_id)
        self.resets[stream_id] = error_code
        self.protocol.reset(stream_id, error_code)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.pings += 1
        self.protocol.ping()

    def outgoing(self) -> bytes:
        """Return what is to be sent now."""
        data = self.protocol.outgoing()
        self.said += data
        return data

    def take(self, data: bytes) -> None:
        """Act on these bytes. An event of a stream that is over is a mistake, and so is a violation."""
        for event in self.protocol.receive(data):
            match event:
                case events.AnswerBegun(stream_id, status, headers):
                    assert stream_id in self.open
                    assert stream_id not in self.answers
                    self.answers[stream_id] = Message([(b":status", b"%d" % status), *headers])
                case events.BodyReceived(stream_id, piece):
                    assert stream_id in self.open
                    assert piece
                    self.answers[stream_id].body += piece
                case events.AnswerEnded(stream_id):
                    self._ended(stream_id)
                case events.StreamReset(stream_id, error_code):
                    assert stream_id in self.open
                    self._forget(stream_id)
                    self.reset_by_server[stream_id] = error_code
                case events.GoingAway(last_stream_id, _):
                    self._going_away(last_stream_id)
                case events.SettingsReceived() | events.WindowOpened():
                    for stream_id, rest in list(self.unsent.items()):
                        self._send(stream_id, rest)
                case events.PongReceived():
                    self.pongs += 1

    def _send(self, stream_id: int, body: memoryview) -> None:
        self.unsent[stream_id] = self.protocol.send(stream_id, body)
        if not self.unsent[stream_id]:
            del self.unsent[stream_id]

    def _ended(self, stream_id: int) -> None:
        assert stream_id in self.open
        self.answers[stream_id].is_ended = True
        if stream_id in self.unsent:
            self.reset(stream_id, 0)
        self._forget(stream_id)

    def _going_away(self, last_stream_id: int) -> None:
        self.takes_streams = False
        for stream_id in [each for each in self.open if each > last_stream_id]:
            self._forget(stream_id)
            self.disowned.add(stream_id)

    def _forget(self, stream_id: int) -> None:
        self.open.discard(stream_id)
        self.unsent.pop(stream_id, None)


@dataclass(frozen=True)
class Style:
    """How a server writes its header blocks, beyond what h2 can say."""

    piece_bytes: int = 16_000
    """A block is cut into frames of so many bytes."""
    padding: int | None = None
    has_priority: bool = False
    has_grease: bool = False
    """A frame of an unknown type, with an unknown flag, before every other."""


class ServerEnd:
    """A server of h2's. Credit for what it received is given only when it is asked to."""

    def __init__(self) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False))
        self.style = Style()
        self.requests: dict[int, Message] = {}
        self.answers: dict[int, Message] = {}
        self.resets: dict[int, int] = {}
        """Streams that the server has reset, with their codes."""
        self.reset_by_client: dict[int, int] = {}
        self.last_stream_id = 2**31 - 1
        self.received: Counter[str] = Counter()
        """How often each kind of event came that is about the connection."""
        self.settings_sent = 1
        self.pings = 0
        self._around = bytearray()
        self._incoming = bytearray()
        self._preface_missing_bytes = len(PREFACE)
        self.h2.initiate_connection()

    def open(self) -> set[int]:
        """Return the streams on which the server may say something."""
        return {each for each in self.requests if each <= self.last_stream_id and not self._is_over(each)}

    def incomplete(self) -> set[int]:
        """Return the open streams whose requests are not here to the end."""
        return {each for each in self.open() if not self.requests[each].is_ended}

    def answer(self, stream_id: int, headers: Fields, *, ends: bool) -> None:
        """Begin an answer."""
        self.h2.send_headers(stream_id, headers, end_stream=ends)
        self.answers[stream_id] = Message(headers, is_ended=ends)

    def data(self, stream_id: int, size: int, padding: int | None, *, ends: bool) -> None:
        """Send so many bytes of a body, or as many as the windows allow, in frames of the largest size."""
        message = self.answers[stream_id]
        extra = 0 if padding is None else padding + 1
        while True:
            room = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size) - extra
            piece = NOISE[len(message.body) : len(message.body) + max(0, min(size, room))]
            size -= len(piece)
            is_last = not size or not piece
            if room >= 0:
                self.h2.send_data(stream_id, piece, end_stream=ends and is_last, pad_length=padding)
                message.body += piece
                message.is_ended = ends and is_last
            if is_last:
                return

    def credit(self, stream_id: int, size_bytes: int) -> None:
        """Open the window of a stream, or with 0 that of the connection."""
        self.h2.increment_flow_control_window(size_bytes, stream_id or None)

    def change_settings(self, settings: dict[SettingCodes | int, int]) -> None:
        """Send SETTINGS: always the same, or h2 confuses which of them an ACK is for when several are on the way."""
        self.settings_sent += 1
        self.h2.update_settings(settings)

    def change_style(self, style: Style) -> None:
        """Write header blocks in another way from now on."""
        self.style = style

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.pings += 1
        self.h2.ping(self.pings.to_bytes(8))

    def goaway(self, last_stream_id: int) -> None:
        """Say GOAWAY, around h2, which would take that for the end; later streams are ignored."""
        self.last_stream_id = min(self.last_stream_id, last_stream_id)
        self._around += GoAwayFrame(0, last_stream_id=last_stream_id).serialize()

    def outgoing(self) -> bytes:
        """Return what is to be sent now, in the server's style."""
        said = bytearray(self.h2.data_to_send())
        styled = b"".join(restyled(frame, self.style) for frame in take_frames(said)) + bytes(self._around)
        self._around.clear()
        return styled

    def take(self, data: bytes) -> None:
        """Act on these bytes; h2 raises where the client breaks the protocol.

        Frame by frame: h2 would check all frames in one piece by the settings from before it.
        """
        self._incoming += data
        preface = bytes(self._incoming[: self._preface_missing_bytes])
        del self._incoming[: len(preface)]
        self._preface_missing_bytes -= len(preface)
        for frame in (preface, *take_frames(self._incoming)):
            for event in self.h2.receive_data(frame):
                self._act(event)

    def _act(self, event: Any) -> None:
        match event:
            case h2_events.RequestReceived():
                self.requests[event.stream_id] = Message([(bytes(name), bytes(value)) for name, value in event.headers])
            case h2_events.DataReceived():
                self.requests[event.stream_id].body += event.data
            case h2_events.StreamEnded():
                self.requests[event.stream_id].is_ended = True
            case h2_events.StreamReset(remote_reset=True):
                self.reset_by_client[event.stream_id] = int(event.error_code)
            case _:
                self.received[type(event).__name__] += 1

    def _is_over(self, stream_id: int) -> bool:
        is_ended = stream_id in self.answers and self.answers[stream_id].is_ended
        return is_ended or stream_id in self.resets or stream_id in self.reset_by_client


def restyled(frame: bytes, style: Style) -> bytes:
    """Write a frame of a server's in this style: what it means stays the same."""
    grease = raw.frame(0xFA, 0xFF, 0, b"grease") if style.has_grease else b""
    kind, flags, stream_id, payload = frame[3], frame[4], int.from_bytes(frame[5:9]), frame[FRAME_HEADER_BYTES:]
    if kind != raw.HEADERS or not flags & raw.END_HEADERS:
        return grease + frame
    pieces = [payload[at : at + style.piece_bytes] for at in range(0, len(payload), style.piece_bytes)]
    first = pieces[0]
    if style.has_priority:
        flags, first = flags | raw.PRIORITY_FLAG, bytes.fromhex("0000000010") + first
    if style.padding is not None:
        flags, first = flags | raw.PADDED, bytes((style.padding,)) + first + bytes(style.padding)
    if len(pieces) == 1:
        return grease + raw.frame(kind, flags, stream_id, first)
    parts = [raw.frame(kind, flags & ~raw.END_HEADERS, stream_id, first)]
    parts += [raw.frame(raw.CONTINUATION, 0, stream_id, piece) for piece in pieces[1:-1]]
    return grease + b"".join(parts) + raw.frame(raw.CONTINUATION, raw.END_HEADERS, stream_id, pieces[-1])
