"""Frames of answers: HEADERS, CONTINUATION and DATA. RFC 9113, sections 4.3, 6.1, 6.2, 6.10, 8.1 and 10.5.1.

A malformed or oversized answer ends its stream alone. A header block is different: the connection needs
its effect on the shared HPACK table, so it is decoded even where its stream is dropped.
"""

from bridge.http2 import frames, hpack
from bridge.http2.events import (
    AnswerBegun,
    AnswerEnded,
    BodyReceived,
    Events,
    InterimAnswer,
    StreamFaulted,
    StreamReset,
    ViolationError,
)
from bridge.http2.flood_guard import Noise
from bridge.http2.frames import ErrorCode
from bridge.http2.given_up import GivenUp
from bridge.http2.limits import (
    CONNECTION_WINDOW_BYTES,
    FRAME_BYTES_MIN,
    HEADERS_BYTES_LIMIT,
    HEADERS_BYTES_MAX,
    INTERIM_BYTES_MAX,
    STREAM_WINDOW_BYTES,
)
from bridge.http2.streams import HeaderBlock, Stream, Streams
from bridge.places import without_context


class Answers:
    """Handler of these frames, and of the flow-control credit that is returned for them."""

    def __init__(self, streams: Streams, given_up: GivenUp, noise: Noise, outgoing: list[bytes | memoryview]) -> None:
        self._streams = streams
        self._given_up = given_up
        self._noise = noise
        self._outgoing = outgoing
        self._received_bytes = 0
        self._decoder = hpack.HeaderDecoder(HEADERS_BYTES_MAX, HEADERS_BYTES_LIMIT)
        self._is_decoding = False
        self.block: HeaderBlock | None = None
        """The header block that is arriving: nothing else may come before its end (section 4.3)."""

    def on_data(self, flags: int, stream_id: int, payload: bytes) -> Events:
        """Take a DATA frame."""
        stream = self._streams.find(stream_id)
        self._credit_connection(len(payload))
        data = _unpadded(flags, payload)
        ends_stream = bool(flags & frames.END_STREAM)
        if stream is None:
            return self._given_up.drop(stream_id, len(payload), ends_stream=ends_stream)
        stream.is_ended = ends_stream
        stream.received_bytes += len(payload)
        if not stream.has_answer or stream.received_bytes > STREAM_WINDOW_BYTES:
            self._noise.allow(frames.HEADER_BYTES + len(payload))
            return self.fail(stream, ErrorCode.FLOW_CONTROL_ERROR if stream.has_answer else ErrorCode.PROTOCOL_ERROR)
        events: Events = ()
        if data:
            self._noise.allow(frames.HEADER_BYTES + len(data))
            events = (BodyReceived(stream_id, data),)
        if ends_stream:
            return (*events, self._end(stream))
        if stream.received_bytes > STREAM_WINDOW_BYTES // 2:
            self._outgoing.append(frames.window_update(stream_id, stream.received_bytes))
            stream.received_bytes = 0
        return events

    def on_headers(self, flags: int, stream_id: int, payload: bytes) -> Events:
        """Take a HEADERS frame."""
        self._streams.find(stream_id)
        block = _unpadded(flags, payload)
        if flags & frames.PRIORITY_FLAG:
            if len(block) < frames.PRIORITY_BYTES:
                raise ViolationError(ErrorCode.FRAME_SIZE_ERROR, "HEADERS cut short")
            block = block[frames.PRIORITY_BYTES :]
        self.block = HeaderBlock(stream_id, ends_stream=bool(flags & frames.END_STREAM))
        return self.on_continuation(flags, stream_id, block)

    def on_continuation(self, flags: int, stream_id: int, payload: bytes) -> Events:
        """Take a CONTINUATION frame, or the block that begins in a HEADERS frame."""
        block = self.block
        if block is None:
            raise ViolationError(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        block.add(payload)
        if block.size_bytes > HEADERS_BYTES_LIMIT:
            raise ViolationError(ErrorCode.ENHANCE_YOUR_CALM, "header block too long")
        is_complete = bool(flags & frames.END_HEADERS)
        fields = self._decoded(block) if is_complete else None
        stream = self._streams.open.get(stream_id)
        if stream is None:
            return self._given_up.drop(stream_id, len(payload), ends_stream=is_complete and block.ends_stream)
        if not is_complete:
            self._noise.allow(len(payload))  # and not its frame: of empty ones there is no end
            return ()
        stream.is_ended = block.ends_stream
        if fields is None:
            return self._fail_headers(stream, ErrorCode.ENHANCE_YOUR_CALM)
        return self._on_trailers(stream, fields) if stream.has_answer else self._on_answer(stream, fields)

    def fault(self, stream_id: int, error: Exception) -> Events:
        """End the stream at whose frame the code failed; raise the error if its neighbours' state is in doubt, too."""
        stream = self._streams.open.get(stream_id)
        if stream is None or self._is_decoding:
            raise error
        self._drop(stream, ErrorCode.INTERNAL_ERROR)
        return (StreamFaulted(stream_id, error),)

    def fail(self, stream: Stream, error_code: ErrorCode) -> Events:
        """End one stream, on which the server broke the protocol (section 5.4.2)."""
        self._drop(stream, error_code)
        return (StreamReset(stream.id, error_code),)

    def _decoded(self, block: HeaderBlock) -> hpack.Fields | None:
        """Return the fields of a complete block; None where they are too many."""
        self.block = None
        self._is_decoding = True
        try:
            fields = self._decoder.decode(b"".join(block.parts))
        except hpack.HeaderListTooLongError:
            fields = None
        except hpack.HeaderBlockError as error:
            raise without_context(ViolationError(error.error_code, f"header block: {error}")) from None
        self._is_decoding = False
        return fields

    def _on_answer(self, stream: Stream, fields: hpack.Fields) -> Events:
        status = hpack.status_of(fields)
        is_informational = status < hpack.FINAL_STATUS_MIN
        if not status or (is_informational and stream.is_ended):
            return self._fail_headers(stream, ErrorCode.PROTOCOL_ERROR)  # sections 8.1 and 8.1.1
        if is_informational:
            return self._on_interim(stream, fields)
        stream.has_answer = True
        self._noise.answered()
        begun = AnswerBegun(stream.id, status, fields[1:])
        return (begun, self._end(stream)) if stream.is_ended else (begun,)

    def _on_interim(self, stream: Stream, fields: hpack.Fields) -> Events:
        size_bytes = sum(len(name) + len(value) for name, value in fields)
        counted_bytes = max(size_bytes, FRAME_BYTES_MIN)
        stream.interim_bytes += counted_bytes
        if stream.interim_bytes > INTERIM_BYTES_MAX:
            return self._fail_headers(stream, ErrorCode.ENHANCE_YOUR_CALM)
        self._noise.allow(counted_bytes)
        return (InterimAnswer(stream.id),)

    def _on_trailers(self, stream: Stream, fields: hpack.Fields) -> Events:
        if not stream.is_ended or not hpack.are_regular(fields):
            return self._fail_headers(stream, ErrorCode.PROTOCOL_ERROR)  # section 8.1
        self._noise.answered()
        return (self._end(stream),)

    def _fail_headers(self, stream: Stream, error_code: ErrorCode) -> Events:
        # A malformed answer is still an answer: each request has one, so it does not count as noise.
        self._noise.answered()
        return self.fail(stream, error_code)

    def _end(self, stream: Stream) -> AnswerEnded:
        if stream.is_sent:
            del self._streams.open[stream.id]
        return AnswerEnded(stream.id)

    def _drop(self, stream: Stream, error_code: int) -> None:
        del self._streams.open[stream.id]
        self._given_up.add(stream, error_code)

    def _credit_connection(self, size_bytes: int) -> None:
        """Count what arrived, for whichever stream, and give it back in large pieces (section 6.9)."""
        self._received_bytes += size_bytes
        if self._received_bytes > CONNECTION_WINDOW_BYTES:
            raise ViolationError(ErrorCode.FLOW_CONTROL_ERROR, "more than the connection's window")
        if self._received_bytes > CONNECTION_WINDOW_BYTES // 2:
            self._outgoing.append(frames.window_update(0, self._received_bytes))
            self._received_bytes = 0


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & frames.PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise ViolationError(ErrorCode.PROTOCOL_ERROR, "padding")  # section 6.1
    return payload[1 : len(payload) - payload[0]]
