"""The client's side of HTTP/2 as a state machine: bytes in, events out, no I/O and no clock. RFC 9113.

There are two kinds of protocol error. An error of one stream resets it, and the others go on; a violation
that leaves the connection's state in doubt closes it (section 5.4). A stream that is over is forgotten: what still
arrives for it is processed as far as the connection needs that, and dropped (section 5.1, "closed"). `answers` has the
frames of answers, `given_up` the abandoned streams.
"""

from collections.abc import Callable, Iterator
from typing import NoReturn

from bridge.headers import Headers
from bridge.http2 import frames, hpack
from bridge.http2.answers import Answers
from bridge.http2.events import (
    Event,
    Events,
    GoingAway,
    PongReceived,
    SettingsReceived,
    StreamReset,
    ViolationError,
    WindowOpened,
)
from bridge.http2.flood_guard import Noise
from bridge.http2.frames import HEADER_BYTES, ErrorCode, Setting, read_header
from bridge.http2.given_up import GivenUp
from bridge.http2.limits import CONNECTION_WINDOW_BYTES, HEADERS_BYTES_MAX, STREAM_WINDOW_BYTES
from bridge.http2.reset_budget import ResetBudget
from bridge.http2.streams import Streams

CREDIT_BYTES = 2 * (frames.HEADER_BYTES + 4)
"""Frames that may answer a DATA frame of ours: a WINDOW_UPDATE for the stream and one for the connection."""

OUR_SETTINGS = {
    Setting.ENABLE_PUSH: 0,
    Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
    Setting.MAX_HEADER_LIST_SIZE: HEADERS_BYTES_MAX,
}

PING_PAYLOAD = b"wallet?!"


