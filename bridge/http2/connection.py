"""One HTTP/2 connection as an asyncio protocol: it drives the state machine and wakes the waiting exchanges.

What it sends, `writer` writes.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from bridge.http2 import events
from bridge.http2.causes import Http2RequiredError
from bridge.http2.events import ViolationError
from bridge.http2.exchange import Exchange
from bridge.http2.exchanges import Exchanges
from bridge.http2.faults import FAULT, guarded, report
from bridge.http2.frames import ErrorCode
from bridge.http2.liveness import Caution, Liveness, Trust
from bridge.http2.protocol import ClientProtocol
from bridge.http2.recycling import Recycling
from bridge.http2.reset_budget import ResetBudget
from bridge.http2.writer import Writer

ALPN_HTTP2 = "h2"  # RFC 9113, section 3.2


class Connection(asyncio.Protocol):
    """A connection for many exchanges at once. `changed` is called whenever its free slots may have changed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, body_bytes_max: int, changed: Callable[[], None]) -> None:
        self._loop = loop
        self._changed = changed
        self._protocol = ClientProtocol(ResetBudget(loop.time))
        self._exchanges = Exchanges(self._protocol, body_bytes_max, self._slot_freed)
        self._writer = Writer(loop, self._protocol, self._exchanges, self.fault)
        self._pong: asyncio.Future[None] | None = None
        self._actions: dict[type[events.Event], Callable[[Any], None]] = {
            **self._exchanges.actions,
            events.SettingsReceived: self._on_settings,
            events.PongReceived: self._on_pong,
            events.GoingAway: self._on_going_away,
        }
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done once the server's SETTINGS are there: nothing is sent to one that has not shown HTTP/2."""
        self.closed: asyncio.Future[None] = loop.create_future()
        self._liveness: Liveness | None = None
        self._recycling = Recycling()
        self._begun = 0

    # --- for the pool ---------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether it may take further exchanges."""
        return self._exchanges.takes_more and self.ready.done() and not self.closed.done()

    @property
    def is_closing(self) -> bool:
        """Whether it has sent GOAWAY: nothing is under way on it, but its socket is still open."""
        return self._writer.is_over and not self.closed.done()

    @property
    def is_lost(self) -> bool:
        """Whether its server takes no further exchange: by GOAWAY, or because the connection has ended."""
        return self._writer.is_over or self._exchanges.goaway_code is not None

    @property
    def refuses_http2(self) -> bool:
        """Whether its server has sent GOAWAY because it requires HTTP/1.1."""
        return self._exchanges.goaway_code == ErrorCode.HTTP_1_1_REQUIRED

    @property
    def in_use(self) -> int:
        """Number of exchanges under way."""
        return self._exchanges.in_use

    @property
    def has_slot(self) -> bool:
        """Whether an exchange can begin now."""
        return self._exchanges.has_slot

    @property
    def is_held_back(self) -> bool:
        """Whether no exchange should begin now, although one could: the server is expected to end the connection."""
        return not self._recycling.allows(self._begun, self._exchanges.in_use)

    @property
    def is_asked(self) -> bool:
        """Whether the answer to a PING decides if exchanges can begin."""
        return self._liveness is not None and self._liveness.is_asking

    @property
    def is_silent(self) -> bool:
        """Whether it was given up because the server is silent; exchanges of before may still be under way."""
        return self._liveness is not None and self._liveness.is_given_up

    def watch(self, trust: Trust, caution: Caution, recycling: Recycling) -> None:
        """Check its liveness from now on, and share what it learns with the other connections."""
        self._liveness = Liveness(self._loop, self, trust, caution)
        self._writer.opened = self._liveness.sent
        self._recycling = recycling

    def is_trusted(self) -> bool:
        """Say whether requests may begin on it; send a PING where its liveness is in doubt."""
        return self._liveness is None or self._liveness.is_trusted()

    def expired(self, exchange: Exchange) -> None:
        """Note that one of its exchanges has expired."""
        if self._liveness is not None and exchange.stream_id:
            self._liveness.expired(exchange.stream_id)

    def begin(self, exchange: Exchange) -> None:
        """Begin an exchange; `has_slot` must have said so. Its request leaves with the next write, and not before."""
        exchange.connection = self
        self._begun += 1
        self._exchanges.add(exchange)
        self._writer.flush_soon()

    def abandon(self, exchange: Exchange) -> None:
        """Abandon an exchange that was cancelled; nothing if it is over."""
        if self._exchanges.abandon(exchange):
            self._writer.flush_soon()

    @property
    def given_up(self) -> int:
        """Number of slots that abandoned streams hold."""
        return self._exchanges.given_up

    def reset_given_up(self) -> None:
        """Free these slots, beyond the budget of resets: for when no connection has another one."""
        self._exchanges.reset_given_up()
        self._writer.flush_soon()

    async def ping(self) -> None:
        """Wait for the answer to a PING; raise ConnectionError when the connection closes instead."""
        if self._pong is None:
            self._pong = self._loop.create_future()
            self.send_ping()
        await asyncio.shield(self._pong)

    @guarded
    def retire(self) -> None:
        """Take no further exchange, and close when those under way have ended."""
        self._exchanges.refuse_more()
        self._slot_freed()

    def close(self, what: str = "the client closed the connection") -> None:
        """Close now: what is under way fails by its own outcome."""
        self._writer.close()
        self._end(what)

    def abort(self) -> None:
        """Drop the connection without waiting for what is still to be written."""
        if not self._writer.is_over:  # one that has ended notifies only once: the pool drops it to make room
            self.close()
        self._writer.abort()

    def fault(self, error: Exception) -> None:
        """End the connection because the code failed: what is under way fails by its own outcome."""
        report("a connection", error)
        was_ready = self.ready.done()
        self._end(FAULT)
        # Before that who waits for `ready` does it: in `connection_made`, uvloop has not taken over the socket yet.
        if was_ready:
            self._writer.abort()

    # --- asyncio.Protocol -----------------------------------------------------------------------------------------

    @guarded
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin HTTP/2, if TLS has agreed to it."""
        self._writer.attach(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != ALPN_HTTP2:
            self._refuse()
        else:
            self._writer.flush()

    @guarded
    def data_received(self, data: bytes) -> None:
        """Act on every event in these bytes; a violation closes the connection after what came before it."""
        try:
            for event in self._protocol.receive(data):
                try:
                    self._actions[type(event)](event)
                except Exception as error:
                    if not self._exchanges.fault(getattr(event, "stream_id", 0), error):
                        raise
        except ViolationError as violation:
            if not self.ready.done():
                self._refuse()
            self.close(f"protocol violation: {violation}")
        else:
            if self._liveness is not None:
                self._liveness.received()
            # Most of what a server sends needs no answer, and `begin` schedules the write of its request itself.
            if self._protocol.has_outgoing:
                self._writer.flush_soon()

    @guarded
    def eof_received(self) -> None:
        """End everything at once: nothing more is sent, and asyncio closes the transport after this."""
        self._end("the server closed the connection")

    @guarded
    def connection_lost(self, error: Exception | None) -> None:
        """End everything that is under way by its own outcome."""
        # First, whatever fails below: who closes the pool waits for it.
        if not self.closed.done():
            self.closed.set_result(None)
        self._writer.detach()
        if error is not None:
            # With TLS 1.3 a refused client certificate shows only now, as an alert.
            self._fail_ready(error)
        self._end("the connection was closed")

    # --- events ---------------------------------------------------------------------------------------------------

    def _on_settings(self, _event: events.SettingsReceived) -> None:
        if not self.ready.done():
            self.ready.set_result(None)
        self._exchanges.settings_received()
        self._notify_pool()

    def _on_pong(self, _event: events.PongReceived) -> None:
        if self._pong is not None:
            self._pong.set_result(None)
            self._pong = None

    def _on_going_away(self, event: events.GoingAway) -> None:
        if self._liveness is not None and event.error_code == ErrorCode.ENHANCE_YOUR_CALM:
            self._liveness.calm_down()
        self._recycling.went_away(self._begun, self._exchanges.number_above(event.last_stream_id))
        self._exchanges.actions[events.GoingAway](event)

    # --- for its liveness -----------------------------------------------------------------------------------------

    def send_ping(self) -> None:
        """Send a PING; any byte is an answer to it."""
        self._protocol.ping()
        self._writer.flush_soon()

    @guarded
    def give_up(self) -> None:
        """Take no further exchange. Those under way end by their own deadlines, or by answers that come after all."""
        if self.in_use:
            self.retire()
        else:
            self.abort()

    def trusted_again(self) -> None:
        """Notify the pool that exchanges can begin."""
        self._notify_pool()

    # --- the rest -------------------------------------------------------------------------------------------------

    def _refuse(self) -> None:
        self._fail_ready(Http2RequiredError("the server does not speak HTTP/2"))
        self._writer.abort()

    def _fail_ready(self, error: Exception) -> None:
        self._exchanges.refuse_more()
        if not self.ready.done():
            self.ready.set_exception(error)
            self.ready.exception()  # retrieved, whether or not a task still waits for it

    def _end(self, what: str) -> None:
        self._writer.stop()
        if self._liveness is not None:
            self._liveness.stop()
        self._fail_ready(ConnectionResetError(what))
        self._exchanges.fail_all(what)
        if self._pong is not None:
            self._pong.set_exception(ConnectionResetError(what))
            self._pong.exception()  # retrieved, whether or not a task still waits for it
            self._pong = None
        self._notify_pool()

    def _slot_freed(self) -> None:
        self._close_if_idle()
        self._notify_pool()

    def _notify_pool(self) -> None:
        try:
            self._changed()
        except Exception as error:  # noqa: BLE001 - not this connection's fault
            report("the pool", error)

    def _close_if_idle(self) -> None:
        # Also one on which only given-up streams are left: to close it frees them without a reset.
        if not self._exchanges.in_use and (not self._exchanges.takes_more or self._exchanges.given_up):
            self.close()
