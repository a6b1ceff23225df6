"""FAULTS.md, "Connection": servers that break the protocol, or send without end what nobody has asked for."""

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

from faults.behaviours import flood, sequence, terminated
from faults.server import FaultServer
from faults.stream import Behaviour, Stream
from http2_calls import LOST, OK, UNREACHABLE, calls_to

pytest_plugins = ["two_loops"]
pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]), pytest.mark.usefixtures("nothing_left")]

MEMORY_BYTES_MAX = 4 * 1024 * 1024


def sends(make: Callable[[Stream], bytes]) -> Behaviour:
    """Put these bytes on the wire, and wait for what the client does about it."""

    async def behaviour(stream: Stream) -> None:
        stream.connection.raw(make(stream))
        await stream.closed.wait()

    return behaviour


def headers(stream: Stream, *flags: str, block: bytes = b"") -> Frame:
    """Make a HEADERS frame with status 200 or this block."""
    return HeadersFrame(stream.id, data=block or stream.connection.encode([(":status", "200")]), flags=flags)


def padding_that_is_too_long(stream: Stream) -> bytes:
    """Make a DATA frame whose padding is longer than the frame (RFC 9113, section 6.1)."""
    return headers(stream, "END_HEADERS").serialize() + bytes.fromhex("000002000800000001") + b"\xff\x00"


VIOLATIONS: dict[str, tuple[Callable[[Stream], bytes], ErrorCodes]] = {
    "frame too large": (lambda stream: DataFrame(stream.id, bytes(16_385)).serialize(), ErrorCodes.FRAME_SIZE_ERROR),
    "PING of 7 bytes": (lambda _: bytes.fromhex("000007060000000000") + bytes(7), ErrorCodes.FRAME_SIZE_ERROR),
    "DATA before headers": (lambda stream: DataFrame(stream.id, b"x").serialize(), ErrorCodes.PROTOCOL_ERROR),
    "DATA on an idle stream": (lambda _: DataFrame(99, b"x").serialize(), ErrorCodes.PROTOCOL_ERROR),
    "HPACK": (lambda stream: headers(stream, "END_HEADERS", block=b"\xff" * 9).serialize(), ErrorCodes.PROTOCOL_ERROR),
    "padding": (padding_that_is_too_long, ErrorCodes.PROTOCOL_ERROR),
    "naked CONTINUATION": (lambda stream: ContinuationFrame(stream.id, b"").serialize(), ErrorCodes.PROTOCOL_ERROR),
    "GOAWAY inside a header block": (
        lambda stream: headers(stream).serialize() + GoAwayFrame(last_stream_id=stream.id).serialize(),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "window overflow": (
        lambda _: WindowUpdateFrame(0, window_increment=2**31 - 1).serialize(),
        ErrorCodes.FLOW_CONTROL_ERROR,
    ),
    "PUSH_PROMISE": (
        lambda stream: PushPromiseFrame(
            stream.id, 2, stream.connection.encode([(":method", "GET"), (":path", "/")]), flags=["END_HEADERS"]
        ).serialize(),
        ErrorCodes.PROTOCOL_ERROR,
    ),
    "status that is none": (
        lambda stream: headers(stream, "END_HEADERS", block=stream.connection.encode([(":status", "2xx")])).serialize(),
        ErrorCodes.PROTOCOL_ERROR,
    ),
}


@pytest.mark.parametrize(("make", "error_code"), VIOLATIONS.values(), ids=VIOLATIONS)
async def test_violation_closes_the_connection(make: Callable[[Stream], bytes], error_code: ErrorCodes) -> None:
    """What cannot be repaired ends the connection with GOAWAY: its calls are UNKNOWN, the next one has a new one."""
    async with FaultServer(sequence(sends(make), terminated)) as server, calls_to(server) as calls:
        assert await calls.end("a") == LOST
        await server.until(lambda: not server.open_connections)
        assert await calls.end("b") == OK
        assert [goaway.error_code for goaway in server.goaways] == [error_code]
        assert (server.connections, len(server.requests)) == (2, 2)


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

    async with FaultServer(behaviour) as server, calls_to(server) as calls:
        assert await asyncio.gather(*map(calls.end, ("neighbour", "a"))) == [LOST, OK]
        server.behaviour = terminated
        assert await calls.end() == OK


def empty_data(stream: Stream) -> bytes:
    """Make many DATA frames without data."""
    return DataFrame(stream.id).serialize() * 100


FLOODS: dict[str, tuple[Callable[[Stream], bytes], Callable[[Stream], bytes]]] = {
    "PING": (lambda _: b"", lambda _: PingFrame(0, b"12345678").serialize() * 100),
    "PING ACK": (lambda _: b"", lambda _: PingFrame(0, b"12345678", flags=["ACK"]).serialize() * 100),
    "SETTINGS": (lambda _: b"", lambda _: SettingsFrame(0).serialize() * 100),
    "large SETTINGS": (
        lambda _: b"",
        lambda _: SettingsFrame(0, settings=dict.fromkeys(range(100, 900), 1)).serialize(),
    ),
    "WINDOW_UPDATE": (lambda _: b"", lambda _: WindowUpdateFrame(0, window_increment=1).serialize() * 100),
    "resets": (lambda _: b"", lambda stream: RstStreamFrame(stream.id).serialize() * 100),
    "unknown frames": (lambda _: b"", lambda _: bytes.fromhex("0000007f0000000000") * 100),
    "GOAWAY": (lambda _: b"", lambda _: GoAwayFrame(last_stream_id=2**31 - 1).serialize() * 100),
    "1xx": (
        lambda _: b"",
        lambda stream: headers(stream, "END_HEADERS", block=stream.connection.encode([(":status", "103")])).serialize(),
    ),
    "empty DATA": (lambda stream: headers(stream, "END_HEADERS").serialize(), empty_data),
    "PING between single bytes": (
        lambda stream: headers(stream, "END_HEADERS").serialize(),
        lambda stream: DataFrame(stream.id, b"x").serialize() + PingFrame(0, b"12345678").serialize() * 100,
    ),
    "padding only": (
        lambda stream: headers(stream, "END_HEADERS").serialize(),
        lambda stream: DataFrame(stream.id, pad_length=255, flags=["PADDED"]).serialize() * 10,
    ),
    "empty CONTINUATION": (
        lambda stream: headers(stream).serialize(),
        lambda stream: ContinuationFrame(stream.id).serialize() * 100,
    ),
    "full CONTINUATION": (
        lambda stream: headers(stream).serialize(),
        lambda stream: ContinuationFrame(stream.id, bytes(16_384)).serialize(),
    ),
}


@pytest.mark.parametrize(("opening", "piece"), FLOODS.values(), ids=FLOODS)
async def test_flood_closes_the_connection(
    opening: Callable[[Stream], bytes], piece: Callable[[Stream], bytes]
) -> None:
    """A server that sends without end what answers nothing loses its connection, and nothing piles up here."""

    async def behaviour(stream: Stream) -> None:
        stream.connection.raw(opening(stream))
        await flood(piece)(stream)

    async with FaultServer(sequence(behaviour, terminated)) as server, calls_to(server) as calls:
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
    async with (
        FaultServer(terminated, settings=None, opening=lambda connection: _raw(connection.raw, bytes_)) as server,
        calls_to(server) as calls,
    ):
        assert await calls.end() == f"{UNREACHABLE} http2_required"
        assert server.requests == []


async def _raw(put: Callable[[bytes], None], data: bytes) -> None:
    put(data)
