"""Exchanges of one connection: those with a stream, those that wait for the next write, and room for more.

A stream's outcome changes with what really happens to its bytes: written, refused, answered.
"""

from collections.abc import Callable, Iterator
from typing import Any

from bridge.http2 import events
from bridge.http2.causes import cause_of_code, code_name
from bridge.http2.exchange import Exchange
from bridge.http2.faults import FAULT, report
from bridge.http2.frames import ErrorCode
from bridge.http2.protocol import ClientProtocol

STREAMS_MAX = 1000
"""Streams that we open at once, whatever the server allows."""


class Exchanges:
    """Requests under way on one connection. `freed` is called whenever one of them has ended."""

    def __init__(self, protocol: ClientProtocol, body_bytes_max: int, freed: Callable[[], None]) -> None:
        self._protocol = protocol
        self._body_bytes_max = body_bytes_max
        self._freed = freed
        self._open: dict[int, Exchange] = {}
        self._unwritten: dict[Exchange, None] = {}
        self._blocked: dict[int, Exchange] = {}
        self._slots = 0
        self._room = 0
        """Exchanges that may be under way at once; 0 while none may begin."""
        self.takes_more = True
        """Whether further exchanges may begin, now or later."""
        self.goaway_code: int | None = None
        """The error code of the server's last GOAWAY, any 32-bit number; None before one has come."""
        self.actions: dict[type[events.Event], Callable[[Any], None]] = {
            events.InterimAnswer: self._on_interim_answer,
            events.AnswerBegun: self._on_answer_begun,
            events.BodyReceived: self._on_body,
            events.AnswerEnded: self._on_answer_ended,
            events.StreamReset: self._on_reset,
            events.StreamFaulted: self._on_fault,
            events.GivenUpEnded: self._on_given_up_ended,
            events.GoingAway: self._on_going_away,
            events.WindowOpened: self._on_window,
        }

    @property
    def in_use(self) -> int:
        """Number of exchanges under way."""
        return len(self._open) + len(self._unwritten)

    @property
    def has_slot(self) -> bool:
        """Whether an exchange can begin now."""
        return len(self._open) + len(self._unwritten) < self._room

    @property
    def given_up(self) -> int:
        """Number of slots that abandoned streams hold."""
        return self._protocol.given_up

    def add(self, exchange: Exchange) -> None:
        """Take an exchange, which waits for `open_all`; `has_slot` must have said so."""
        self._unwritten[exchange] = None
        if self._protocol.streams_left <= len(self._unwritten):
            self.refuse_more()

    def open_all(self) -> int:
        """Give those that wait their streams, in the very moment in which their first bytes are written.

        Return the id of the first new stream, 0 where there is none.
        """
        if not self._unwritten:
            return 0
        first_id = self._protocol.next_stream_id
        unwritten, self._unwritten = self._unwritten, {}
        for exchange in unwritten:
            # One that has expired, or whose caller has cancelled, has ended as NOT_SENT: so it must stay.
            if not exchange.answer.done():
                self._try(self._begin, exchange)
        return first_id if self._protocol.next_stream_id != first_id else 0

    def abandon(self, exchange: Exchange) -> bool:
        """Abandon an exchange; return whether there is something to send about it.

        Nothing is sent of one that waits for the next write. Of any other the stream is reset, or left to end by
        itself beyond the budget of resets.
        """
        if not exchange.stream_id:
            self._unwritten.pop(exchange, None)
            self._freed()
            return False
        if exchange.stream_id not in self._open:
            return False
        self._reset(exchange, ErrorCode.CANCEL)
        return True

    def reset_given_up(self) -> None:
        """Free the slots that given-up streams hold, beyond the budget of resets."""
        self._protocol.reset_given_up()
        self._count_room()

    def number_above(self, last_stream_id: int) -> int:
        """Return how many exchanges are under way that GOAWAY with this last stream disowns."""
        return len(self._unwritten) + sum(stream_id > last_stream_id for stream_id in self._open)

    def refuse_more(self) -> None:
        """Take no further exchange."""
        self.takes_more = False
        self._room = 0

    def settings_received(self) -> None:
        """Keep to the limits of the server's that hold now."""
        self._slots = min(self._protocol.streams_max, STREAMS_MAX)
        self._count_room()
        while self._unwritten and self.in_use + self.given_up > self._slots:
            # The server allows fewer now. Like those above a GOAWAY: it has not seen them, and never will.
            exchange, _ = self._unwritten.popitem()
            exchange.disowned()
            exchange.fail("SETTINGS")
        self._on_window(events.WindowOpened())

    def fail_all(self, what: str) -> None:
        """End every exchange by its own outcome."""
        self.refuse_more()
        if self.goaway_code is not None:
            what = f"{what} after GOAWAY {code_name(self.goaway_code)}"
        for exchange in self._drained():
            try:
                exchange.fail(what, cause_of_code(self.goaway_code or ErrorCode.NO_ERROR))
            except Exception as error:  # noqa: BLE001 - the others must end all the same
                report("an exchange", error)

    def fault(self, stream_id: int, error: Exception) -> bool:
        """End the exchange in whose handling the code failed, by its own outcome; return whether it is known."""
        exchange = self._open.get(stream_id)
        if exchange is None:
            return False
        self._fault(exchange, error)
        return True

    # --- events ---------------------------------------------------------------------------------------------------

    def _on_interim_answer(self, event: events.InterimAnswer) -> None:
        if exchange := self._open.get(event.stream_id):
            exchange.has_begun = True

    def _on_answer_begun(self, event: events.AnswerBegun) -> None:
        exchange = self._open.get(event.stream_id)
        if exchange is not None and not exchange.begin(event.status, event.headers):
            self._reset(exchange, ErrorCode.PROTOCOL_ERROR)

    def _on_body(self, event: events.BodyReceived) -> None:
        exchange = self._open.get(event.stream_id)
        if exchange is None:
            return
        exchange.parts.append(event.data)
        exchange.size_bytes += len(event.data)
        if exchange.declared_bytes is not None and exchange.size_bytes > exchange.declared_bytes:
            exchange.complete()
            self._reset(exchange, ErrorCode.PROTOCOL_ERROR)
        elif exchange.size_bytes > self._body_bytes_max:
            exchange.cut()
            self._reset(exchange, ErrorCode.CANCEL)

    def _on_answer_ended(self, event: events.AnswerEnded) -> None:
        exchange = self._open.get(event.stream_id)
        if exchange is None:
            return
        exchange.complete()
        self._take(event.stream_id)
        if exchange.unsent:
            # Section 8.1: an answer may be complete before the request is. It counts; the rest need not be sent.
            self._protocol.give_up(event.stream_id, ErrorCode.NO_ERROR)
        self._freed()

    def _on_reset(self, event: events.StreamReset) -> None:
        exchange = self._open.get(event.stream_id)
        if exchange is not None:
            exchange.reset(event.error_code)
            self._take(event.stream_id)
            self._count_room()  # it was reset by us, perhaps, or left to end by itself
            self._freed()

    def _on_fault(self, event: events.StreamFaulted) -> None:
        self.fault(event.stream_id, event.error)

    def _on_given_up_ended(self, _event: events.GivenUpEnded) -> None:
        self._count_room()
        self._freed()

    def _on_going_away(self, event: events.GoingAway) -> None:
        self.refuse_more()
        self.goaway_code = event.error_code
        above = [each for each in self._open.values() if each.stream_id > event.last_stream_id]
        for exchange in (*above, *self._unwritten):
            exchange.disowned()
            exchange.fail(f"GOAWAY {code_name(event.error_code)}", cause_of_code(event.error_code))
            self._take(exchange.stream_id)
        self._unwritten.clear()
        self._freed()

    def _on_window(self, _event: events.WindowOpened) -> None:
        blocked, self._blocked = self._blocked, {}
        for exchange in blocked.values():
            self._try(self._send, exchange)

    # --- the rest -------------------------------------------------------------------------------------------------

    def _begin(self, exchange: Exchange) -> None:
        exchange.stream_id = self._protocol.begin(exchange.request_headers, has_body=bool(exchange.unsent))
        exchange.written()
        self._open[exchange.stream_id] = exchange
        self._send(exchange)

    def _send(self, exchange: Exchange) -> None:
        exchange.unsent = self._protocol.send(exchange.stream_id, exchange.unsent)
        if exchange.unsent:
            self._blocked[exchange.stream_id] = exchange

    def _try(self, step: Callable[[Exchange], None], exchange: Exchange) -> None:
        try:
            step(exchange)
        except Exception as error:  # noqa: BLE001 - a fault of this exchange; the others go on
            self._fault(exchange, error)

    def _fault(self, exchange: Exchange, error: Exception) -> None:
        report("an exchange", error)
        exchange.fail(FAULT)
        self._reset(exchange, ErrorCode.INTERNAL_ERROR)

    def _reset(self, exchange: Exchange, error_code: ErrorCode) -> None:
        self._take(exchange.stream_id)
        self._protocol.give_up(exchange.stream_id, error_code)
        self._count_room()
        self._freed()

    def _count_room(self) -> None:
        """Count the slots for exchanges: none where half of them are held by abandoned streams, whatever the reason."""
        given_up = self._protocol.given_up
        self._room = self._slots - given_up if self.takes_more and given_up * 2 < self._slots else 0

    def _take(self, stream_id: int) -> Exchange | None:
        self._blocked.pop(stream_id, None)
        return self._open.pop(stream_id, None)

    def _drained(self) -> Iterator[Exchange]:
        while self._unwritten:
            yield self._unwritten.popitem()[0]
        while self._open:
            yield self._open.popitem()[1]
