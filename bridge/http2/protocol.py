"""The client's side of HTTP/2 as a state machine: bytes in, events out, no I/O and no clock. RFC 9113.

What the server may do wrong has two ends. An error of one stream resets it, and its neighbours go on; a violation
that leaves the connection's state in doubt closes it (section 5.4). A stream that is over is forgotten: what still
arrives for it is processed as far as the connection needs that, and dropped (section 5.1, "closed").
"""

from collections.abc import Callable, Iterator
from typing import NoReturn

from bridge.http2 import frames, header_blocks
from bridge.http2.events import (
    AnswerBegun,
    AnswerEnded,
    BodyReceived,
    Event,
    Events,
    GoingAway,
    InterimAnswer,
    PongReceived,
    SettingsReceived,
    StreamFaulted,
    StreamReset,
    ViolationError,
    WindowOpened,
)
from bridge.http2.frames import ErrorCode, Setting
from bridge.http2.noise import Noise
from bridge.http2.streams import HeaderBlock, Stream
from bridge.signing import Headers

STREAMS_UNLIMITED = 2**32 - 1

STREAM_WINDOW_BYTES = 256 * 1024
"""Above the longest answer that is read, so that no stream waits for credit of its own."""
CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024
HEADERS_BYTES_MAX = 16 * 1024

CREDIT_BYTES = 2 * (frames.HEADER_BYTES + 4)
"""What may come back for a DATA frame of ours: a WINDOW_UPDATE for the stream and one for the connection."""

OUR_SETTINGS = {
    Setting.ENABLE_PUSH: 0,
    Setting.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
    Setting.MAX_HEADER_LIST_SIZE: HEADERS_BYTES_MAX,
}

PING_PAYLOAD = b"wallet?!"


