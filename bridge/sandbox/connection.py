"""Sending half of an HTTP/2 connection: through h2 where it is legal, around h2 where it is not."""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Mapping
from socket import socket
from typing import TypeAlias

from hyperframe.frame import GoAwayFrame, RstStreamFrame

from bridge.sandbox.record import Record, Request
from bridge.sandbox.session import STREAM_ID_MAX, Exchange, Manners, Session
from bridge.sandbox.wire import GoneError

Headers: TypeAlias = Iterable[tuple[str, str]]
Dispatch: TypeAlias = Callable[["Connection", Request], None]


class Connection(Session):
    """An accepted connection, and what a behaviour can do to it; see also Wire's raw, frame, close, abort, freeze."""

    def __init__(self, accepted: socket, number: int, manners: Manners, record: Record, dispatch: Dispatch) -> None:
        super().__init__(accepted, number, manners, record)
        self._dispatch = dispatch
        self._greeted = False
        self._ping_numbers = itertools.count(1)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: SETTINGS is our first frame."""
        super().connection_made(transport)
        if self.speaks_http2 and self._manners.greets_first:
            self.greet()

    def greet(self) -> None:
        """Send the first SETTINGS frame, if there is one to send and it was not sent yet."""
        if self._manners.settings is not None and not self._greeted:
            self._greeted = True
            self.send_settings(self._manners.settings)

    def deliver(self, request: Request) -> None:
        """Hand the request to the server."""
        self._dispatch(self, request)

    @property
    def retired(self) -> bool:
        """Whether a GOAWAY was sent."""
        return self._last_stream_id < STREAM_ID_MAX

    def goaway(self, last_stream_id: int | None = None, error_code: int = 0) -> None:
        """Send GOAWAY; streams above `last_stream_id` (default: the newest) are never processed nor answered."""
        last = self._newest_stream_id if last_stream_id is None else last_stream_id
        self.frame(GoAwayFrame(last_stream_id=last, error_code=error_code))
        self._last_stream_id = min(self._last_stream_id, last)
        for exchange in [exchange for exchange in self.exchanges.values() if exchange.stream_id > last]:
            exchange.disowned = True
            self._close_exchange(exchange)

    async def finish(self) -> None:
        """Wait until all streams are closed and the client has read everything, then close.

        The client's PING ACK proves that it has read everything: a close that crosses frames of the client becomes a
        TCP reset, which may destroy answers that it did not read yet.
        """
        await self.until(lambda: not self.exchanges)
        await self.ping()
        self.close()

    async def ping(self) -> None:
        """Send PING and wait for its ACK: the client then has handled everything sent before."""
        self._refuse_when_closing()
        opaque = next(self._ping_numbers).to_bytes(8)
        self._h2.ping(opaque)
        self._flush()
        await self.until(lambda: opaque in self._pongs)
        self._pongs.discard(opaque)

    def send_settings(self, values: Mapping[int, int]) -> None:
        """Send SETTINGS with legal values, and do not wait for the ACK."""
        self._refuse_when_closing()
        self._h2.update_settings(dict(values))
        self._settings_unacknowledged += 1
        self._flush()

    async def settings(self, values: Mapping[int, int]) -> None:
        """Send SETTINGS with legal values, and wait until the client has acknowledged all that were sent."""
        self.send_settings(values)
        await self.until(lambda: self._settings_unacknowledged == 0)

    def encode(self, headers: Headers) -> bytes:
        """Headers as an HPACK block for a raw frame, which must then be sent: it changes the encoder's table."""
        return self._h2.encoder.encode(headers)

    def send_headers(self, stream_id: int, headers: Headers, *, end: bool = False) -> None:
        """Send HEADERS; h2 knows from the order what they are. GoneError for a closed stream."""
        exchange = self._open_exchange(stream_id)
        self._h2.send_headers(stream_id, headers, end_stream=end)
        self._sent(exchange, end=end)

    async def send_data(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Send DATA as the client's windows and frame size allow. GoneError for a closed stream."""
        rest = memoryview(data)
        while True:
            room_bytes = await self._room_bytes(stream_id) if rest else 0
            exchange = self._open_exchange(stream_id)
            piece, rest = rest[:room_bytes], rest[room_bytes:]
            self._h2.send_data(stream_id, piece, end_stream=end and not rest)
            self._sent(exchange, end=end and not rest)
            if not rest:
                return
            await self.drain()

    def reset(self, stream_id: int, error_code: int) -> None:
        """Send RST_STREAM, also on a stream that is closed already."""
        if exchange := self.exchanges.get(stream_id):
            self._refuse_when_closing()
            self._h2.reset_stream(stream_id, error_code)
            self._flush()
            self._close_exchange(exchange)
        else:
            self.frame(RstStreamFrame(stream_id, error_code=error_code))

    async def _room_bytes(self, stream_id: int) -> int:
        await self.until(lambda: stream_id not in self.exchanges or self._h2.local_flow_control_window(stream_id) > 0)
        self._open_exchange(stream_id)
        return min(self._h2.local_flow_control_window(stream_id), self._h2.max_outbound_frame_size)

    def _open_exchange(self, stream_id: int) -> Exchange:
        self._refuse_when_closing()
        if stream_id not in self.exchanges:
            raise GoneError
        return self.exchanges[stream_id]

    def _refuse_when_closing(self) -> None:
        if self.closing:
            raise GoneError

    def _sent(self, exchange: Exchange, *, end: bool) -> None:
        self._flush()
        exchange.ended_here |= end
        self._close_if_ended(exchange)