class ClientProtocol:
    """One connection's state. Frames to send are collected until `outgoing` is called.

    `resets` has the clock that this module does without.
    """

    def __init__(self, resets: ResetBudget | None = None) -> None:
        self.streams_max = frames.STREAMS_UNLIMITED
        """Number of streams that the server allows at once."""
        self._streams = Streams()
        self._window_bytes = frames.WINDOW_BYTES_DEFAULT
        self._stream_window_bytes = frames.WINDOW_BYTES_DEFAULT
        self._payload_bytes_max = frames.PAYLOAD_BYTES_MAX
        self._table_size = hpack.NO_TABLE
        self._incoming = b""
        self._noise = Noise(CONNECTION_WINDOW_BYTES)
        self._has_settings = False
        self._is_closed = False
        self._outgoing: list[bytes | memoryview] = [
            frames.PREFACE,
            frames.settings(OUR_SETTINGS),
            frames.window_update(0, CONNECTION_WINDOW_BYTES - frames.WINDOW_BYTES_DEFAULT),
        ]
        self._given_up = GivenUp(resets or ResetBudget(), self._noise, self._outgoing)
        self._answers = Answers(self._streams, self._given_up, self._noise, self._outgoing)
        self._actions: dict[int, Callable[[int, int, bytes], Events]] = {
            frames.DATA: self._answers.on_data,
            frames.HEADERS: self._answers.on_headers,
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_rst_stream,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._answers.on_continuation,
        }

    # --- what we send ---------------------------------------------------------------------------------------------

    def outgoing(self) -> bytes:
        """Return what is to be sent now."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    @property
    def has_outgoing(self) -> bool:
        """Whether there is something to be sent."""
        return bool(self._outgoing)

    @property
    def next_stream_id(self) -> int:
        """The id of the stream that `begin` opens next."""
        return self._streams.next_id

    @property
    def streams_left(self) -> int:
        """Number of streams that can still be opened before the ids are used up (section 5.1.1)."""
        return self._streams.left

    def begin(self, headers: Headers, *, has_body: bool) -> int:
        """Open a stream with these headers, pseudo-headers first, and return its id; one must be left."""
        # First of all: headers that cannot be encoded change nothing.
        block = self._table_size + hpack.encode(headers)
        stream_id = self._streams.begin(self._stream_window_bytes, is_sent=not has_body)
        self._table_size = b""
        flags = 0 if has_body else frames.END_STREAM
        self._outgoing.append(frames.headers(stream_id, block, flags, self._payload_bytes_max))
        return stream_id

    def send(self, stream_id: int, body: memoryview) -> memoryview:
        """Send as much of a body as the windows allow, ending the stream with its last byte; return what is left."""
        stream = self._streams.open.get(stream_id)
        while body and stream is not None:
            size = min(stream.window_bytes, self._window_bytes, self._payload_bytes_max, len(body))
            if size <= 0:
                break
            stream.is_sent = size == len(body)
            flags = frames.END_STREAM if stream.is_sent else 0
            self._outgoing += (frames.frame_header(size, frames.DATA, flags, stream_id), body[:size])
            stream.window_bytes -= size
            self._window_bytes -= size
            self._noise.allow(CREDIT_BYTES)
            body = body[size:]
        return body

    @property
    def given_up(self) -> int:
        """Number of abandoned streams that the server still holds open."""
        return len(self._given_up)

    def give_up(self, stream_id: int, error_code: int) -> None:
        """Give up a stream: reset it, or leave it to end by itself beyond the budget; nothing if it is over already."""
        stream = self._streams.open.pop(stream_id, None)
        if stream is not None:
            self._given_up.add(stream, error_code)

    def reset(self, stream_id: int, error_code: int) -> None:
        """Reset a stream, whatever the budget; nothing if it is over already."""
        stream = self._streams.open.pop(stream_id, None)
        if stream is not None:
            self._given_up.reset(stream, error_code)

    def reset_given_up(self) -> None:
        """Reset all streams that were left to end by themselves, whatever the budget."""
        self._given_up.reset_all()

    def ping(self) -> None:
        """Send a PING."""
        self._outgoing.append(frames.frame(frames.PING, payload=PING_PAYLOAD))

    def close(self, error_code: int = ErrorCode.NO_ERROR) -> None:
        """Send GOAWAY, once."""
        if not self._is_closed:
            self._is_closed = True
            self._outgoing.append(frames.goaway(error_code))

    # --- what we receive ------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> Iterator[Event]:
        """Yield what these bytes mean, each event as soon as its frame is complete; raise ViolationError."""
        data, at = self._incoming + data, 0
        size = len(data)
        try:
            while (start := at + HEADER_BYTES) <= size:
                length, kind, flags, stream_id = read_header(data, at)
                if length > frames.PAYLOAD_BYTES_MAX:
                    self._refuse(ErrorCode.FRAME_SIZE_ERROR, "frame too large")
                end = start + length
                if end > size:
                    break
                self._noise.bytes += end - at
                at = end
                yield from self._act(kind, flags, stream_id, data[start:end])
                if self._noise.is_flood:
                    self._refuse(ErrorCode.ENHANCE_YOUR_CALM, "flood")
        except ViolationError as violation:
            self.close(violation.error_code)  # section 5.4.1
            raise
        self._incoming = data[at:]

    def _act(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Events:
        block = self._answers.block
        if block is not None and (kind, stream_id) != (frames.CONTINUATION, block.stream_id):
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "header block interrupted")  # section 6.10
        if not self._has_settings and kind != frames.SETTINGS:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "no SETTINGS first")  # section 3.4
        action = self._actions.get(kind)
        if action is None:
            return ()  # section 4.1: what is of no known type is ignored
        try:
            return action(flags, stream_id, payload)
        except ViolationError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, other streams must go on
            return self._answers.fault(stream_id, error)

    def _on_priority(self, _flags: int, stream_id: int, payload: bytes) -> Events:
        if not stream_id:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "PRIORITY of the connection")
        stream = self._streams.open.get(stream_id)
        if len(payload) != frames.PRIORITY_BYTES and stream is not None:
            return self._answers.fail(stream, ErrorCode.FRAME_SIZE_ERROR)
        return ()

    def _on_rst_stream(self, _flags: int, stream_id: int, payload: bytes) -> Events:
        self._require_length(payload, 4)
        stream = self._streams.find(stream_id)
        if stream is None:
            return self._given_up.end(stream_id)
        del self._streams.open[stream_id]
        return (StreamReset(stream_id, frames.read_integer(payload)),)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> Events:
        self._require_connection(stream_id)
        if flags & frames.ACK:
            self._require_length(payload, 0)
            return ()
        self._require_length(payload, len(payload) // frames.SETTING_BYTES * frames.SETTING_BYTES)
        for name, value in frames.read_settings(payload):
            self._set(name, value)
        self._has_settings = True
        self._outgoing.append(frames.frame(frames.SETTINGS, frames.ACK))
        return (SettingsReceived(),)

    def _set(self, name: int, value: int) -> None:
        """Take over one of the server's settings (section 6.5.2)."""
        allowed, error_code = frames.SETTING_RANGES.get(name, frames.ANY_SETTING)
        if value not in allowed:
            raise ViolationError(error_code, f"setting {name}")
        if name == Setting.MAX_CONCURRENT_STREAMS:
            self.streams_max = value
        elif name == Setting.MAX_FRAME_SIZE:
            self._payload_bytes_max = value
        elif name == Setting.HEADER_TABLE_SIZE:
            self._table_size = hpack.NO_TABLE  # section 4.3.1: a smaller one must be confirmed
        elif name == Setting.INITIAL_WINDOW_SIZE:
            difference = value - self._stream_window_bytes
            self._stream_window_bytes = value
            for stream in self._streams.open.values():
                stream.window_bytes += difference
                self._require_window(stream.window_bytes)

    def _on_push_promise(self, _flags: int, _stream_id: int, _payload: bytes) -> Events:
        raise ViolationError(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE")  # section 6.6: our settings forbid it

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> Events:
        self._require_connection(stream_id)
        self._require_length(payload, len(PING_PAYLOAD))
        if flags & frames.ACK:
            return (PongReceived(),) if payload == PING_PAYLOAD else ()
        self._outgoing.append(frames.frame(frames.PING, frames.ACK, payload=payload))
        return ()

    def _on_goaway(self, _flags: int, stream_id: int, payload: bytes) -> Events:
        self._require_connection(stream_id)
        if len(payload) < frames.GOAWAY_BYTES_MIN:
            raise ViolationError(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY cut short")
        last_stream_id = frames.read_integer(payload) & frames.STREAM_ID_MASK
        return (GoingAway(last_stream_id, frames.read_integer(payload, 4)),)

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> Events:
        self._require_length(payload, 4)
        increment = frames.read_integer(payload) & frames.STREAM_ID_MASK
        if not stream_id:
            if not increment:
                raise ViolationError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            self._window_bytes += increment
            self._require_window(self._window_bytes)
            return (WindowOpened(),)
        stream = self._streams.find(stream_id)
        if stream is None:
            return ()
        stream.window_bytes += increment
        if not increment or stream.window_bytes > frames.WINDOW_BYTES_MAX:
            return self._answers.fail(stream, ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR)
        return (WindowOpened(),)

    # --- the rest -------------------------------------------------------------------------------------------------

    def _refuse(self, error_code: ErrorCode, what: str) -> NoReturn:
        raise ViolationError(error_code, what)

    def _require_connection(self, stream_id: int) -> None:
        if stream_id:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "on a stream, and about the connection")

    def _require_length(self, payload: bytes, length: int) -> None:
        if len(payload) != length:
            raise ViolationError(ErrorCode.FRAME_SIZE_ERROR, "frame of the wrong length")

    def _require_window(self, window_bytes: int) -> None:
        if window_bytes > frames.WINDOW_BYTES_MAX:
            raise ViolationError(ErrorCode.FLOW_CONTROL_ERROR, "window too large")  # sections 6.9.1 and 6.9.2
