"""One HTTP/2 connection as an asyncio protocol: it drives the state machine, and wakes those who wait for it.

Everything that one turn of the loop wants to send leaves in one write. A stream's outcome changes with what really
happens to its bytes: written, refused, answered.
"""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from typing import Any, cast

from bridge.http2 import events
from bridge.http2.events import ViolationError
from bridge.http2.exchange import Exchange
from bridge.http2.frames import ErrorCode
from bridge.http2.protocol import ClientProtocol

ALPN_HTTP2 = "h2"  # RFC 9113, section 3.2
STREAMS_MAX = 1000
"""How many streams we open at once, whatever the server allows."""
GATHER_FROM = 4
"""With more exchanges than this under way, a write waits one turn of the loop for company."""
CLOSE_TIMEOUT_S = 1.0
"""How long a goodbye may take: to a server that does not read, it would last for ever."""


class Http2RequiredError(ConnectionError):
    """The server does not speak HTTP/2. No byte of a request has left."""


class Connection(asyncio.Protocol):
    """A connection for many exchanges at once. `changed` is called whenever its free slots may have changed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, body_bytes_max: int, changed: Callable[[], None]) -> None:
        self._loop = loop
        self._body_bytes_max = body_bytes_max
        self._changed = changed
        self._protocol = ClientProtocol()
        self._exchanges: dict[int, Exchange] = {}
        self._unwritten: dict[Exchange, None] = {}
        self._blocked: dict[int, Exchange] = {}
        self._transport: asyncio.WriteTransport | None = None
        self._flush_is_due = False
        self._takes_streams = True
        self._slots = 0
        self._is_over = False
        self._dropping: asyncio.TimerHandle | None = None
        self._pong: asyncio.Future[None] | None = None
        self._actions: dict[type[events.Event], Callable[[Any], None]] = {
            events.AnswerBegun: self._on_answer_begun,
            events.BodyReceived: self._on_body,
            events.AnswerEnded: self._on_answer_ended,
            events.StreamReset: self._on_reset,
            events.GoingAway: self._on_going_away,
            events.SettingsReceived: self._on_settings,
            events.WindowOpened: self._on_window,
            events.PongReceived: self._on_pong,
        }
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done once the server's SETTINGS are there: nothing is sent to one that has not shown HTTP/2."""
        self.closed: asyncio.Future[None] = loop.create_future()
        self.heard_at = loop.time()
        """When the server was last heard, on the loop's clock, in seconds."""

    # --- for the pool ---------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether it may take further exchanges."""
        return self._takes_streams and self.ready.done() and not self.closed.done()

    @property
    def in_use(self) -> int:
        """How many exchanges are under way."""
        return len(self._exchanges) + len(self._unwritten)

    @property
    def has_slot(self) -> bool:
        """Whether an exchange can begin now."""
        return (
            self._takes_streams
            and len(self._exchanges) + len(self._unwritten) < self._slots
            and self.ready.done()
            and not self.closed.done()
        )

    def begin(self, exchange: Exchange) -> None:
        """Begin an exchange; `has_slot` must have said so. Its request leaves with the next write, and not before."""
        exchange.connection = self
        self._unwritten[exchange] = None
        if self._protocol.streams_left <= len(self._unwritten):
            self._takes_streams = False
        self._flush_soon()

    def abandon(self, exchange: Exchange) -> None:
        """Give up an exchange whose caller has gone.

        Nothing is sent of one that waits for the next write. Of any other the stream is reset, so that nothing of it
        is held on either side.
        """
        if not exchange.stream_id:
            self._unwritten.pop(exchange, None)
            self._slot_freed()
        elif self._take(exchange.stream_id) is not None:
            self._protocol.reset(exchange.stream_id, ErrorCode.CANCEL)
            self._flush_soon()
            self._slot_freed()

    async def ping(self) -> None:
        """Wait for a sign of life; raise ConnectionError when the connection closes instead."""
        if self._pong is None:
            self._pong = self._loop.create_future()
            self._protocol.ping()
            self._flush_soon()
        await asyncio.shield(self._pong)

    def retire(self) -> None:
        """Take no further exchange, and close when those under way have ended."""
        self._takes_streams = False
        self._close_if_idle()
        self._changed()

    def close(self, what: str = "the client closed the connection") -> None:
        """Close now: what is under way fails by its own outcome."""
        if self._transport is not None and not self._transport.is_closing():
            self._protocol.close()
            self._write()  # and no stream is opened any more
            self._transport.close()
        self._end(what)

    def abort(self) -> None:
        """Drop the connection without waiting for what is still to be written."""
        self.close()
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin HTTP/2, if TLS has agreed to it."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is one in all but its bases
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != ALPN_HTTP2:
            self._refuse()
        else:
            self._flush()

    def data_received(self, data: bytes) -> None:
        """Act on every event in these bytes; a violation closes the connection after what came before it."""
        self.heard_at = self._loop.time()
        try:
            for event in self._protocol.receive(data):
                self._actions[type(event)](event)
        except ViolationError as violation:
            if not self.ready.done():
                self._refuse()
            self.close(f"protocol violation: {violation}")
        else:
            self._flush_soon()

    def eof_received(self) -> None:
        """End everything at once: nothing more is sent, and asyncio closes the transport after this."""
        self._end("the server closed the connection")

    def connection_lost(self, error: Exception | None) -> None:
        """End everything that is under way by its own outcome."""
        if error is not None:
            # With TLS 1.3 a refused client certificate shows only now, as an alert.
            self._fail_ready(error)
        if not self.closed.done():
            self.closed.set_result(None)
        self._end("the connection was closed")
        if self._dropping is not None:
            self._dropping.cancel()

    # --- events ---------------------------------------------------------------------------------------------------

    def _on_answer_begun(self, event: events.AnswerBegun) -> None:
        if exchange := self._exchanges.get(event.stream_id):
            exchange.status, exchange.headers = event.status, event.headers

    def _on_body(self, event: events.BodyReceived) -> None:
        exchange = self._exchanges.get(event.stream_id)
        if exchange is None:
            return
        exchange.parts.append(event.data)
        exchange.size_bytes += len(event.data)
        if exchange.size_bytes > self._body_bytes_max:
            # Whoever reads it sees that it is over the limit; the rest of it is not wanted.
            exchange.headers = ()
            exchange.complete()
            self.abandon(exchange)

    def _on_answer_ended(self, event: events.AnswerEnded) -> None:
        exchange = self._take(event.stream_id)
        if exchange is None:
            return
        if exchange.unsent:
            # Section 8.1: an answer may be complete before the request is. It counts; the rest need not be sent.
            self._protocol.reset(event.stream_id, ErrorCode.NO_ERROR)
        exchange.complete()
        self._slot_freed()

    def _on_reset(self, event: events.StreamReset) -> None:
        exchange = self._take(event.stream_id)
        if exchange is not None:
            exchange.reset(event.error_code)
            self._slot_freed()

    def _on_going_away(self, event: events.GoingAway) -> None:
        self._takes_streams = False
        above = [each for each in self._exchanges.values() if each.stream_id > event.last_stream_id]
        for exchange in (*above, *self._unwritten):
            self._take(exchange.stream_id)
            exchange.disowned()
            exchange.fail("GOAWAY")
        self._unwritten.clear()
        self._close_if_idle()
        self._changed()

    def _on_settings(self, _event: events.SettingsReceived) -> None:
        self._slots = min(self._protocol.streams_max, STREAMS_MAX)
        if not self.ready.done():
            self.ready.set_result(None)
        while self._unwritten and self.in_use > self._slots:
            # The server allows fewer now. Like those above a GOAWAY: it has not seen them, and never will.
            exchange, _ = self._unwritten.popitem()
            exchange.disowned()
            exchange.fail("SETTINGS")
        self._on_window(events.WindowOpened())
        self._changed()

    def _on_window(self, _event: events.WindowOpened) -> None:
        blocked, self._blocked = self._blocked, {}
        for exchange in blocked.values():
            self._send(exchange)

    def _on_pong(self, _event: events.PongReceived) -> None:
        if self._pong is not None:
            self._pong.set_result(None)
            self._pong = None

    # --- the rest -------------------------------------------------------------------------------------------------

    def _send(self, exchange: Exchange) -> None:
        exchange.unsent = self._protocol.send(exchange.stream_id, exchange.unsent)
        if exchange.unsent:
            self._blocked[exchange.stream_id] = exchange

    def _take(self, stream_id: int) -> Exchange | None:
        self._blocked.pop(stream_id, None)
        return self._exchanges.pop(stream_id, None)

    def _flush_soon(self) -> None:
        if not self._flush_is_due:
            self._flush_is_due = True
            # Under load one turn later: requests of several calls share a write then, and a call costs 15 % less.
            is_busy = self.in_use > GATHER_FROM
            self._loop.call_soon(self._flush_next_turn if is_busy else self._flush)

    def _flush_next_turn(self) -> None:
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        if self._transport is None or self._is_over or self._transport.is_closing():
            return
        unwritten, self._unwritten = self._unwritten, {}
        for exchange in unwritten:
            # One whose time is over, or whose caller has left, has ended as NOT_SENT: so it must stay.
            if not exchange.answer.done():
                self._open(exchange)
        self._write()

    def _write(self) -> None:
        if self._transport is not None and (data := self._protocol.outgoing()):
            self._transport.write(data)

    def _open(self, exchange: Exchange) -> None:
        """Give an exchange its stream, in the very moment in which its first byte is written."""
        exchange.stream_id = self._protocol.begin(exchange.request_headers, has_body=bool(exchange.unsent))
        exchange.written()
        self._exchanges[exchange.stream_id] = exchange
        self._send(exchange)

    def _refuse(self) -> None:
        self._fail_ready(Http2RequiredError("the server does not speak HTTP/2"))
        if self._transport is not None:
            self._transport.abort()

    def _fail_ready(self, error: Exception) -> None:
        self._takes_streams = False
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # seen, whether or not somebody still waits for it

    def _end(self, what: str) -> None:
        # From here on nothing is written: what is told to be NOT_SENT must stay so.
        self._is_over = True
        self._fail_ready(ConnectionResetError(what))
        if self._dropping is None and self._transport is not None and not self.closed.done():
            self._dropping = self._loop.call_later(CLOSE_TIMEOUT_S, self._transport.abort)
        for exchange in self._drained():
            exchange.fail(what)
        if self._pong is not None:
            self._pong.set_exception(ConnectionResetError(what))
            self._pong.exception()  # seen, whether or not somebody still waits for it
            self._pong = None
        self._changed()

    def _drained(self) -> Iterator[Exchange]:
        while self._unwritten:
            yield self._unwritten.popitem()[0]
        while self._exchanges:
            yield self._exchanges.popitem()[1]

    def _slot_freed(self) -> None:
        self._close_if_idle()
        self._changed()

    def _close_if_idle(self) -> None:
        if not self._takes_streams and not self.in_use:
            self.close()
