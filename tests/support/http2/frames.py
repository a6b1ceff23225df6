"""HTTP/2 frames as bytes, legal or not: for those tests that need what no library agrees to build."""

import hpack
from hyperframe.frame import Frame

# Frame types (RFC 9113, section 6) and flags.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20
NO_PRIORITY = b"\0\0\0\0\x10"
"""That of a stream which names none (section 5.3.1 of RFC 7540)."""

Field = tuple[str, str] | tuple[bytes, bytes]
ANSWER_HEADERS = ((":status", "200"), ("content-type", "application/json"))


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    """Build a frame; nothing about it is checked. `kind` and `flags` 0 to 255, `stream_id` 0 to 2^32-1."""
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream_id.to_bytes(4) + payload


def parsed(whole: bytes) -> Frame:
    """Return a whole frame as hyperframe reads it."""
    found, _ = Frame.parse_frame_header(memoryview(whole)[:9])
    found.parse_body(memoryview(whole)[9:])
    return found


def setting(code: int, value: int) -> bytes:
    """Build one entry of a SETTINGS payload."""
    return code.to_bytes(2) + value.to_bytes(4)


def settings(*entries: tuple[int, int]) -> bytes:
    """Build a SETTINGS frame with these codes and values."""
    return frame(SETTINGS, payload=b"".join(setting(code, value) for code, value in entries))


def goaway(last_stream_id: int, error_code: int = 0) -> bytes:
    """Build a GOAWAY frame."""
    return frame(GOAWAY, payload=last_stream_id.to_bytes(4) + error_code.to_bytes(4))


def header_block(*headers: Field) -> bytes:
    """Encode headers without a reference to anything said before, so that the block fits any connection."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    return encoder.encode(headers)


def headers(stream_id: int, *, end: bool = False, fields: tuple[Field, ...] = ANSWER_HEADERS) -> bytes:
    """Build the HEADERS frame of an answer."""
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream_id, header_block(*fields))


def data(stream_id: int, body: bytes, *, end: bool = False) -> bytes:
    """Build a DATA frame."""
    return frame(DATA, END_STREAM if end else 0, stream_id, body)
