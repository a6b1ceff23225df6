"""Receiving half of an HTTP/2 connection: h2 checks what the client sends; open streams and the record keep it.

GOAWAY goes around h2 both ways: h2 calls a connection closed after it, while RFC 9113, section 6.8, lets the streams
up to its last id finish.
"""

import asyncio
import sys
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from socket import socket
from typing import Any

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import Frame, GoAwayFrame, RstStreamFrame

from bridge.sandbox.record import Goaway, Pulse, Record, Request, Reset
from bridge.sandbox.wire import FRAME_HEADER_BYTES, PREFACE, GoneError, Wire, take_frames

STREAM_ID_MAX = 2**31 - 1
RESETS_WINDOW_S = 5.0
NOTED_BYTES = 1000
"""Of a frame that broke the rules."""
_SETTINGS: Mapping[int, int] = {SettingCodes.MAX_CONCURRENT_STREAMS: 100}
_RECORDED_FRAMES = (RstStreamFrame.type, GoAwayFrame.type)

_HTTP_2_ONLY = (
    b"This wallet speaks HTTP/2 only: by prior knowledge without TLS, by ALPN h2 with TLS.\n"
    b"With curl: --http2-prior-knowledge, or --http2 for an https:// URL.\n"
)
_REFUSAL = b"HTTP/1.1 505 HTTP Version Not Supported\r\nconnection: close\r\ncontent-type: text/plain\r\n"


@dataclass(eq=False, kw_only=True)
class Manners:
    """Behaviour of every connection of a server. A change holds for connections accepted later."""

    settings: Mapping[int, int] | None = field(default_factory=lambda: _SETTINGS)
    """The first SETTINGS frame: exactly these, by code. None: it is never sent."""
    greets_first: bool = True
    """Send SETTINGS as soon as the connection stands. False: once the client has said that it speaks HTTP/2, so that
    an HTTP/1.1 client without TLS can read our refusal."""
    early: bool = False
    """Call the behaviour as soon as a request's headers are there, before its body."""
    checked: bool = True
    """Let h2 refuse illegal headers of ours. False: send them."""
    body_bytes_max: int | None = None
    """Bytes of a request's body that are kept; the rest is read and dropped. None: all."""
    resets_max: int | None = None
    """Say GOAWAY(ENHANCE_YOUR_CALM) and close at more resets than this within RESETS_WINDOW_S, as Tomcat, Jetty and
    Envoy do since the rapid reset attack. None: bear any number."""


@dataclass(eq=False)
class Exchange:
    """A request and its answer on one stream, from its headers until it is closed."""

    stream_id: int
    headers: list[tuple[str, str]]
    body: bytearray = field(default_factory=bytearray)
    ended_here: bool = False
    ended_there: bool = False
    disowned: bool = False
    """A GOAWAY of ours said that this request will not be processed."""
    closed: asyncio.Event = field(default_factory=asyncio.Event)


