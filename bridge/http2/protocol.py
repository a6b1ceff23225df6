"""The client's side of HTTP/2 as a state machine: bytes in, events out, no I/O and no clock. RFC 9113.

A small interface of ours over h2, which does the states, the windows and HPACK. Frames reach h2 one at a time, so that
what was complete before a bad frame is not lost with it, and GOAWAY does not reach it at all: h2 ends a connection with
that frame, while by section 6.8 the streams up to its last id go on.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from bridge.signing import Headers

ErrorCodes = h2.errors.ErrorCodes
Codes = h2.settings.SettingCodes

FRAME_HEADER_BYTES = 9
FRAME_BYTES_MAX = 16_384  # SETTINGS_MAX_FRAME_SIZE as every connection begins (section 6.5.2); we offer no more
GOAWAY = 0x7
HEADER_BLOCK = frozenset({0x1, 0x5, 0x9})  # HEADERS, PUSH_PROMISE, CONTINUATION
END_HEADERS = 0x4
STREAM_ID_MASK = 0x7FFF_FFFF  # the first bit is reserved (section 4.1)
STREAMS_UNLIMITED = 2**31 - 1

STREAM_WINDOW_BYTES = 256 * 1024
"""Above the longest answer that is read, so that no stream ever waits for credit of its own."""
CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024
HEADERS_BYTES_MAX = 16 * 1024

CREDIT_BYTES = 2 * (FRAME_HEADER_BYTES + 4)
"""What may come back for a DATA frame of ours: a WINDOW_UPDATE for the stream and one for the connection."""

NOISE_BYTES_MAX = 64 * 1024
"""How much may arrive beyond answers: PING, SETTINGS, resets, empty frames. An answer's headers set it back to 0."""

CLOSED_STREAMS_MAX = 1024
"""How many closed streams are remembered: those whose last frames may still be on their way when we have reset them."""

OUR_SETTINGS = {
    Codes.ENABLE_PUSH: 0,
    Codes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
    Codes.MAX_HEADER_LIST_SIZE: HEADERS_BYTES_MAX,
}


class ViolationError(Exception):
    """The server broke the protocol: the connection must be closed, after what `outgoing` still has to say."""


class AnswerBegun(NamedTuple):
    """The final header block of an answer."""

    stream_id: int
    status: int
    headers: list[tuple[bytes, bytes]]


class BodyReceived(NamedTuple):
    """A piece of an answer's body. Its credit is returned already."""

    stream_id: int
    data: bytes


class AnswerEnded(NamedTuple):
    """The answer is complete."""

    stream_id: int


class StreamReset(NamedTuple):
    """The server gave the stream up."""

    stream_id: int
    error_code: int


class GoingAway(NamedTuple):
    """The server takes no more streams, and has not processed those above this one."""

    last_stream_id: int
    error_code: int


class SettingsReceived(NamedTuple):
    """The server's limits, or other limits than before."""


class WindowOpened(NamedTuple):
    """There is room to send again."""


class PongReceived(NamedTuple):
    """The server answered a PING."""


Event = (
    AnswerBegun | BodyReceived | AnswerEnded | StreamReset | GoingAway | SettingsReceived | WindowOpened | PongReceived
)


class _H2Connection(h2.connection.H2Connection):
    MAX_CLOSED_STREAMS = CLOSED_STREAMS_MAX  # h2 would remember 65536, which is 8 MB for each connection


