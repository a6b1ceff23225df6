"""The connections to one origin: requests get a free stream in order, and a server that is down sees no stampede.

request   begins at once on an open connection with a free slot, else it waits in the queue
growth    while requests wait, one more connection (never two at a time) is made, up to the maximum
doubt     a connection that is silent is asked by a PING, and given up without an answer: see `liveness`
given up  abandoned streams hold slots until they end: see `given_up`. Where they leave none on any
          connection, and there may be no further one, those of one connection are reset
age       after `age_max_s`, jittered, a connection retires; the next one resolves the name again
recycling a server that takes few requests on a connection does not get more at once: see `recycling`
failure   every queued request fails with the cause; the next attempt to connect waits for a jittered, growing delay,
          as it does after a connection that served no queued request
"""

import asyncio
import itertools
import random
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from bridge.headers import Headers
from bridge.http2.causes import CLOSED, HTTP2_REQUIRED
from bridge.http2.connect import Sockets
from bridge.http2.connection import Connection
from bridge.http2.errors import UnreachableError
from bridge.http2.exchange import Exchange
from bridge.http2.liveness import TRUST, Caution, Trust
from bridge.http2.recycling import EXPECT_MORE_S, Recycling

AGE_JITTER = 0.1
BACKOFF_MIN_S, BACKOFF_MAX_S = 0.02, 1.0


Connect = Callable[[Callable[[], None], Sockets], Awaitable[Connection]]
"""Makes one connection that is ready for use and calls back on changes; raises UnreachableError."""

TOTAL_FACTOR = 2
"""Limit on all connections, in multiples of `connections_max`: retiring, closing and connecting ones included."""


