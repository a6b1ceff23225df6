"""Making one connection: the addresses of a name race as RFC 8305 says (Happy Eyeballs), inside one time limit.

TCP         the next address is tried 250 ms after the last, or at once when one fails; the first that connects wins,
            and the other sockets are closed
handshake   the winner has 1 s to its SETTINGS (RFC 9113, section 3.4), TLS included; then the next address is tried too
limit       no wait is longer than half of the time that is left, so that there is time for a further address
verdict     a refused certificate, or a server without HTTP/2, ends the race: the address answered
sockets     never more than `Sockets.limit` at once: where one more is due, the oldest is closed first

asyncio's own `happy_eyeballs_delay` knows TCP only and no limit of sockets, and uvloop's create_connection lacks it.
"""

import asyncio
import itertools
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bridge.http2.addresses import Address, Addresses
from bridge.http2.causes import Http2RequiredError
from bridge.http2.connection import Connection

ATTEMPT_DELAY_S = 0.25
ATTEMPT_DELAY_MIN_S = 0.01
"""RFC 8305, section 5, "Connection Attempt Delay": the recommended one, and the shortest that is allowed."""
HANDSHAKE_S = 1.0
"""Time for which the address that TCP has reached is the only one that is tried."""

Handshake = Callable[[socket.socket], Awaitable[Connection]]
"""Makes a connection that is ready for use on a connected socket, which it owns from then on."""


@dataclass(slots=True)
class Sockets:
    """The sockets of one race."""

    limit: int
    """Number that may be open at once, at least 1."""
    open: int = 0


@dataclass(eq=False, slots=True)
class _Attempt:
    address: Address
    is_connected: bool = False
    """By TCP."""


class Race:
    """One connect to the addresses of a name. `deadline` is on the loop's clock, in seconds; the caller keeps it."""

    def __init__(self, addresses: Addresses, handshake: Handshake, deadline: float, sockets: Sockets) -> None:
        self._loop = asyncio.get_running_loop()
        self._addresses = addresses
        self._handshake = handshake
        self._deadline = deadline
        self._sockets = sockets
        self._running: dict[_Attempt, asyncio.Task[Connection]] = {}
        self._tried: set[Address] = set()
        self._postponed: list[Address] = []
        """Lost to one that was faster: nothing is known of them, but that they are slower."""
        self._next_at = 0.0
        self._first_error: Exception | None = None
        self._wake = asyncio.Event()

    async def run(self) -> Connection:
        """Return the first connection that is ready for use; raise why there is none."""
        self._addresses.look_up(self._wake.set)
        try:
            while (connection := self._ready()) is None:
                self._begin_if_due()
                await self._sleep()
        finally:
            await self._close_others()
        return connection

    # --- attempts -------------------------------------------------------------------------------------------------

    def _ready(self) -> Connection | None:
        for attempt, task in list(self._running.items()):
            if not task.done():
                continue
            del self._running[attempt]
            if task.cancelled():
                continue
            error = task.exception()
            if error is None:
                self._addresses.worked(attempt.address)
                return task.result()
            if not isinstance(error, Exception) or _is_verdict(error):
                raise error
            self._fail(attempt, error)
            self._next_at = 0.0
        return None

    def _begin_if_due(self) -> None:
        now = self._loop.time()
        if now < self._due_at():
            return
        address = self._next()
        if address is None:
            if not self._running and self._addresses.is_complete:
                raise self._first_error or self._addresses.error
        elif len(self._running) >= self._sockets.limit:
            oldest = next(iter(self._running))
            self._fail(oldest, TimeoutError())
            self._running[oldest].cancel()  # which wakes us when its socket is closed
        else:
            self._begin(address)
            self._next_at = now + self._patience_s(now)

    def _begin(self, address: Address) -> None:
        if address in self._tried:
            self._postponed.remove(address)
        self._tried.add(address)
        attempt = _Attempt(address)
        task = self._loop.create_task(self._attempt(attempt))
        task.add_done_callback(lambda _task: self._wake.set())
        self._running[attempt] = task

    async def _attempt(self, attempt: _Attempt) -> Connection:
        self._sockets.open += 1
        try:
            connected = await self._connected(attempt.address)
            self._won(attempt)
            return await self._handshake(connected)
        finally:
            self._sockets.open -= 1

    async def _connected(self, address: Address) -> socket.socket:
        connecting = socket.socket(address.family, socket.SOCK_STREAM, address.protocol)
        try:
            connecting.settimeout(0)
            connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(connecting, address.where)
        except BaseException:
            connecting.close()
            raise
        return connecting

    def _won(self, winner: _Attempt) -> None:
        winner.is_connected = True
        for attempt, task in self._running.items():
            if not attempt.is_connected and task.cancel():
                self._postponed.append(attempt.address)
        now = self._loop.time()
        self._next_at = now + self._patience_s(now)
        self._wake.set()

    def _fail(self, attempt: _Attempt, error: Exception) -> None:
        self._addresses.failed(attempt.address)
        self._first_error = self._first_error or error

    async def _close_others(self) -> None:
        """Close what is still under way. Its addresses have failed, unless they only lost."""
        running, self._running = self._running, {}
        for attempt, task in running.items():
            if task.cancel() and attempt.address not in self._postponed:
                self._addresses.failed(attempt.address)
        for end in await asyncio.gather(*running.values(), return_exceptions=True):
            if isinstance(end, Connection):
                end.abort()

    # --- times ----------------------------------------------------------------------------------------------------

    def _next(self) -> Address | None:
        untried = (each for each in self._addresses.in_order() if each not in self._tried)
        return next(itertools.chain(untried, self._postponed), None)

    def _due_at(self) -> float:
        return max(self._next_at, self._addresses.usable_from)

    def _patience_s(self, now: float) -> float:
        is_alone = any(attempt.is_connected for attempt in self._running) or len(self._running) >= self._sockets.limit
        longest_s = HANDSHAKE_S if is_alone else ATTEMPT_DELAY_S
        return max(min(longest_s, (self._deadline - now) / 2), ATTEMPT_DELAY_MIN_S)

    async def _sleep(self) -> None:
        """Sleep until an attempt ends, an address is found, or the next attempt is due."""
        due_at = self._due_at()
        timer = None
        if due_at < self._deadline and self._next() is not None:
            timer = self._loop.call_at(due_at, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()
        self._wake.clear()


def _is_verdict(error: Exception) -> bool:
    """Say whether the server answered: then no other address of the name is tried."""
    # RFC 8446, section 6.1: an end without close_notify says nothing.
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return False
    return isinstance(error, ssl.SSLError | Http2RequiredError)
