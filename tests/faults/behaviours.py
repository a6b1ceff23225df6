"""Ready-made behaviours of a wallet, and ways to combine them. Each is a `Behaviour`, or a function that makes one."""

import asyncio
import contextlib
import itertools
import json
import uuid
from collections.abc import Callable, Mapping

from h2.errors import ErrorCodes

from faults.connection import Headers
from faults.record import Received
from faults.stream import Behaviour, Stream
from faults.wire import GoneError

JSON = (("content-type", "application/json"),)


def success_body(request: Received, **changes: object) -> bytes:
    """Build the wallet page's success answer to a Terminate request; `changes` replace or add fields."""
    asked = request.fields
    answer = {
        "status": True,
        "code": 1,
        "message": "",
        "request_id": str(uuid.uuid5(uuid.NAMESPACE_OID, request.token)),
        "token": asked["token"],
        "player_id": asked["player_id"],
        "game_id": asked["game_id"],
        "site_id": str(asked["site_id"]),
        "provider_id": asked["provider_id"],
        "balance": 22085.75,
    }
    return json.dumps(answer | changes).encode()


def terminated_with(**changes: object) -> Behaviour:
    """Process the request and answer with success, but with these fields of the body changed."""

    async def behaviour(stream: Stream) -> None:
        stream.mark_processed()
        await stream.respond(200, success_body(stream.request, **changes), JSON)

    return behaviour


terminated = terminated_with()
"""The good wallet: processes the request and answers with success."""


def answer(status: int = 200, body: bytes = b"", headers: Headers = JSON) -> Behaviour:
    """Give this answer; the request counts as not processed."""

    async def behaviour(stream: Stream) -> None:
        await stream.respond(status, body, headers)

    return behaviour


def reset_with(error_code: int) -> Behaviour:
    """Reset the stream instead of answering."""

    async def behaviour(stream: Stream) -> None:
        stream.reset(error_code)

    return behaviour


def refuse(times: int, then: Behaviour = terminated) -> Behaviour:
    """Refuse the first requests with REFUSED_STREAM, which proves that they were not processed."""
    return sequence(*[reset_with(ErrorCodes.REFUSED_STREAM)] * times, then)


async def hang(stream: Stream) -> None:
    """Never answer; return when the stream is reset or the connection is lost."""
    await stream.closed.wait()


def drip(body: bytes, interval_s: float) -> Behaviour:
    """Answer 200 at once, then the body one byte at a time."""

    async def behaviour(stream: Stream) -> None:
        stream.send_headers(200, JSON)
        for byte in body:
            await stream.send_data(bytes([byte]))
            await asyncio.sleep(interval_s)
        await stream.end()

    return behaviour


def endless(piece: bytes) -> Behaviour:
    """Answer 200 and a body that never ends, as fast as the client's windows allow."""

    async def behaviour(stream: Stream) -> None:
        stream.send_headers(200, JSON)
        while True:
            await stream.send_data(piece)
            await stream.connection.drain()

    return behaviour


def flood(make: Callable[[Stream], bytes]) -> Behaviour:
    """Put what `make` returns on the wire again and again until the connection is lost."""

    async def behaviour(stream: Stream) -> None:
        while True:
            stream.connection.raw(make(stream))
            await stream.connection.drain()

    return behaviour


def processed(then: Behaviour) -> Behaviour:
    """Process the request, and then do as `then`: what happens to it is the client's to find out."""

    async def behaviour(stream: Stream) -> None:
        stream.mark_processed()
        await then(stream)

    return behaviour


def after(event: asyncio.Event, then: Behaviour = terminated) -> Behaviour:
    """Wait for the test's event before doing as `then`."""

    async def behaviour(stream: Stream) -> None:
        await event.wait()
        await then(stream)

    return behaviour


def by_token(table: Mapping[str, Behaviour], default: Behaviour = terminated) -> Behaviour:
    """Choose by the token in the request's body, which must be JSON."""

    async def behaviour(stream: Stream) -> None:
        await table.get(stream.request.token, default)(stream)

    return behaviour


def sequence(*behaviours: Behaviour) -> Behaviour:
    """Give the n-th request at the server the n-th behaviour; the last one repeats."""
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
