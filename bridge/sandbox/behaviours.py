"""Ready-made behaviours of a wallet, and ways to combine them. Each is a `Behaviour`, or a function that makes one."""

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate

from h2.errors import ErrorCodes

from bridge.sandbox.answers import (
    JSON,
    Answer,
    Cut,
    Drip,
    Endless,
    Plan,
    Reply,
    Silence,
    envelope,
    json_object,
    json_text,
)
from bridge.sandbox.connection import Headers
from bridge.sandbox.operations import OPERATIONS, TERMINATE
from bridge.sandbox.record import Request
from bridge.sandbox.stream import Behaviour, Stream
from bridge.sandbox.wire import GoneError


async def carry_out(plan: Plan, stream: Stream) -> None:
    """Answer as planned, until it is done or the client has gone."""
    match plan:
        case Reply(answer, delay_s):
            if delay_s:
                await stream.pause(delay_s)
            await stream.respond(answer.status, answer.body, _sized(answer))
        case Drip(answer, interval_s):
            stream.send_headers(answer.status, _sized(answer))
            await _drip(answer.body, interval_s, stream)
        case Endless(answer):
            stream.send_headers(answer.status, _dated(answer))
            await _endless(answer.body, stream)
        case Cut(answer):
            await stream.respond(answer.status, answer.body[:-1], _sized(answer), end=False)
            stream.connection.close()
        case Silence():
            await hang(stream)


def _dated(answer: Answer) -> Headers:
    return (*answer.headers, ("date", formatdate(usegmt=True)))  # RFC 9110, section 6.6.1


def _sized(answer: Answer) -> Headers:
    return (*_dated(answer), ("content-length", str(len(answer.body))))


async def _drip(body: bytes, interval_s: float, stream: Stream) -> None:
    for byte in body:
        await stream.send_data(bytes([byte]))
        await stream.pause(interval_s)
    await stream.end()


async def _endless(piece: bytes, stream: Stream) -> None:
    while True:
        await stream.send_data(piece)
        await stream.connection.drain()


def success_body(request: Request, **changes: object) -> bytes:
    """Return the success answer of the wallet's page to a request, unchecked; `changes` replace or add fields."""
    operation = OPERATIONS.get(request.path, TERMINATE)
    members = {**envelope(status=True, code=1, message=""), **operation.success(request.fields)}
    return json_object({**members, **{name: json_text(value) for name, value in changes.items()}})


def terminated_with(**changes: object) -> Behaviour:
    """Process the request and answer with success, but with these fields of the body changed."""

    async def behaviour(stream: Stream) -> None:
        stream.mark_processed()
        await stream.respond(200, success_body(stream.request, **changes), JSON)

    return behaviour


terminated = terminated_with()
"""The good wallet: processes the request, unchecked, and answers with success."""


def in_turn(*steps: Callable[[Stream], Awaitable[object] | None]) -> Behaviour:
    """Take one step after the other: behaviours, or what else can be done with a stream."""

    async def behaviour(stream: Stream) -> None:
        for step in steps:
            under_way = step(stream)
            if under_way is not None:
                await under_way

    return behaviour


def answer(status: int = 200, body: bytes = b"", headers: Headers = JSON) -> Behaviour:
    """Give this answer; the request counts as not processed."""
    return in_turn(lambda stream: stream.respond(status, body, headers))


def reset_with(error_code: int) -> Behaviour:
    """Reset the stream instead of answering."""
    return in_turn(lambda stream: stream.reset(error_code))


def refuse(times: int, then: Behaviour = terminated) -> Behaviour:
    """Refuse the first requests with REFUSED_STREAM, which proves that they were not processed."""
    return sequence(*[reset_with(ErrorCodes.REFUSED_STREAM)] * times, then)


async def hang(stream: Stream) -> None:
    """Never answer; return when the stream is reset or the connection is lost."""
    await stream.closed.wait()


def drip(body: bytes, interval_s: float) -> Behaviour:
    """Answer 200 at once, then the body one byte at a time."""
    return in_turn(lambda stream: stream.send_headers(200, JSON), lambda stream: _drip(body, interval_s, stream))


def endless(piece: bytes) -> Behaviour:
    """Answer 200 and a body that never ends, as fast as the client's windows allow."""
    return in_turn(lambda stream: stream.send_headers(200, JSON), lambda stream: _endless(piece, stream))


def flood(make: Callable[[Stream], bytes]) -> Behaviour:
    """Put what `make` returns on the wire again and again until the connection is lost."""

    async def behaviour(stream: Stream) -> None:
        while True:
            stream.connection.raw(make(stream))
            await stream.connection.drain()

    return behaviour


def processed(then: Behaviour) -> Behaviour:
    """Process the request, and then do as `then`: what happens to it is the client's to find out."""
    return in_turn(Stream.mark_processed, then)


def after(event: asyncio.Event, then: Behaviour = terminated) -> Behaviour:
    """Wait for the test's event before doing as `then`."""
    return in_turn(lambda _: _happened(event), then)


async def _happened(event: asyncio.Event) -> None:
    await event.wait()


def by_token(table: Mapping[str, Behaviour], default: Behaviour = terminated) -> Behaviour:
    """Choose by the token in the request's body, which must be JSON."""

    async def behaviour(stream: Stream) -> None:
        await table.get(stream.request.token, default)(stream)

    return behaviour


def sequence(*behaviours: Behaviour) -> Behaviour:
    """Give the n-th request at the server the n-th behaviour; the last one serves all that follow."""
    turns = itertools.chain(behaviours, itertools.repeat(behaviours[-1]))

    async def behaviour(stream: Stream) -> None:
        await next(turns)(stream)

    return behaviour


def recycle_after(requests: int, then: Behaviour = terminated) -> Behaviour:
    """Retire each connection gracefully when it has had that many requests.

    GOAWAY names the newest stream; those up to it are answered as `then` does, later ones are ignored, and the
    connection is closed when the client has read the answers.
    """

    async def behaviour(stream: Stream) -> None:
        connection = stream.connection
        if connection.retired or connection.requests < requests:
            await then(stream)
            return
        connection.goaway()
        with contextlib.suppress(GoneError):
            await then(stream)
        await connection.finish()

    return behaviour
