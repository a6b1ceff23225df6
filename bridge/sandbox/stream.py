"""One request, and every way to answer it, well or badly: what a behaviour gets."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from bridge.sandbox.connection import Connection, Headers
from bridge.sandbox.record import Record, Request
from bridge.sandbox.wire import GoneError


class Stream:
    """A request with its stream. What may have to wait for the client is awaited, the rest takes effect at once.

    Everything raises GoneError once the stream or its connection is over; a behaviour lets it pass.
    """

    def __init__(self, connection: Connection, request: Request, record: Record) -> None:
        self.connection = connection
        self.request = request
        """As it was when the behaviour was called: with `early`, the body is not there yet."""
        self.id = request.stream_id
        self._exchange = connection.exchanges[request.stream_id]
        self._record = record

    @property
    def closed(self) -> asyncio.Event:
        """Set once both sides have ended the stream, one has reset it, or the connection is lost."""
        return self._exchange.closed

    def mark_processed(self) -> None:
        """Let the request take effect in the wallet. GoneError if a GOAWAY of ours promised that it would not."""
        if self._exchange.disowned:
            raise GoneError
        self._record.processed.append(self.request.token)
        self._record.changed.beat()

    async def pause(self, delay_s: float) -> None:
        """Wait, at most until the stream is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self.closed.wait()

    async def body(self) -> bytes:
        """Wait for the whole body of the request."""
        exchange = self._exchange
        await self.connection.until(lambda: exchange.ended_there or exchange.closed.is_set())
        if not exchange.ended_there:
            raise GoneError
        return bytes(exchange.body)

    async def respond(self, status: int, body: bytes = b"", headers: Headers = (), *, end: bool = True) -> None:
        """Send a whole answer, or without `end` one to which more can be added."""
        self.send_headers(status, headers, end=end and not body)
        if body:
            await self.send_data(body, end=end)

    def send_headers(self, status: int, headers: Headers = (), *, end: bool = False) -> None:
        """Send the status and headers of the final answer."""
        self.connection.send_headers(self.id, [(":status", str(status)), *headers], end=end)

    def informational(self, status: int, headers: Headers = ()) -> None:
        """Send a 1xx answer before the final one."""
        self.send_headers(status, headers)

    async def send_data(self, data: bytes, *, end: bool = False) -> None:
        """Send a part of the body, waiting for the client's flow-control windows where they are used up."""
        await self.connection.send_data(self.id, data, end=end)

    async def end(self) -> None:
        """End the answer with an empty DATA frame."""
        await self.send_data(b"", end=True)

    def trailers(self, headers: Headers) -> None:
        """End the answer with trailers."""
        self.connection.send_headers(self.id, headers, end=True)

    def reset(self, error_code: int) -> None:
        """Send RST_STREAM, also when the answer is complete already."""
        self.connection.reset(self.id, error_code)


Behaviour: TypeAlias = Callable[[Stream], Awaitable[None]]