class ClientProtocol:
    """One connection's state. What it wants to send collects until `outgoing` is called."""

    def __init__(self) -> None:
        # Our own headers are right by construction, and those of the wallet are judged by what needs them.
        self._h2 = _H2Connection(
            h2.config.H2Configuration(
                validate_outbound_headers=False, normalize_outbound_headers=False, normalize_inbound_headers=False
            )
        )
        self._h2.local_settings = h2.settings.Settings(client=True, initial_values=OUR_SETTINGS)
        self._h2.decoder.max_header_list_size = HEADERS_BYTES_MAX
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES)
        self._incoming = bytearray()
        self._noise_bytes = 0
        self._is_in_header_block = False
        self._translations: dict[type[h2.events.Event], Callable[[Any], Iterator[Event]]] = {
            h2.events.ResponseReceived: self._answer_begun,
            h2.events.DataReceived: self._body_received,
            h2.events.StreamEnded: self._answer_ended,
            h2.events.StreamReset: self._stream_reset,
            h2.events.RemoteSettingsChanged: self._settings_received,
            h2.events.WindowUpdated: self._window_opened,
            h2.events.PingAckReceived: self._pong_received,
        }

    @property
    def streams_max(self) -> int:
        """How many streams the server allows at once."""
        return int(self._h2.remote_settings.max_concurrent_streams)

    def outgoing(self) -> bytes:
        """Return what is to be sent now."""
        return self._h2.data_to_send()

    def begin(self, headers: Headers, *, has_body: bool) -> int:
        """Open a stream with these headers, pseudo-headers first; return its id, or 0 when the ids are used up."""
        try:
            stream_id = self._h2.get_next_available_stream_id()
        except h2.exceptions.NoAvailableStreamIDError:
            return 0
        self._h2.send_headers(stream_id, headers, end_stream=not has_body)
        # So that h2 leaves content-length alone: see `_answer_begun`.
        self._h2.streams[stream_id].request_method = b"HEAD"
        return stream_id

    def send(self, stream_id: int, body: memoryview) -> memoryview:
        """Send as much of a body as the windows allow, ending the stream with its last byte; return what is left."""
        while body:
            size = min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size, len(body))
            if size <= 0:
                break
            self._h2.send_data(stream_id, body[:size], end_stream=size == len(body))
            body = body[size:]
            self._allow_noise(CREDIT_BYTES)
        return body

    def reset(self, stream_id: int, error_code: int) -> None:
        """Give a stream up; nothing if it is over already."""
        # What the server had sent by now still arrives: at most a whole window of it.
        self._allow_noise(STREAM_WINDOW_BYTES)
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self._h2.reset_stream(stream_id, error_code)

    def ping(self) -> None:
        """Ask the server for a sign of life."""
        self._h2.ping(b"wallet?!")

    def close(self, error_code: int = ErrorCodes.NO_ERROR) -> None:
        """Say goodbye, once: h2 does it by itself where the server broke the protocol."""
        if self._h2.state_machine.state is not h2.connection.ConnectionState.CLOSED:
            self._h2.close_connection(error_code)

    def receive(self, data: bytes) -> Iterator[Event]:
        """Yield what these bytes mean, each event as soon as its frame is complete; raise ViolationError."""
        self._incoming += data
        while frame := self._next_frame():
            # Frame by frame: what the server says must not depend on how TCP cut it.
            self._noise_bytes += len(frame)
            yield from self._act(frame)
            if self._noise_bytes > NOISE_BYTES_MAX:
                self.close(ErrorCodes.ENHANCE_YOUR_CALM)
                raise ViolationError("flood")

    def _act(self, frame: bytes) -> Iterator[Event]:
        if frame[3] == GOAWAY and not self._is_in_header_block:
            yield _going_away(frame)
            return
        if frame[3] in HEADER_BLOCK:
            self._is_in_header_block = not frame[4] & END_HEADERS
        try:
            events = self._h2.receive_data(frame)
        except h2.exceptions.ProtocolError as error:
            raise ViolationError(type(error).__name__) from None
        for event in events:
            # What else h2 reports changes nothing: 1xx, trailers, PINGs (it has answered them), unknown frames.
            if translate := self._translations.get(type(event)):
                yield from translate(event)

    def _allow_noise(self, size_bytes: int) -> None:
        # Not without bound: no more than this can be on its way.
        self._noise_bytes = max(self._noise_bytes - size_bytes, -CONNECTION_WINDOW_BYTES)

    def _next_frame(self) -> bytes | None:
        if len(self._incoming) < FRAME_HEADER_BYTES:
            return None
        length = int.from_bytes(self._incoming[:3], "big")
        if length > FRAME_BYTES_MAX:
            self.close(ErrorCodes.FRAME_SIZE_ERROR)
            raise ViolationError("frame too large")
        end = FRAME_HEADER_BYTES + length
        if len(self._incoming) < end:
            return None
        frame = bytes(self._incoming[:end])
        del self._incoming[:end]
        return frame

    def _answer_begun(self, event: h2.events.ResponseReceived) -> Iterator[Event]:
        self._noise_bytes = min(self._noise_bytes, 0)
        # A wrong content-length makes one answer malformed, a stream error (section 8.1.1); h2 would end the
        # connection, and every neighbour with it. Whoever collects the body compares instead.
        self._h2.streams[event.stream_id]._expected_content_length = None  # noqa: SLF001 - there is no setting for it
        headers = [(bytes(name), bytes(value)) for name, value in event.headers]
        status = dict(headers).get(b":status", b"")
        if not (len(status) == 3 and status.isdigit()):  # noqa: PLR2004 - RFC 9110, section 15
            self.close(ErrorCodes.PROTOCOL_ERROR)
            raise ViolationError("status")
        yield AnswerBegun(event.stream_id, int(status), [pair for pair in headers if pair[0] != b":status"])

    def _body_received(self, event: h2.events.DataReceived) -> Iterator[Event]:
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if event.data:
            self._allow_noise(FRAME_HEADER_BYTES + len(event.data))
            yield BodyReceived(event.stream_id, event.data)

    def _answer_ended(self, event: h2.events.StreamEnded) -> Iterator[Event]:
        yield AnswerEnded(event.stream_id)

    def _stream_reset(self, event: h2.events.StreamReset) -> Iterator[Event]:
        # Also those by h2 itself: for a window that overflows, or more on a stream that we had given up.
        yield StreamReset(event.stream_id, int(event.error_code or 0))

    def _settings_received(self, _event: h2.events.RemoteSettingsChanged) -> Iterator[Event]:
        yield SettingsReceived()

    def _window_opened(self, _event: h2.events.WindowUpdated) -> Iterator[Event]:
        yield WindowOpened()

    def _pong_received(self, _event: h2.events.PingAckReceived) -> Iterator[Event]:
        yield PongReceived()


def _going_away(frame: bytes) -> GoingAway:
    """Read a GOAWAY frame (section 6.8): last stream id, error code, and a text that nobody needs."""
    payload = frame[FRAME_HEADER_BYTES:]
    if len(payload) < 8 or any(frame[5:9]):  # noqa: PLR2004 - two fields of 32 bits, on stream 0
        raise ViolationError("GOAWAY")
    return GoingAway(int.from_bytes(payload[:4], "big") & STREAM_ID_MASK, int.from_bytes(payload[4:8], "big"))
