"""docs/design/faults.md, "Connection": servers that break the protocol, or send without end what no one asked for."""

import asyncio
import tracemalloc
from collections.abc import Callable

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from bridge.sandbox.behaviours import flood, hang, in_turn, sequence, terminated
from bridge.sandbox.connection import Connection
from bridge.sandbox.record import Reset
from bridge.sandbox.stream import Behaviour, Stream
from tests.support.http2.calls import LOST, OK, UNREACHABLE, alone_fails, wallet

pytest_plugins = ["tests.support.two_loops"]
pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]), pytest.mark.usefixtures("nothing_left")]

MEMORY_BYTES_MAX = 4 * 1024 * 1024


def sends(make: Callable[[Stream], bytes]) -> Behaviour:
    """Put these bytes on the wire, and wait for what the client does about it."""
    return in_turn(lambda stream: stream.connection.raw(make(stream)), hang)


def headers(stream: Stream, *flags: str, block: bytes = b"") -> Frame:
    """Make a HEADERS frame with status 200 or this block."""
    return HeadersFrame(stream.id, data=block or stream.connection.encode([(":status", "200")]), flags=flags)


def answers(*fields: tuple[str, str], ends: bool = True) -> Callable[[Stream], bytes]:
    """Make an answer of these fields and nothing else."""
    flags = ["END_HEADERS", "END_STREAM"] if ends else ["END_HEADERS"]
    return lambda stream: headers(stream, *flags, block=stream.connection.encode(fields)).serialize()


def after_headers(make: Callable[[Stream], bytes]) -> Callable[[Stream], bytes]:
    """Make the headers of a good answer, and this behind them."""
    return lambda stream: headers(stream, "END_HEADERS").serialize() + make(stream)


def window_update(stream: Stream, increment: int) -> bytes:
    """Make a WINDOW_UPDATE frame of the stream; hyperframe would refuse one of 0."""
    return bytes.fromhex("0000040800") + stream.id.to_bytes(4) + increment.to_bytes(4)


def pushes(stream: Stream) -> bytes:
    """Make a PUSH_PROMISE frame."""
    block = stream.connection.encode([(":method", "GET"), (":path", "/")])
    return PushPromiseFrame(stream.id, 2, block, flags=["END_HEADERS"]).serialize()


