"""A call on the native engine: what its handler sees, and that it ends, whatever becomes of the handler."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio
import pytest

from bridge.server.native.server import METADATA_ENTRY_BYTES
from tests.support.native_server import (
    DEADLINE_S,
    METADATA_BYTES_MAX,
    REQUEST_BYTES_MAX,
    SERVICE,
    call,
    native,
    status_of,
    stream,
    unary,
)

pytest_plugins = ["tests.support.two_loops"]
pytestmark = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])

FAILED = ("UNKNOWN", "the handler failed")
DETAILS = ("grpc-status-details-bin", b"\x00\xff")


async def echo(request: bytes, _context: Any) -> bytes:
    """Answer with the request."""
    return request


async def raises(_request: bytes, _context: Any) -> bytes:
    """Fail with a text that no caller may read."""
    raise ValueError("secret")


async def aborts(_request: bytes, context: Any) -> bytes:
    """End with a status."""
    await context.abort(grpc.StatusCode.ABORTED, "grün", (DETAILS,))
    return b""


async def goes_on_after_abort(_request: bytes, context: Any) -> bytes:
    """Take no notice that the call is over."""
    with suppress(grpc.aio.AbortError):
        await context.abort(grpc.StatusCode.ABORTED, "over")
    return b"more"


async def cancels_itself(_request: bytes, _context: Any) -> bytes:
    """End as a task that was cancelled, although the client has not cancelled."""
    raise asyncio.CancelledError


async def aborts_with_no_text(_request: bytes, context: Any) -> bytes:
    """End with a message that cannot be encoded."""
    await context.abort(grpc.StatusCode.ABORTED, "\ud800")
    return b""


async def answers_nothing(_request: bytes, _context: Any) -> None:
    """Answer with what is no message."""


EXITS = {
    "an exception": (unary(raises), FAILED),
    "an abort": (unary(aborts), ("ABORTED", "grün")),
    "an abort that is swallowed": (unary(goes_on_after_abort), ("ABORTED", "over")),
    "an abort without a text": (unary(aborts_with_no_text), ("ABORTED", "")),
    "a cancel of its own": (unary(cancels_itself), ("CANCELLED", "the call was cut off")),
    "no bytes": (unary(answers_nothing), FAILED),
    "an answer that cannot be serialized": (unary(echo, response_serializer=int), FAILED),
    "an unreadable request": (unary(echo, request_deserializer=int), ("INTERNAL", "Exception deserializing request!")),
}


@pytest.mark.parametrize(("handler", "status"), EXITS.values(), ids=EXITS)
async def test_every_exit_ends_the_call(handler: Any, status: tuple[str, str]) -> None:
    """However a handler ends, its caller is answered at once, and reads no text of an exception."""
    async with native({"Method": handler}) as (_, channel):
        assert await status_of(call(channel, "Method", b"x")) == status


async def fails_later(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
    """Answer once and fail then."""
    yield b"1"
    raise ValueError("secret")


async def aborts_later(_request: bytes, context: Any) -> AsyncIterator[bytes]:
    """Answer once and end with a status then."""
    yield b"1"
    await context.abort(grpc.StatusCode.UNAVAILABLE, "over")


async def ends_well(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
    """Answer once."""
    yield b"1"


async def yields_nothing(_request: bytes, _context: Any) -> AsyncIterator[Any]:
    """Answer once, and then with what is no message."""
    yield b"1"
    yield None


STREAM_EXITS = {
    "its end": (ends_well, ("OK", "")),
    "an exception": (fails_later, FAILED),
    "an abort": (aborts_later, ("UNAVAILABLE", "over")),
    "no bytes": (yields_nothing, FAILED),
}


@pytest.mark.parametrize(("behaviour", "status"), STREAM_EXITS.values(), ids=STREAM_EXITS)
async def test_every_exit_ends_the_stream(behaviour: Any, status: tuple[str, str]) -> None:
    """A stream ends with its handler, after all that was sent."""
    async with native({"Method": stream(behaviour)}) as (_, channel):
        begun = call(channel, "Method", answer="stream")
        assert await begun.read() == b"1"
        assert await status_of(begun) == status


REFUSED = {
    "a reserved name": ("grpc-retry-pushback-ms", "-1"),
    "gRPC's own status": ("grpc-status", "0"),
    "a name that is none": ("Upper Case", "1"),
    "a control character": ("wallet-request-id", "a\nb"),
    "no text": ("wallet-request-id", 5),
}


@pytest.mark.parametrize("trailer", REFUSED.values(), ids=REFUSED)
async def test_a_trailer_that_is_refused(trailer: Any) -> None:
    """A trailer that the engine does not send is left out, and the call ends as it was to end."""

    async def behaviour(_request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.ABORTED, "over", (trailer,))
        return b""

    async with native({"Method": unary(behaviour)}) as (_, channel):
        begun = call(channel, "Method")
        assert await status_of(begun) == ("ABORTED", "over")
        assert tuple(await begun.trailing_metadata()) == ()


async def test_details_stay_beside_a_reserved_trailer() -> None:
    """The trailer that cannot be sent with an outcome of UNKNOWN does not take the details with it."""

    async def behaviour(_request: bytes, context: Any) -> bytes:
        await context.abort(grpc.StatusCode.UNKNOWN, "", (DETAILS, ("grpc-retry-pushback-ms", "-1")))
        return b""

    async with native({"Method": unary(behaviour)}) as (_, channel):
        assert tuple(await call(channel, "Method").trailing_metadata()) == (DETAILS,)


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip], ids=["plain", "gzip"])
async def test_message_size(compression: grpc.Compression | None) -> None:
    """A message of the largest size is taken, compressed or not; one with a byte more is refused unseen."""
    async with native({"Method": unary(echo)}) as (_, channel):
        largest = bytes(REQUEST_BYTES_MAX)
        assert await call(channel, "Method", largest, compression=compression) == largest
        refused = call(channel, "Method", largest + b"x", compression=compression)
        assert await status_of(refused) == ("RESOURCE_EXHAUSTED", "the message has 1001 bytes, more than 1000")


async def test_metadata_size() -> None:
    """So is metadata, counted as HTTP/2 counts headers."""
    seen = (await seen_by_handler())["metadata"] | {"key": ""}
    room = METADATA_BYTES_MAX - sum(len(key) + len(value) + METADATA_ENTRY_BYTES for key, value in seen.items())
    async with native({"Method": unary(echo)}) as (_, channel):
        assert await call(channel, "Method", metadata=(("key", "a" * room),)) == b""
        refused = call(channel, "Method", metadata=(("key", "a" * (room + 1)),))
        assert await status_of(refused) == ("RESOURCE_EXHAUSTED", "the metadata has 2001 bytes, more than 2000")


async def seen_by_handler(**arguments: Any) -> dict[str, Any]:
    """Call, and return what the handler saw of it."""
    seen: dict[str, Any] = {}

    async def behaviour(_request: bytes, context: Any) -> bytes:
        seen["remaining_s"] = context.time_remaining()
        seen["metadata"] = dict(context.invocation_metadata())
        seen["peer"] = context.peer()
        seen["auth"] = context.auth_context()
        return b""

    async with native({"Method": unary(behaviour)}) as (_, channel):
        await call(channel, "Method", **arguments)
    return seen


async def test_what_a_handler_sees() -> None:
    """Metadata, text and binary, the caller's address, and no identity."""
    seen = await seen_by_handler(metadata=(("traceparent", "00-a"), ("key-bin", b"\x00\xff")))
    assert (seen["metadata"]["traceparent"], seen["metadata"]["key-bin"]) == ("00-a", b"\x00\xff")
    assert seen["peer"].startswith("ipv4:127.0.0.1:")
    assert not seen["auth"]


