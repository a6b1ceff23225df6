"""A client on h2, as ours once was, in the same place as the one of `conversation.conversation`."""

from collections.abc import Iterator
from typing import Any

import h2.events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.exceptions import HyperframeError

from bridge.http2.events import (
    AnswerBegun,
    AnswerEnded,
    BodyReceived,
    Event,
    GoingAway,
    InterimAnswer,
    PongReceived,
    SettingsReceived,
    StreamReset,
    WindowOpened,
)
from bridge.http2.limits import CONNECTION_WINDOW_BYTES, HEADERS_BYTES_MAX, STREAM_WINDOW_BYTES
from bridge.http2.protocol import PING_PAYLOAD
from bridge.sandbox.wire import FRAME_HEADER_BYTES
from tests.support.http2 import frames as raw
from tests.support.http2.conversation import BODY, GREETING, OPEN_STREAMS, REQUEST


class RefusedError(Exception):
    """H2 takes it for a violation: the connection would be closed."""


class Reference:
    """Says in our events what h2 makes of a server's frames.

    GOAWAY goes around h2, which would end the connection with it; h2 leaves content-length alone, as we do.
    """

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        """Of the header block that came last."""
        self._h2 = H2Connection(H2Configuration(normalize_inbound_headers=False))
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEADERS_BYTES_MAX,
            },
        )
        self._h2.decoder.max_header_list_size = HEADERS_BYTES_MAX
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES)
        self._h2.receive_data(GREETING)
        self._is_in_header_block = False
        for stream_id in OPEN_STREAMS:
            self._h2.send_headers(stream_id, REQUEST)
            self._h2.send_data(stream_id, BODY, end_stream=True)
            self._h2.streams[stream_id].request_method = b"HEAD"  # then it is not held against the body
        self._over: set[int] = set()

    def take(self, frame: bytes) -> list[Event]:
        """Return what a whole frame means; raise RefusedError."""
        kind, flags, payload = frame[3], frame[4], frame[FRAME_HEADER_BYTES:]
        if kind == raw.GOAWAY and not self._is_in_header_block:
            if len(payload) < 8 or any(frame[5:FRAME_HEADER_BYTES]):
                raise RefusedError
            return [GoingAway(int.from_bytes(payload[:4]) & 2**31 - 1, int.from_bytes(payload[4:8]))]
        if kind in {raw.HEADERS, raw.CONTINUATION}:
            self._is_in_header_block = not flags & raw.END_HEADERS
        try:
            received = self._h2.receive_data(frame)
        except (ProtocolError, HyperframeError):
            raise RefusedError from None
        return [event for each in received for event in self._translated(each)]

    def _translated(self, event: Any) -> Iterator[Event]:
        match event:
            case h2.events.ResponseReceived():
                yield self._answer(event)
            case h2.events.InformationalResponseReceived() | h2.events.TrailersReceived():
                yield from self._beside_the_answer(event)
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if event.data:
                    yield BodyReceived(event.stream_id, bytes(event.data))
            case h2.events.StreamEnded():
                self._over.add(event.stream_id)
                yield AnswerEnded(event.stream_id)
            case h2.events.StreamReset() if event.stream_id not in self._over:
                self._over.add(event.stream_id)
                yield StreamReset(event.stream_id, int(event.error_code))
            case h2.events.RemoteSettingsChanged():
                yield SettingsReceived()
            case h2.events.WindowUpdated():
                yield WindowOpened()
            case h2.events.PingAckReceived(ping_data=data) if data == PING_PAYLOAD:
                yield PongReceived()

    def _beside_the_answer(self, event: Any) -> Iterator[Event]:
        self.fields = _fields(event)
        if isinstance(event, h2.events.InformationalResponseReceived):
            yield InterimAnswer(event.stream_id)

    def _answer(self, event: h2.events.ResponseReceived) -> AnswerBegun:
        self._h2.streams[event.stream_id]._expected_content_length = None  # there is no setting for it
        self.fields = _fields(event)
        status = dict(self.fields)[b":status"]
        if not (status.isdigit() and len(status) == 3):
            raise RefusedError
        return AnswerBegun(event.stream_id, int(status), tuple(pair for pair in self.fields if pair[0] != b":status"))


def _fields(event: Any) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(value)) for name, value in event.headers]