class Session(Wire, ABC):
    """The receiving half of a connection."""

    def __init__(self, accepted: socket, number: int, manners: Manners, record: Record) -> None:
        super().__init__(accepted)
        self.number = number
        """Counts accepted connections from 1."""
        self.requests = 0
        """Requests of this connection that were given to a behaviour."""
        self.exchanges: dict[int, Exchange] = {}
        """The open streams by id."""
        self._manners = manners
        self._record = record
        self._changed = Pulse()
        self._inbound = bytearray()
        self._preface_missing = PREFACE
        self._frame = b""
        self._newest_stream_id = 0
        self._last_stream_id = STREAM_ID_MAX
        self._pongs: set[bytes] = set()
        self._settings_unacknowledged = 0
        self._reset_at_s: deque[float] = deque()
        self._h2 = _new_h2(manners)
        self._reactions: dict[type[events.Event], Callable[[Any], None]] = {
            events.RequestReceived: self._request_received,
            events.DataReceived: self._body_received,
            events.StreamEnded: self._request_ended,
            events.StreamReset: self._stream_reset,
            events.PingReceived: self._ping_received,
            events.PingAckReceived: self._pong_received,
            events.SettingsAcknowledged: self._settings_acknowledged,
        }

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once `condition` over this connection holds. GoneError if the connection ends first."""
        await self._changed.until(lambda: condition() or self.closing)
        if not condition():
            raise GoneError

    @abstractmethod
    def greet(self) -> None:
        """Send the first SETTINGS frame, if there is one to send and it was not sent yet."""

    @abstractmethod
    def deliver(self, request: Request) -> None:
        """Take over a request that is to be answered."""

    def data_received(self, data: bytes) -> None:
        """Handle what the client sent; a violation is recorded and ends the connection."""
        self._record.received_bytes += len(data)
        if self.closing:
            return
        try:
            self._receive(data)
        except (ProtocolError, HyperframeError) as error:
            error.add_note(
                f"connection {self.number}, {self.requests} requests, frame {self._frame[:NOTED_BYTES].hex()}"
            )
            self._record.client_errors.append(error)
            self._flush()
            self.close()
        self._beat()

    def close(self, *, waits_for_client: bool = False) -> None:
        """End all streams with their connection."""
        super().close(waits_for_client=waits_for_client)
        self._close_exchanges()

    def connection_lost(self, error: Exception | None) -> None:
        """End all streams with their connection."""
        super().connection_lost(error)
        self._close_exchanges()

    def _receive(self, data: bytes) -> None:
        self._inbound += data
        if not self.speaks_http2 or not self._take_preface():
            self._refuse_other_protocol()
            return
        for frame in take_frames(self._inbound):
            if self.closing:
                return
            self._frame = frame
            for event in self._check(frame):
                self._reactions.get(type(event), _ignore)(event)
            self._flush()

    def _take_preface(self) -> bool:
        """Take the connection preface, or the part of it that is here; return False if it is something else."""
        if not self._preface_missing:
            return True
        taken = bytes(self._inbound[: len(self._preface_missing)])
        if not self._preface_missing.startswith(taken):
            return False
        del self._inbound[: len(taken)]
        self._preface_missing = self._preface_missing[len(taken) :]
        self._h2.receive_data(taken)
        if not self._preface_missing:
            self.greet()
        return True

    def _refuse_other_protocol(self) -> None:
        """Answer in HTTP/1.1, which a client without HTTP/2 most likely speaks."""
        self._record.client_errors.append(ProtocolError("the client does not speak HTTP/2"))
        self.raw(_REFUSAL + b"content-length: %d\r\n\r\n" % len(_HTTP_2_ONLY) + _HTTP_2_ONLY)
        self.close(waits_for_client=True)

    def _check(self, data: bytes) -> list[events.Event]:
        # h2 is silent about a reset of a closed stream, and must not see GOAWAY: these two are parsed here.
        if data[3] in _RECORDED_FRAMES:
            frame, _ = Frame.parse_frame_header(memoryview(data)[:FRAME_HEADER_BYTES])
            frame.parse_body(memoryview(data)[FRAME_HEADER_BYTES:])
            if isinstance(frame, RstStreamFrame):
                self._record.resets.append(Reset(self.number, frame.stream_id, frame.error_code))
                if self._is_rapid_reset():
                    return []
            if isinstance(frame, GoAwayFrame):
                self._record.goaways.append(Goaway(self.number, frame.last_stream_id, frame.error_code))
                return []
        return self._h2.receive_data(data)

    def _is_rapid_reset(self) -> bool:
        """Count a reset; say whether it was one too many, for which the connection has been closed."""
        if self._manners.resets_max is None:
            return False
        now_s = asyncio.get_running_loop().time()
        self._reset_at_s.append(now_s)
        while self._reset_at_s[0] < now_s - RESETS_WINDOW_S:
            self._reset_at_s.popleft()
        if len(self._reset_at_s) <= self._manners.resets_max:
            return False
        self._record.calmed += 1
        calm = GoAwayFrame(last_stream_id=self._newest_stream_id, error_code=ErrorCodes.ENHANCE_YOUR_CALM)
        self.frame(calm)
        self.close()
        return True

    def _request_received(self, event: events.RequestReceived) -> None:
        if event.stream_id > self._last_stream_id:
            self._record.ignored_streams += 1
            return
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
        exchange = Exchange(event.stream_id, headers)
        self._newest_stream_id = event.stream_id
        self.exchanges[event.stream_id] = exchange
        if self._manners.early:
            self._accept(exchange)

    def _body_received(self, event: events.DataReceived) -> None:
        exchange = self.exchanges.get(event.stream_id)
        if event.flow_controlled_length:
            self._h2.increment_flow_control_window(event.flow_controlled_length)
            if exchange and not event.stream_ended:
                self._h2.increment_flow_control_window(event.flow_controlled_length, event.stream_id)
        if exchange:
            room_bytes = (self._manners.body_bytes_max or sys.maxsize) - len(exchange.body)
            exchange.body += event.data[: max(0, room_bytes)]

    def _request_ended(self, event: events.StreamEnded) -> None:
        if exchange := self.exchanges.get(event.stream_id):
            exchange.ended_there = True
            if not self._manners.early:
                self._accept(exchange)
            self._close_if_ended(exchange)

    def _accept(self, exchange: Exchange) -> None:
        request = Request(self.number, exchange.stream_id, exchange.headers, bytes(exchange.body))
        self.requests += 1
        self._record.requests.append(request)
        self.deliver(request)

    def _stream_reset(self, event: events.StreamReset) -> None:
        if exchange := self.exchanges.get(event.stream_id):
            self._close_exchange(exchange)

    def _ping_received(self, _event: events.PingReceived) -> None:
        self._record.pings += 1

    def _pong_received(self, event: events.PingAckReceived) -> None:
        self._pongs.add(event.ping_data)

    def _settings_acknowledged(self, _event: events.SettingsAcknowledged) -> None:
        self._settings_unacknowledged -= 1

    def _close_if_ended(self, exchange: Exchange) -> None:
        if exchange.ended_here and exchange.ended_there:
            self._close_exchange(exchange)

    def _close_exchange(self, exchange: Exchange) -> None:
        self.exchanges.pop(exchange.stream_id, None)
        exchange.closed.set()
        self._beat()

    def _close_exchanges(self) -> None:
        for exchange in list(self.exchanges.values()):
            self._close_exchange(exchange)
        self._beat()

    def _beat(self) -> None:
        self._changed.beat()
        self._record.changed.beat()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data and not self.closing:
            self.raw(data)


def _new_h2(manners: Manners) -> H2Connection:
    h2 = H2Connection(
        H2Configuration(
            client_side=False,
            validate_outbound_headers=manners.checked,
            normalize_outbound_headers=manners.checked,
        )
    )
    # No limit until the client acknowledges one (RFC 9113, section 6.5.3); h2 would assume 100 from the start.
    h2.local_settings = Settings(client=False, initial_values={SettingCodes.MAX_CONCURRENT_STREAMS: STREAM_ID_MAX})
    return h2


def _ignore(_event: events.Event) -> None:
    """Events without a reaction: window updates and settings only wake who waits."""