PROTOCOL_ERROR, FRAME_SIZE_ERROR = ErrorCodes.PROTOCOL_ERROR, ErrorCodes.FRAME_SIZE_ERROR
FLOW_CONTROL_ERROR = ErrorCodes.FLOW_CONTROL_ERROR
VIOLATIONS: dict[str, tuple[Callable[[Stream], bytes], ErrorCodes]] = {
    "frame too large": (lambda stream: DataFrame(stream.id, bytes(16_385)).serialize(), FRAME_SIZE_ERROR),
    "PING of 7 bytes": (lambda _: bytes.fromhex("000007060000000000") + bytes(7), FRAME_SIZE_ERROR),
    "DATA on an idle stream": (lambda _: DataFrame(99, b"x").serialize(), PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": (lambda _: RstStreamFrame(99).serialize(), PROTOCOL_ERROR),
    "HPACK": (lambda it: headers(it, "END_HEADERS", block=b"\xff" * 9).serialize(), ErrorCodes.COMPRESSION_ERROR),
    "padding": (
        (lambda stream: headers(stream, "END_HEADERS").serialize() + bytes.fromhex("000002000800000001") + b"\xff\x00"),
        PROTOCOL_ERROR,
    ),
    "naked CONTINUATION": (lambda stream: ContinuationFrame(stream.id, b"").serialize(), PROTOCOL_ERROR),
    "GOAWAY inside a header block": (
        lambda stream: headers(stream).serialize() + GoAwayFrame(last_stream_id=stream.id).serialize(),
        PROTOCOL_ERROR,
    ),
    "window overflow": (lambda _: WindowUpdateFrame(0, window_increment=2**31 - 1).serialize(), FLOW_CONTROL_ERROR),
    "PUSH_PROMISE": (pushes, PROTOCOL_ERROR),
}


@pytest.mark.parametrize(("make", "error_code"), VIOLATIONS.values(), ids=VIOLATIONS)
async def test_violation_closes_the_connection(make: Callable[[Stream], bytes], error_code: ErrorCodes) -> None:
    """What cannot be repaired ends the connection with GOAWAY: its calls are UNKNOWN, the next one has a new one."""
    async with wallet(sequence(sends(make), terminated)) as (server, calls):
        assert await calls.end("a") == LOST
        await server.until(lambda: not server.open_connections)
        assert await calls.end("b") == OK
        assert [goaway.error_code for goaway in server.goaways] == [error_code]
        assert (server.connections, len(server.requests)) == (2, 2)


OK_STATUS = (":status", "200")


def malformed_with_a_body(stream: Stream) -> bytes:
    """Make an answer with a name in upper case and a long body."""
    body = DataFrame(stream.id, bytes(10_000)).serialize() * 20
    return answers(OK_STATUS, ("X-Case", "y"), ends=False)(stream) + body


STREAM_ERRORS: dict[str, tuple[Callable[[Stream], bytes], ErrorCodes]] = {
    # RFC 9113, sections 8.2, 8.3 and 8.6: malformed, and by 8.1.1 an error of the stream.
    "no status": (answers(("x", "y")), PROTOCOL_ERROR),
    "two statuses": (answers(OK_STATUS, OK_STATUS), PROTOCOL_ERROR),
    "status that is none": (answers((":status", "2xx")), PROTOCOL_ERROR),
    "status 101": (answers((":status", "101"), ends=False), PROTOCOL_ERROR),
    "request field": (answers(OK_STATUS, (":path", "/")), PROTOCOL_ERROR),
    "pseudo-header behind a field": (answers(("x", "y"), OK_STATUS), PROTOCOL_ERROR),
    "upper case": (answers(OK_STATUS, ("X-Case", "y")), PROTOCOL_ERROR),
    "connection": (answers(OK_STATUS, ("connection", "close")), PROTOCOL_ERROR),
    "line feed": (answers(OK_STATUS, ("x", "y\nz: 1")), PROTOCOL_ERROR),
    # What the server sends before it can have read our reset is dropped, up to a window of it, and is no flood.
    "upper case and a body": (malformed_with_a_body, PROTOCOL_ERROR),
    # Section 8.1: the order of an answer's frames.
    "1xx that ends": (answers((":status", "100")), PROTOCOL_ERROR),
    "DATA before headers": (lambda stream: DataFrame(stream.id, b"x").serialize(), PROTOCOL_ERROR),
    "trailers without END_STREAM": (after_headers(answers(("x", "y"), ends=False)), PROTOCOL_ERROR),
    "trailers with a status": (after_headers(answers(OK_STATUS)), PROTOCOL_ERROR),
    # Sections 6.9, 6.9.1 and 6.3.
    "WINDOW_UPDATE of 0": (lambda stream: window_update(stream, 0), PROTOCOL_ERROR),
    "window overflow": (lambda stream: window_update(stream, 2**31 - 1), FLOW_CONTROL_ERROR),
    "short PRIORITY": (lambda stream: bytes.fromhex("0000040200") + stream.id.to_bytes(4) + bytes(4), FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize(("make", "error_code"), STREAM_ERRORS.values(), ids=STREAM_ERRORS)
async def test_stream_error_ends_its_stream_only(make: Callable[[Stream], bytes], error_code: ErrorCodes) -> None:
    """A stream on which the server breaks the protocol is reset once: its call is UNKNOWN, its neighbours go on."""
    server = await alone_fails(sends(make))
    bad = next(each.stream_id for each in server.requests if each.token == "bad")
    assert server.resets == [Reset(1, bad, error_code)]


async def test_what_was_complete_counts() -> None:
    """An answer that is complete counts, though a violation follows it in the same piece; its neighbour is UNKNOWN."""

    async def behaviour(stream: Stream) -> None:
        if stream.request.token == "neighbour":
            await stream.closed.wait()
            return
        body = DataFrame(stream.id, b'{"token": "a"}', flags=["END_STREAM"])
        violation = DataFrame(99, b"x")
        frames = (headers(stream, "END_HEADERS"), body, violation)
        stream.connection.raw(b"".join(frame.serialize() for frame in frames))

    async with wallet(behaviour) as (server, calls):
        assert await asyncio.gather(*map(calls.end, ("neighbour", "a"))) == [LOST, OK]
        server.behaviour = terminated
        assert await calls.end() == OK


def nothing(_stream: Stream) -> bytes:
    """Begin no answer."""
    return b""


def begun(*flags: str) -> Callable[[Stream], bytes]:
    """Begin an answer with these flags."""
    return lambda stream: headers(stream, *flags).serialize()


def many(frame: Frame, times: int = 100) -> Callable[[Stream], bytes]:
    """Make this frame so many times."""
    return lambda _stream: frame.serialize() * times


PING = PingFrame(0, b"12345678")
FLOODS: dict[str, tuple[Callable[[Stream], bytes], Callable[[Stream], bytes]]] = {
    "PING": (nothing, many(PING)),
    "PING ACK": (nothing, many(PingFrame(0, b"12345678", flags=["ACK"]))),
    "SETTINGS": (nothing, many(SettingsFrame(0))),
    "large SETTINGS": (nothing, many(SettingsFrame(0, settings=dict.fromkeys(range(100, 900), 1)), 1)),
    "WINDOW_UPDATE": (nothing, many(WindowUpdateFrame(0, window_increment=1))),
    "resets": (nothing, lambda stream: RstStreamFrame(stream.id).serialize() * 100),
    "unknown frames": (nothing, lambda _: bytes.fromhex("0000007f0000000000") * 100),
    "GOAWAY": (nothing, many(GoAwayFrame(last_stream_id=2**31 - 1))),
    "1xx": (nothing, lambda stream: answers((":status", "103"), ends=False)(stream) * 100),
    "empty DATA": (begun("END_HEADERS"), lambda stream: DataFrame(stream.id).serialize() * 100),
    "PING between single bytes": (
        begun("END_HEADERS"),
        lambda stream: DataFrame(stream.id, b"x").serialize() + PING.serialize() * 100,
    ),
    "padding only": (
        begun("END_HEADERS"),
        lambda stream: DataFrame(stream.id, pad_length=255, flags=["PADDED"]).serialize() * 10,
    ),
    "empty CONTINUATION": (begun(), lambda stream: ContinuationFrame(stream.id).serialize() * 100),
    "full CONTINUATION": (begun(), lambda stream: ContinuationFrame(stream.id, bytes(16_384)).serialize()),
}


@pytest.mark.parametrize(("opening", "piece"), FLOODS.values(), ids=FLOODS)
@pytest.mark.short(
    "asyncio-PING",
    "asyncio-large SETTINGS",
    "asyncio-empty DATA",
    "asyncio-PING between single bytes",
    "asyncio-full CONTINUATION",
)
async def test_flood_closes_the_connection(
    opening: Callable[[Stream], bytes], piece: Callable[[Stream], bytes]
) -> None:
    """A server that sends without end what answers nothing loses its connection, and nothing piles up here."""
    floods = in_turn(lambda stream: stream.connection.raw(opening(stream)), flood(piece))
    async with wallet(sequence(floods, terminated)) as (server, calls):
        tracemalloc.start()
        try:
            assert await calls.end("a") == LOST
            await server.until(lambda: not server.open_connections)
            assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES_MAX
        finally:
            tracemalloc.stop()
        assert await calls.end("b") == OK


@pytest.mark.parametrize("bytes_", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 99], ids=["HTTP/1.1", "zeros"])
async def test_greeting_that_is_no_http2(bytes_: bytes) -> None:
    """A server that greets with anything else gets no byte of a request: NOT_SENT, cause http2_required."""

    async def opening(connection: Connection) -> None:
        connection.raw(bytes_)

    async with wallet(terminated, settings=None, opening=opening) as (server, calls):
        assert await calls.end() == f"{UNREACHABLE} http2_required"
        assert server.requests == []
