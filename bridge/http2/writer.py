"""The writing half of one connection: what one turn of the event loop sends is one write; and the end of the socket."""

import asyncio
from collections.abc import Callable
from typing import cast

from bridge.http2.exchanges import Exchanges
from bridge.http2.faults import guarded
from bridge.http2.protocol import ClientProtocol

GATHER_FROM = 4
"""With more exchanges than this under way, a write waits one turn of the loop for others to join it."""
CLOSE_TIMEOUT_S = 1.0
"""Graceful-close timeout, in seconds: a server that does not read would keep the socket open for ever."""


class Writer:
    """Writes what the state machine has to send. `fault` is called with what a write raises."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        protocol: ClientProtocol,
        exchanges: Exchanges,
        fault: Callable[[Exception], None],
    ) -> None:
        self.fault = fault
        self.opened: Callable[[int], None] | None = None
        """Is called with the first stream of each write that opens some."""
        self.is_over = False
        """Whether nothing is written any more: what is reported as NOT_SENT must stay so."""
        self._loop = loop
        self._protocol = protocol
        self._exchanges = exchanges
        self._transport: asyncio.WriteTransport | None = None
        self._is_due = False
        self._dropping: asyncio.TimerHandle | None = None

    def attach(self, transport: asyncio.BaseTransport) -> None:
        """Write to this socket from now on."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is one in all but its bases

    def flush_soon(self) -> None:
        """Write what there is to send in this turn of the loop, or in the next one under load."""
        if not self._is_due:
            self._is_due = True
            # Under load one turn later: requests of several calls share a write then, and a call costs 15 % less.
            is_busy = self._exchanges.in_use > GATHER_FROM
            self._loop.call_soon(self._flush_next_turn if is_busy else self.flush)

    @guarded
    def flush(self) -> None:
        """Open the streams of the exchanges that wait, and write; nothing on a connection that is over."""
        self._is_due = False
        if self._transport is None or self.is_over or self._transport.is_closing():
            return
        first_id = self._exchanges.open_all()
        if first_id and self.opened is not None:
            self.opened(first_id)
        self._write()

    def close(self) -> None:
        """Say GOAWAY, and close the socket once all is written; no stream is opened any more."""
        if self._transport is not None and not self._transport.is_closing():
            self._protocol.close()
            self._write()
            self._transport.close()

    def stop(self) -> None:
        """Write nothing from now on, and drop the socket if it is not closed in time."""
        self.is_over = True
        if self._dropping is None and self._transport is not None:
            self._dropping = self._loop.call_later(CLOSE_TIMEOUT_S, self._transport.abort)

    def abort(self) -> None:
        """Drop the socket without waiting for what is still to be written."""
        if self._transport is not None:
            self._transport.abort()

    def detach(self) -> None:
        """Forget the socket, which is closed."""
        self._transport = None
        if self._dropping is not None:
            self._dropping.cancel()

    @guarded
    def _flush_next_turn(self) -> None:
        self._loop.call_soon(self.flush)

    def _write(self) -> None:
        if self._transport is not None and (data := self._protocol.outgoing()):
            self._transport.write(data)
