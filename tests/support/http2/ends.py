"""An end of a connection, with a record; and a server of h2's, with a style of its own."""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from h2 import events as h2_events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes
from hpack import NeverIndexedHeaderTuple

from bridge.sandbox.wire import FRAME_HEADER_BYTES, PREFACE, take_frames
from tests.support.http2 import frames as raw

Fields = list[tuple[bytes, bytes]]

NOISE = random.Random(0).randbytes(400_000)  # noqa: S311 - bytes that differ at every place, no secret
"""Bodies are pieces of it: one that is shifted, or another's, is not equal."""
FIELDS: dict[str, tuple[bytes, bytes]] = {
    "type": (b"content-type", b"application/json"),
    "signature": (b"x-request-signature", b"0" * 64),
    "authorization": NeverIndexedHeaderTuple(b"authorization", b"Basic x"),
    "date": (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
    "empty": (b"x-empty", b""),
    "any byte": (b"x-any", bytes(range(0x80, 0x100))),
    "3000": (b"x-long", b"v" * 3000),
    "5000": (b"x-longer", b"w" * 5000),
    "20000": (b"x-longest", b"x" * 20_000),
}
ODD_FIELDS: dict[str, tuple[bytes, bytes]] = {
    "length": (b"content-length", b"3"),
    "long length": (b"content-length", b"9" * 5000),
    "te": (b"te", b"trailers"),
    "te: gzip": (b"te", b"gzip"),
    "connection": (b"connection", b"close"),
    "case": (b"X-Case", b"y"),
    "space": (b"x-space", b" y"),
    "line": (b"x-line", b"y\nz"),
    "path": (b":path", b"/"),
    "status": (b":status", b"200"),
    "no name": (b"", b"y"),
}


def named(names: Iterable[str]) -> Fields:
    """Return the fields of these names."""
    return [(FIELDS | ODD_FIELDS)[name] for name in names]


@dataclass
class Message:
    """What one side has said on a stream, or the other has received."""

    headers: Fields
    body: bytearray = field(default_factory=bytearray)
    is_ended: bool = False


class End:
    """One end of a connection."""

    def __init__(self) -> None:
        self.requests: dict[int, Message] = {}
        self.answers: dict[int, Message] = {}
        self.resets: dict[int, int] = {}
        """Streams that this end has reset, with their codes."""
        self.reset_by_peer: dict[int, int] = {}
        self.pings = 0
        self.on_its_way = bytearray()
        """Bytes that the other end has sent and that have not arrived."""

    def arrived(self, share: int) -> bytes:
        """Take a share of the bytes that are on their way, in percent and rounded up."""
        size = -(-len(self.on_its_way) * share // 100)
        data = bytes(self.on_its_way[:size])
        del self.on_its_way[:size]
        return data


@dataclass(frozen=True)
class Style:
    """How a server writes its frames, beyond what h2 can say."""

    piece_bytes: int = 16_000
    """A header block is cut into frames of so many bytes."""
    padding: int | None = None
    """Of header blocks."""
    has_priority: bool = False
    has_grease: bool = False
    """A frame of an unknown type, with an unknown flag, before every other."""
    odd_flags: int = 0
    """Flags of headers and data that are the opposite of what they should be."""
    odd_stream_id: int | None = None
    """Stream to which all headers and data go."""

    def applied(self, frame: bytes) -> bytes:
        """Write a frame of h2's in this style; if nothing of it is odd, what the frame means stays the same."""
        grease = raw.frame(0xFA, 0xFF, 0, b"grease") if self.has_grease else b""
        kind, flags, stream_id, payload = frame[3], frame[4], int.from_bytes(frame[5:9]), frame[FRAME_HEADER_BYTES:]
        if kind not in {raw.HEADERS, raw.DATA}:
            return grease + frame
        flags ^= self.odd_flags
        stream_id = self.odd_stream_id or stream_id
        if kind == raw.DATA:
            return grease + raw.frame(kind, flags, stream_id, payload)
        return grease + self._block(flags & ~raw.END_HEADERS, stream_id, payload)

    def _block(self, flags: int, stream_id: int, block: bytes) -> bytes:
        first, *rest = [block[at : at + self.piece_bytes] for at in range(0, len(block), self.piece_bytes)]
        if self.has_priority:
            flags, first = flags | raw.PRIORITY_FLAG, raw.NO_PRIORITY + first
        if self.padding is not None:
            flags, first = flags | raw.PADDED, bytes((self.padding,)) + first + bytes(self.padding)
        parts = [(raw.HEADERS, flags, first), *((raw.CONTINUATION, 0, piece) for piece in rest)]
        kind, flags, last = parts.pop()
        parts.append((kind, flags | raw.END_HEADERS, last))
        return b"".join(raw.frame(kind, flags, stream_id, piece) for kind, flags, piece in parts)


class ServerEnd(End):
    """A server of h2's, which says odd headers, too. Credit for what it received is given only when it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        config = H2Configuration(client_side=False, validate_outbound_headers=False, normalize_outbound_headers=False)
        self.h2 = H2Connection(config)
        self.style = Style()
        self.last_stream_id = 2**31 - 1
        self.received: Counter[str] = Counter()
        """How often each kind of event came that is about the connection."""
        self.settings_sent = 1
        self._around = b""
        self._incoming = bytearray()
        self.h2.initiate_connection()

    @property
    def open(self) -> set[int]:
        """The streams on which the server may say something."""
        ended = {each for each, answer in self.answers.items() if answer.is_ended}
        over = ended | self.resets.keys() | self.reset_by_peer.keys()
        return {each for each in self.requests.keys() - over if each <= self.last_stream_id}

    @property
    def incomplete(self) -> set[int]:
        """The open streams whose requests are not here to the end."""
        return {each for each in self.open if not self.requests[each].is_ended}

    def headers(self, stream_id: int, status: bytes, fields: list[str], *, ends: bool) -> None:
        """Send informational headers or the final ones, depending on the status; or trailers, which end the answer."""
        headers = [(b":status", status), *named(fields)]
        if stream_id in self.answers:
            headers, ends = headers[1:] or [(b"x-trailer", b"1")], True
            self.answers[stream_id].is_ended = True
        elif status.startswith(b"1"):
            ends = False
        else:
            self.answers[stream_id] = Message(headers, is_ended=ends)
        self.h2.send_headers(stream_id, headers, end_stream=ends)

    def data(self, stream_id: int, size: int, padding: int | None, *, ends: bool) -> None:
        """Send so many bytes of a body, or as many as the windows allow, in frames of the largest size.

        Where no answer has begun, this begins it.
        """
        if stream_id not in self.answers:
            self.headers(stream_id, b"200", [], ends=False)
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

    def reset(self, stream_id: int, error_code: int) -> None:
        """Give a stream up."""
        self.h2.reset_stream(stream_id, error_code)
        self.resets[stream_id] = error_code

    def credit(self, stream_id: int, size: int) -> None:
        """Open the window of a stream, or with 0 that of the connection."""
        self.h2.increment_flow_control_window(size, stream_id or None)

    def change_settings(self, settings: dict[SettingCodes | int, int]) -> None:
        """Send SETTINGS: always the same, or h2 confuses which of them an ACK is for when several are on the way."""
        self.settings_sent += 1
        self.h2.update_settings(settings)

    def change_style(self, style: Style) -> None:
        """Write frames in another way from now on."""
        self.style = style

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.pings += 1
        self.h2.ping(self.pings.to_bytes(8))

    def go_away(self, stream_id: int, *, is_graceful: bool) -> None:
        """Say GOAWAY after this stream, or first, gracefully, after all that there can be; later ones are ignored.

        Around h2, which would take that for the end.
        """
        last_stream_id = 2**31 - 1 if is_graceful else stream_id
        self.last_stream_id = min(self.last_stream_id, last_stream_id)
        self.say(raw.goaway(last_stream_id))

    def say(self, frame: bytes) -> None:
        """Send a frame that h2 does not learn of."""
        self._around += frame

    def outgoing(self) -> bytes:
        """Return what is to be sent now, in the server's style."""
        said = bytearray(self.h2.data_to_send())
        styled = b"".join(map(self.style.applied, take_frames(said))) + self._around
        self._around = b""
        return styled

    def take(self, share: int = 100) -> None:
        """Act on a share of what is on its way; h2 raises where the client breaks the protocol.

        Frame by frame: h2 would check all frames in one piece by the settings from before it.
        """
        self._incoming += self.arrived(share)
        preface = PREFACE if self._incoming.startswith(PREFACE) else b""
        del self._incoming[: len(preface)]
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
                self.reset_by_peer[event.stream_id] = int(event.error_code)
            case _:
                self.received[type(event).__name__] += 1