async def test_deadline_is_seen() -> None:
    """A handler gets how long its caller waits, and None where the caller did not say."""
    assert 0 < (await seen_by_handler(timeout=DEADLINE_S))["remaining_s"] < DEADLINE_S + 1  # gRPC rounds up
    assert (await seen_by_handler(timeout=None))["remaining_s"] is None


@pytest.mark.parametrize("way", ["cancel", "deadline", "connection"])
@pytest.mark.parametrize("kind", ["unary", "stream"])
async def test_a_caller_who_leaves_cancels_the_handler(way: str, kind: str) -> None:
    """A cancel, a deadline that passes and a connection that ends each reach the handler."""
    began, left = asyncio.Event(), asyncio.Event()

    async def waits(_request: bytes, _context: Any) -> Any:
        began.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            left.set()

    async def waits_in_stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield await waits(request, context)

    handlers = {"unary": unary(waits), "stream": stream(waits_in_stream)}
    async with native({"Method": handlers[kind]}) as (server, channel):
        begin: Any = getattr(channel, f"unary_{kind}")(f"/{SERVICE}/Method")
        timeout_s = 0.1 if way == "deadline" else None
        while not began.is_set():
            begun = begin(b"", timeout=timeout_s)
            waiting = asyncio.create_task(begun.code())
            beginning = asyncio.create_task(began.wait())
            await asyncio.wait({waiting, beginning}, return_when=asyncio.FIRST_COMPLETED)
            beginning.cancel()
            # A deadline that has passed before its call had reached the handler was too short for this machine.
            timeout_s = timeout_s and 2 * timeout_s
        if way == "cancel":
            begun.cancel()
        elif way == "connection":
            await channel.close()
        await left.wait()
        await waiting
        assert all(task.done() for task in server._tasks.values())


async def test_a_slow_reader_gets_everything() -> None:
    """A stream waits for its reader, message by message, and loses none."""
    messages = [bytes([number]) * 50_000 for number in range(20)]

    async def behaviour(_request: bytes, _context: Any) -> AsyncIterator[bytes]:
        for message in messages:
            yield message

    async with native({"Method": stream(behaviour)}) as (_, channel):
        begun = call(channel, "Method", answer="stream")
        assert [await begun.read() for _ in messages] == messages
        assert await status_of(begun) == ("OK", "")