class Pool:
    """Carries requests over as many connections as they need, up to `connections_max`."""

    def __init__(self, connect: Connect, *, connections_max: int, trust: Trust = TRUST) -> None:
        self.loop = asyncio.get_running_loop()
        self._connect = connect
        self._connections_max = connections_max
        self._trust = trust
        self._connections: list[Connection] = []
        self._queue: OrderedDict[Exchange, None] = OrderedDict()
        self._connecting: asyncio.Task[None] | None = None
        self._sockets = Sockets(limit=0)
        self._caution = Caution()
        self._recycling = Recycling()
        self._expecting: asyncio.TimerHandle | None = None
        self._dropped: Connection | None = None
        """The connection that was dropped to make room. One at a time: it calls back before it is gone."""
        self._failures = 0
        self._is_closed = False

    def submit(self, headers: Headers, body: bytes) -> Exchange:
        """Begin a request or queue it; a caller that waits for its answer ends with `withdraw`.

        Raise UnreachableError when the pool is closed.
        """
        if self._is_closed:
            raise UnreachableError(CLOSED)
        exchange = Exchange(headers, body, self.loop.create_future())
        if self._queue or not self._begin(exchange):
            self._queue[exchange] = None
            self._grow()
        return exchange

    def withdraw(self, exchange: Exchange) -> None:
        """Abandon a request; nothing when it has ended."""
        if exchange.connection is None:
            self._queue.pop(exchange, None)
        else:
            exchange.connection.abandon(exchange)

    def expire(self, exchange: Exchange) -> None:
        """End a request because its time is over."""
        exchange.expire()
        if exchange.connection is not None:
            exchange.connection.expired(exchange)

    @property
    def connections(self) -> int:
        """Number of connections, with those that retire, close, or are just being made."""
        return len(self._connections) + self._sockets.open

    @property
    def streams(self) -> int:
        """Number of requests under way on them."""
        return sum(connection.in_use for connection in self._connections)

    def retire(self) -> None:
        """Use no connection that is open for a further request."""
        for connection in list(self._connections):
            connection.retire()

    async def aclose(self) -> None:
        """Close every connection; what is under way fails by its own outcome."""
        self._is_closed = True
        if self._expecting is not None:
            self._expecting.cancel()
        tasks = [] if self._connecting is None else [self._connecting]
        for task in tasks:
            task.cancel()
        self._fail_queue(UnreachableError(CLOSED))
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        await asyncio.gather(*tasks, *(connection.closed for connection in connections), return_exceptions=True)

    # --- slots ----------------------------------------------------------------------------------------------------

    def _begin(self, exchange: Exchange) -> bool:
        for connection in self._connections:
            if not connection.has_slot:
                continue
            if connection.is_held_back:
                self._expect_more_later(connection)
            elif connection.is_trusted():
                connection.begin(exchange)
                return True
        return False

    def _expect_more_later(self, connection: Connection) -> None:
        if self._expecting is None:
            self._expecting = self.loop.call_later(EXPECT_MORE_S, self._expect_more, connection)

    def _expect_more(self, connection: Connection) -> None:
        self._expecting = None
        if connection.has_slot and connection.is_held_back:
            self._recycling.expect_more()
        self._serve()

    def _serve(self) -> None:
        if self._queue:
            self._advance()
            self._grow()

    def _advance(self) -> None:
        """Begin as many of the queued requests as there are slots, in order."""
        while self._queue:
            exchange = next(iter(self._queue))
            if not exchange.answer.done() and not self._begin(exchange):
                break
            self._queue.pop(exchange)

    # --- connections ----------------------------------------------------------------------------------------------

    def _grow(self) -> None:
        if not self._queue or self._connecting is not None or self._is_closed:
            return
        # The answer to a PING is nearer than another connection, and if it does not come, that is made.
        if any(each.is_asked and each.has_slot for each in self._connections):
            return
        if sum(each.is_open for each in self._connections) >= self._connections_max:
            self._free_slots()
            return
        if self._room() > 0:
            self._connecting = self.loop.create_task(self._add_connection())
        else:
            self._make_room()

    def _free_slots(self) -> None:
        """Reset given-up streams where no other slot is in sight, on the connection with the fewest calls at stake."""
        burdened = [each for each in self._connections if each.is_open and each.given_up]
        if burdened:
            min(burdened, key=lambda each: each.in_use).reset_given_up()
            self._advance()

    def _room(self) -> int:
        """Return how many sockets more there may be."""
        return TOTAL_FACTOR * self._connections_max - len(self._connections)

    def _make_room(self) -> None:
        """Drop a connection that is of no use: one that is closing, else a silent one. `_serve` is called at its end.

        One that still receives and has calls under way is left alone: they would end as UNKNOWN, while queued requests
        are NOT_SENT at worst, which is certain. They end by their own deadlines, so that room comes in bounded time.
        """
        if self._dropped is not None and not self._dropped.closed.done():
            return
        closing = (each for each in self._connections if each.is_closing)
        silent = (each for each in self._connections if each.is_silent)
        self._dropped = next(itertools.chain(closing, silent), None)
        if self._dropped is not None:
            self._dropped.abort()

    async def _add_connection(self) -> None:
        try:
            await asyncio.sleep(self._delay_s())
            self._sockets = Sockets(self._room())
            connection = await self._connect(self._serve, self._sockets)
            self._adopt(connection)
            # Its GOAWAY may have come right behind its SETTINGS, before any request could be sent.
            if connection.is_lost:
                connection.close()
                raise UnreachableError(HTTP2_REQUIRED if connection.refuses_http2 else CLOSED)  # noqa: TRY301 - as if none had been made
        except Exception as error:  # noqa: BLE001 - whatever it was, the queued requests must fail with it
            self._failures += 1
            # Requests that can still get a slot on another connection stay queued.
            if not any(each.is_open for each in self._connections):
                self._fail_queue(error)
        else:
            self._advance()
            self._failures = 0 if connection.in_use or not self._queue else self._failures + 1
        finally:
            self._connecting = None
        self._serve()

    def _delay_s(self) -> float:
        if not self._failures:
            return 0.0
        # The exponent is bounded, or else the power would one day be too large for a float.
        highest_s = min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** min(self._failures, 10))
        return random.uniform(BACKOFF_MIN_S, highest_s)  # noqa: S311 - no secret

    def _adopt(self, connection: Connection) -> None:
        age_s = self._trust.age_max_s * random.uniform(1 - AGE_JITTER, 1 + AGE_JITTER)  # noqa: S311 - no secret
        retirement = self.loop.call_later(age_s, connection.retire)

        def forget(_closed: asyncio.Future[None]) -> None:
            retirement.cancel()
            if connection in self._connections:
                self._connections.remove(connection)
            self._serve()  # there is room for another one

        connection.watch(self._trust, self._caution, self._recycling)
        self._connections.append(connection)
        connection.closed.add_done_callback(forget)

    def _fail_queue(self, error: Exception) -> None:
        line, self._queue = self._queue, OrderedDict()
        for exchange in line:
            exchange.fail_with(error)
