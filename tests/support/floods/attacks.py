"""Floods as data: what a hostile caller puts on an HTTP/2 connection, how often, and whether it reads what comes back.

Frames are built by hand: most of them no library agrees to send. Numbers of sections are those of RFC 9113.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bridge.sandbox.operations import TERMINATE_REQUEST
from tests.support.http2 import frames as h2
from wallet.v1.wallet_service_pb2 import TerminateRequest

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS_MAX_CONCURRENT_STREAMS, SETTINGS_INITIAL_WINDOW_SIZE = 3, 4
CANCEL = (8).to_bytes(4)

CALLS, HEALTH = "calls", "health"
"""The port of the bridge that a flood goes to."""

TERMINATE = "/wallet.v1.WalletService/Terminate"
CHECK, WATCH = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"

Chunk = Callable[[int], bytes]
"""The bytes of step 0, 1, 2, ...; an empty step ends the sending."""


def message(payload: bytes = b"", *, is_compressed: bool = False, declared: int | None = None) -> bytes:
    """Frame a gRPC message; `declared`: the length that its prefix claims."""
    return bytes((is_compressed,)) + (len(payload) if declared is None else declared).to_bytes(4) + payload


REQUEST = message(TerminateRequest(**TERMINATE_REQUEST).SerializeToString())
EMPTY = message()
MEBIBYTE = 2**20


GZIP_HEADER = b"\x1f\x8b\x08" + bytes(6) + b"\xff"
RAW_DEFLATE, LAST_BLOCK = -15, b"\x03\x00"


def gzip_of_zeros(mebibytes: int) -> bytes:
    """Return so many MiB of zeros as one gzip member (RFC 1952), a thousandth as long.

    Only the first MiB is compressed: it stands for itself, and again for each that follows.
    """
    compressor = zlib.compressobj(wbits=RAW_DEFLATE)
    block = compressor.compress(bytes(MEBIBYTE)) + compressor.flush(zlib.Z_FULL_FLUSH)
    size = mebibytes * MEBIBYTE
    checksum = zlib.crc32(bytes(size))
    return GZIP_HEADER + block * mebibytes + LAST_BLOCK + checksum.to_bytes(4, "little") + size.to_bytes(4, "little")


def call_fields(path: str, content_type: str = "application/grpc") -> tuple[tuple[str, str], ...]:
    """Return the headers of a gRPC call; without a content-type where it is empty."""
    return (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "bridge"),
        *((("content-type", content_type),) if content_type else ()),
        ("te", "trailers"),
    )


def call_headers(path: str, *more: tuple[str, str]) -> bytes:
    """Encode the headers of a gRPC call; they refer to nothing that was said before."""
    return h2.header_block(*call_fields(path), *more)


@dataclass(frozen=True)
class Flood:
    """A way to take more than a caller's share."""

    chunk: Chunk
    port: str = CALLS
    connections: int = 1
    per_s: float = 0.0
    """Steps a second on each connection; 0: as many as the bridge takes."""
    opening: bytes = PREFACE + h2.settings()
    reads: bool = True
    """Whether it reads what the bridge answers."""
    acknowledges: bool = True
    """Whether it acknowledges the bridge's SETTINGS, as ordinary clients do: a peer that does not is held to defaults
    (section 6.5.3), and a server may limit its streams."""


def each_stream(build: Callable[[int], bytes], *, at_once: int = 100, streams: int = 2**30) -> Chunk:
    """Put `build(stream id)` on the wire for stream after stream, `at_once` of them a step."""

    def chunk(step: int) -> bytes:
        first = step * at_once
        return b"".join(build(2 * number + 1) for number in range(first, min(first + at_once, streams)))

    return chunk


def opened(
    path: str, *more: tuple[str, str], payload: bytes = b"", ends: bool = True, then: bytes | None = None
) -> Callable[[int], bytes]:
    """Return what opens a stream: its headers, its data, and a reset with the code `then`."""
    block = call_headers(path, *more)

    def build(stream_id: int) -> bytes:
        is_last = ends and not payload
        wire = h2.frame(h2.HEADERS, h2.END_HEADERS | (h2.END_STREAM if is_last else 0), stream_id, block)
        for start in range(0, len(payload), 16384):
            part = payload[start : start + 16384]
            is_last = ends and start + 16384 >= len(payload)
            wire += h2.frame(h2.DATA, h2.END_STREAM if is_last else 0, stream_id, part)
        return wire if then is None else wire + h2.frame(h2.RST_STREAM, 0, stream_id, then)

    return build


def forever(wire: bytes) -> Chunk:
    """Say the same again and again."""
    many = wire * 200
    return lambda _step: many


def once_then(first: bytes, chunk: Chunk) -> Chunk:
    """Say something first."""
    return lambda step: first if step == 0 else chunk(step - 1)


def drip(wire: bytes) -> Chunk:
    """Send one byte a step, then no more."""
    return lambda step: wire[step : step + 1]