class ClientProtocol:
    """One connection's state. What it wants to send collects until `outgoing` is called."""

    def __init__(self) -> None:
        self.streams_max = STREAMS_UNLIMITED
        """How many streams the server allows at once."""
        self._streams: dict[int, Stream] = {}
        self._next_id = 1
        self._window_bytes = frames.WINDOW_BYTES_DEFAULT
        self._stream_window_bytes = frames.WINDOW_BYTES_DEFAULT
        self._payload_bytes_max = frames.PAYLOAD_BYTES_MAX
        self._received_bytes = 0
        self._table_size = header_blocks.NO_TABLE
        self._decoder = header_blocks.HeaderDecoder(HEADERS_BYTES_MAX)
        self._block: HeaderBlock | None = None
        self._is_decoding = False
        self._incoming = b""
        self._noise = Noise(CONNECTION_WINDOW_BYTES)
        self._has_settings = False
        self._is_closed = False
        self._outgoing: list[bytes | memoryview] = [
            frames.PREFACE,
            frames.settings(OUR_SETTINGS),
            frames.window_update(0, CONNECTION_WINDOW_BYTES - frames.WINDOW_BYTES_DEFAULT),
        ]
        self._actions: dict[int, Callable[[int, int, bytes], Events]] = {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_rst_stream,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }

    # --- what we send ---------------------------------------------------------------------------------------------

    def outgoing(self) -> bytes:
        """Return what is to be sent now."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    @property
    def next_stream_id(self) -> int:
        """The id of the stream that `begin` opens next."""
        return self._next_id

    @property
    def streams_left(self) -> int:
        """How many streams can still be opened before the ids are used up (section 5.1.1)."""
        return (frames.STREAM_ID_MAX - self._next_id) // 2 + 1

    def begin(self, headers: Headers, *, has_body: bool) -> int:
        """Open a stream with these headers, pseudo-headers first, and return its id; one must be left."""
        stream_id = self._next_id
        # First of all: headers that cannot be encoded change nothing.
        block = self._table_size + header_blocks.encode(headers)
        self._next_id += 2
        self._streams[stream_id] = Stream(stream_id, self._stream_window_bytes, is_sent=not has_body)
        self._table_size = b""
        flags = 0 if has_body else frames.END_STREAM
        self._outgoing.append(frames.headers(stream_id, block, flags, self._payload_bytes_max))
        return stream_id

    def send(self, stream_id: int, body: memoryview) -> memoryview:
        """Send as much of a body as the windows allow, ending the stream with its last byte; return what is left."""
        stream = self._streams.get(stream_id)
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

    def reset(self, stream_id: int, error_code: int) -> None:
        """Give a stream up; nothing if it is over already."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._drop(stream, error_code)

    def ping(self) -> None:
        """Ask the server for a sign of life."""
        self._outgoing.append(frames.frame(frames.PING, payload=PING_PAYLOAD))

    def close(self, error_code: int = ErrorCode.NO_ERROR) -> None:
        """Say goodbye, once."""
        if not self._is_closed:
            self._is_closed = True
            self._outgoing.append(frames.goaway(error_code))

    # --- what we receive ------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> Iterator[Event]:
        """Yield what these bytes mean, each event as soon as its frame is complete; raise ViolationError."""
        data = self._incoming + data
        at = 0
        while len(data) - at >= frames.HEADER_BYTES:
            length, kind, flags, stream_id = frames.read_header(data, at)
            if length > frames.PAYLOAD_BYTES_MAX:
                self._violate(ErrorCode.FRAME_SIZE_ERROR, "frame too large")
            start, end = at + frames.HEADER_BYTES, at + frames.HEADER_BYTES + length
            if end > len(data):
                break
            self._noise.bytes += end - at
            at = end
            try:
                events = self._act(kind, flags, stream_id, data[start:end])
            except ViolationError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, neighbours must not pay for it
                events = self._fault(stream_id, error)
            yield from events
            if self._noise.is_flood:
                self._violate(ErrorCode.ENHANCE_YOUR_CALM, "flood")
        self._incoming = data[at:]

    def _act(self, kind: int, flags: int, stream_id: int, payload: bytes) -> Events:
        if self._block is not None and (kind, stream_id) != (frames.CONTINUATION, self._block.stream_id):
            self._violate(ErrorCode.PROTOCOL_ERROR, "header block interrupted")  # section 6.10
        if not self._has_settings and kind != frames.SETTINGS:
            self._violate(ErrorCode.PROTOCOL_ERROR, "no SETTINGS first")  # section 3.4
        action = self._actions.get(kind)
        # Section 4.1: what is of no known type is ignored.
        return action(flags, stream_id, payload) if action is not None else ()

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> Events:
        stream = self._stream(stream_id)
        self._credit_connection(len(payload))
        data = self._unpadded(flags, payload)
        if stream is None:
            self._noise.came_late(frames.HEADER_BYTES + len(payload))
            return ()
        if not stream.has_answer:
            return self._fail(stream, ErrorCode.PROTOCOL_ERROR)  # section 8.1
        stream.received_bytes += len(payload)
        if stream.received_bytes > STREAM_WINDOW_BYTES:
            return self._fail(stream, ErrorCode.FLOW_CONTROL_ERROR)
        events: Events = ()
        if data:
            self._noise.allow(frames.HEADER_BYTES + len(data))
            events = (BodyReceived(stream_id, data),)
        if flags & frames.END_STREAM:
            return (*events, self._end(stream))
        if stream.received_bytes > STREAM_WINDOW_BYTES // 2:
            self._outgoing.append(frames.window_update(stream_id, stream.received_bytes))
            stream.received_bytes = 0
        return events

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> Events:
        self._stream(stream_id)
        block = self._unpadded(flags, payload)
        if flags & frames.PRIORITY_FLAG:
            if len(block) < frames.PRIORITY_BYTES:
                self._violate(ErrorCode.FRAME_SIZE_ERROR, "HEADERS cut short")
            block = block[frames.PRIORITY_BYTES :]
        self._block = HeaderBlock(stream_id, ends_stream=bool(flags & frames.END_STREAM))
        return self._on_continuation(flags, stream_id, block)

    def _on_continuation(self, flags: int, _stream_id: int, payload: bytes) -> Events:
        block = self._block
        if block is None:
            self._violate(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        block.add(payload)
        if block.size_bytes > HEADERS_BYTES_MAX:
            self._violate(ErrorCode.ENHANCE_YOUR_CALM, "header block too long")
        if not flags & frames.END_HEADERS:
            return ()
        self._block = None
        fields = self._decoded(block)
        stream = self._streams.get(block.stream_id)
        if stream is None:
            self._noise.came_late(frames.HEADER_BYTES + block.size_bytes)
            return ()
        act = self._on_trailers if stream.has_answer else self._on_answer
        return act(stream, fields, ends_stream=block.ends_stream)

    def _decoded(self, block: HeaderBlock) -> header_blocks.Fields:
        """Return a block's fields, also of a stream that is over: the server has changed its table (section 4.3)."""
        self._is_decoding = True
        try:
            fields = self._decoder.decode(b"".join(block.parts))
        except header_blocks.HeaderBlockError as error:
            self._violate(ErrorCode.COMPRESSION_ERROR, f"header block: {error}")
        self._is_decoding = False
        return fields

    def _on_answer(self, stream: Stream, fields: header_blocks.Fields, *, ends_stream: bool) -> Events:
        status = header_blocks.status_of(fields)
        is_informational = status < header_blocks.FINAL_STATUS_MIN
        if not status or (is_informational and ends_stream):
            return self._fail(stream, ErrorCode.PROTOCOL_ERROR)  # sections 8.1 and 8.1.1
        if is_informational:
            return (InterimAnswer(stream.id),)
        stream.has_answer = True
        self._noise.answered()
        begun = AnswerBegun(stream.id, status, fields[1:])
        return (begun, self._end(stream)) if ends_stream else (begun,)

    def _on_trailers(self, stream: Stream, fields: header_blocks.Fields, *, ends_stream: bool) -> Events:
        if not ends_stream or not header_blocks.are_regular(fields):
            return self._fail(stream, ErrorCode.PROTOCOL_ERROR)  # section 8.1
        return (self._end(stream),)

    def _on_priority(self, _flags: int, stream_id: int, payload: bytes) -> Events:
        if not stream_id:
            self._violate(ErrorCode.PROTOCOL_ERROR, "PRIORITY of the connection")
        stream = self._streams.get(stream_id)
        if len(payload) != frames.PRIORITY_BYTES and stream is not None:
            return self._fail(stream, ErrorCode.FRAME_SIZE_ERROR)
        return ()

    def _on_rst_stream(self, _flags: int, stream_id: int, payload: bytes) -> Events:
        self._require_length(payload, 4)
        stream = self._stream(stream_id)
        if stream is None:
            return ()
        del self._streams[stream_id]
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
            self._violate(error_code, f"setting {name}")
        if name == Setting.MAX_CONCURRENT_STREAMS:
            self.streams_max = value
        elif name == Setting.MAX_FRAME_SIZE:
            self._payload_bytes_max = value
        elif name == Setting.HEADER_TABLE_SIZE:
            self._table_size = header_blocks.NO_TABLE  # section 4.3.1: a smaller one must be confirmed
        elif name == Setting.INITIAL_WINDOW_SIZE:
            difference = value - self._stream_window_bytes
            self._stream_window_bytes = value
            for stream in self._streams.values():
                stream.window_bytes += difference
                self._require_window(stream.window_bytes)

    def _on_push_promise(self, _flags: int, _stream_id: int, _payload: bytes) -> Events:
        self._violate(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE")  # section 6.6: our settings forbid it

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
            self._violate(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY cut short")
        last_stream_id = frames.read_integer(payload) & frames.STREAM_ID_MASK
        return (GoingAway(last_stream_id, frames.read_integer(payload, 4)),)

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> Events:
        self._require_length(payload, 4)
        increment = frames.read_integer(payload) & frames.STREAM_ID_MASK
        if not stream_id:
            if not increment:
                self._violate(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            self._window_bytes += increment
            self._require_window(self._window_bytes)
            return (WindowOpened(),)
        stream = self._stream(stream_id)
        if stream is None:
            return ()
        stream.window_bytes += increment
        if not increment or stream.window_bytes > frames.WINDOW_BYTES_MAX:
            return self._fail(stream, ErrorCode.FLOW_CONTROL_ERROR if increment else ErrorCode.PROTOCOL_ERROR)
        return (WindowOpened(),)

    # --- the rest -------------------------------------------------------------------------------------------------

    def _stream(self, stream_id: int) -> Stream | None:
        """Return a stream that the server may speak on; None where it is over. Others are a violation (section 5.1)."""
        stream = self._streams.get(stream_id)
        if stream is None and (not stream_id % 2 or stream_id >= self._next_id):
            self._violate(ErrorCode.PROTOCOL_ERROR, f"stream {stream_id} is none of ours")
        return stream

    def _credit_connection(self, size_bytes: int) -> None:
        """Count what arrived, for whichever stream, and give it back in large pieces (section 6.9)."""
        self._received_bytes += size_bytes
        if self._received_bytes > CONNECTION_WINDOW_BYTES:
            self._violate(ErrorCode.FLOW_CONTROL_ERROR, "more than the connection's window")
        if self._received_bytes > CONNECTION_WINDOW_BYTES // 2:
            self._outgoing.append(frames.window_update(0, self._received_bytes))
            self._received_bytes = 0

    def _unpadded(self, flags: int, payload: bytes) -> bytes:
        if not flags & frames.PADDED:
            return payload
        if not payload or payload[0] >= len(payload):
            self._violate(ErrorCode.PROTOCOL_ERROR, "padding")  # section 6.1
        return payload[1 : len(payload) - payload[0]]

    def _end(self, stream: Stream) -> AnswerEnded:
        if stream.is_sent:
            del self._streams[stream.id]
        return AnswerEnded(stream.id)

    def _fail(self, stream: Stream, error_code: ErrorCode) -> Events:
        """End one stream, on which the server broke the protocol (section 5.4.2)."""
        self._drop(stream, error_code)
        return (StreamReset(stream.id, error_code),)

    def _fault(self, stream_id: int, error: Exception) -> Events:
        """End the stream at whose frame the code failed; raise the error if its neighbours' state is in doubt, too."""
        stream = self._streams.get(stream_id)
        if stream is None or self._is_decoding:
            raise error
        self._drop(stream, ErrorCode.INTERNAL_ERROR)
        return (StreamFaulted(stream_id, error),)

    def _drop(self, stream: Stream, error_code: int) -> None:
        # What the server had sent by now still arrives: at most what is left of the window.
        self._noise.given_up(STREAM_WINDOW_BYTES - stream.received_bytes)
        del self._streams[stream.id]
        self._outgoing.append(frames.rst_stream(stream.id, error_code))

    def _require_connection(self, stream_id: int) -> None:
        if stream_id:
            self._violate(ErrorCode.PROTOCOL_ERROR, "on a stream, and about the connection")

    def _require_length(self, payload: bytes, length: int) -> None:
        if len(payload) != length:
            self._violate(ErrorCode.FRAME_SIZE_ERROR, "frame of the wrong length")

    def _require_window(self, window_bytes: int) -> None:
        if window_bytes > frames.WINDOW_BYTES_MAX:
            self._violate(ErrorCode.FLOW_CONTROL_ERROR, "window too large")  # sections 6.9.1 and 6.9.2

    def _violate(self, error_code: ErrorCode, what: str) -> NoReturn:
        """End the connection (section 5.4.1)."""
        self.close(error_code)
        raise ViolationError(what)