def silence(_step: int) -> bytes:
    """Send nothing after the opening."""
    return b""


BOMBS = opened(TERMINATE, ("grpc-encoding", "gzip"), payload=message(gzip_of_zeros(48), is_compressed=True))
LARGE = opened(TERMINATE, payload=message(bytes(60 * 1024), declared=64 * 1024), ends=False)
OPEN = opened(TERMINATE, ends=False)
WATCHES = opened(WATCH, payload=EMPTY)
WINDOW_0 = PREFACE + h2.settings((SETTINGS_INITIAL_WINDOW_SIZE, 0))
UNFINISHED = h2.frame(h2.HEADERS, 0, 1, call_headers(TERMINATE))
CONTINUATIONS = once_then(UNFINISHED, forever(h2.frame(h2.CONTINUATION, 0, 1, h2.header_block(("x-y", "z" * 1000)))))
PINGS = forever(h2.frame(h2.PING, payload=bytes(8)))
REQUESTS = each_stream(opened(TERMINATE, payload=REQUEST))
HUGE_METADATA = tuple((f"x-{number}", "v" * 500) for number in range(14))

FLOODS: Mapping[str, Flood] = MappingProxyType(
    {
        # Streams: section 5.1.2, CVE-2023-44487.
        "rapid reset": Flood(each_stream(opened(TERMINATE, then=CANCEL, ends=False))),
        "rapid reset of requests": Flood(each_stream(opened(TERMINATE, payload=REQUEST, then=CANCEL))),
        "rapid reset, health": Flood(each_stream(opened(CHECK, payload=EMPTY, then=CANCEL)), HEALTH),
        "open streams": Flood(each_stream(OPEN, streams=20_000)),
        "open streams, 20 connections": Flood(each_stream(OPEN, streams=1000), connections=20),
        "open streams, health": Flood(each_stream(opened(CHECK, ends=False), streams=20_000), HEALTH),
        "no message": Flood(each_stream(opened(TERMINATE), streams=20_000)),
        "no message, health": Flood(each_stream(opened(CHECK), streams=20_000), HEALTH),
        "watches": Flood(each_stream(WATCHES, streams=5000), HEALTH),
        "watches, 50 connections": Flood(each_stream(WATCHES, streams=100), HEALTH, connections=50),
        "watches among calls": Flood(each_stream(WATCHES, streams=5000)),
        "large messages held open": Flood(each_stream(LARGE, at_once=10, streams=1000), connections=4),
        "metadata": Flood(each_stream(opened(TERMINATE, *HUGE_METADATA, ends=False), at_once=10, streams=3000)),
        "unknown methods": Flood(each_stream(opened("/x.Y/Z", payload=EMPTY))),
        # Requests that are good, and more than one caller can want.
        "requests": Flood(REQUESTS),
        "requests, unread": Flood(REQUESTS, reads=False),
        "requests, window 0": Flood(REQUESTS, opening=WINDOW_0, acknowledges=False),
        "requests, window 0, acknowledged": Flood(REQUESTS, opening=WINDOW_0),
        "checks, window 0": Flood(each_stream(opened(CHECK, payload=EMPTY), streams=20_000), HEALTH, opening=WINDOW_0),
        # Frames that cost the one who gets them more than the one who sends them: section 10.5.
        "pings": Flood(PINGS),
        "pings, unread": Flood(PINGS, reads=False),
        "settings": Flood(forever(h2.settings())),
        "settings, unread": Flood(forever(h2.settings((SETTINGS_INITIAL_WINDOW_SIZE, 70_000))), reads=False),
        "continuations": Flood(CONTINUATIONS),
        "continuations before the limit": Flood(CONTINUATIONS, acknowledges=False),
        "continuations before the limit, 5 connections": Flood(CONTINUATIONS, connections=5, acknowledges=False),
        "empty continuations": Flood(once_then(UNFINISHED, forever(h2.frame(h2.CONTINUATION, 0, 1)))),
        "empty data": Flood(once_then(OPEN(1), forever(h2.frame(h2.DATA, 0, 1)))),
        "priorities": Flood(forever(h2.frame(h2.PRIORITY, 0, 1, bytes(4) + b"\x10"))),
        "window updates": Flood(forever(h2.frame(h2.WINDOW_UPDATE, 0, 0, (1).to_bytes(4)))),
        "unknown frames": Flood(forever(h2.frame(0x42, 0, 0, bytes(100)))),
        # Time instead of bytes.
        "drip, 300 connections": Flood(drip(opened(TERMINATE, payload=REQUEST)(1)), connections=300, per_s=10),
        "silent connections": Flood(silence, connections=900, opening=b"", acknowledges=False),
        "idle connections": Flood(silence, connections=900),
        # Small on the wire, large in memory.
        "gzip bombs": Flood(each_stream(BOMBS, at_once=1), per_s=20),
    }
)
