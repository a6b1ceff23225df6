"""HTTP/2 frames as bytes. Source: RFC 9113, sections 3.4, 4.1, 5, 6 and 7."""

import enum
import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""The client connection preface (section 3.4)."""

# Section 4.1: length (24 bits), type, flags, stream id.
_HEADER: Final = struct.Struct(">HBBBI")
_read_header: Final = _HEADER.unpack_from
_INTEGER: Final = struct.Struct(">I")
_SETTING: Final = struct.Struct(">HI")

HEADER_BYTES: Final = 9
PAYLOAD_BYTES_MAX: Final = 16_384  # SETTINGS_MAX_FRAME_SIZE as every connection begins (section 6.5.2)
PAYLOAD_BYTES_LIMIT: Final = 2**24 - 1
STREAM_ID_MAX: Final = 2**31 - 1
STREAM_ID_MASK: Final = STREAM_ID_MAX  # the first bit is reserved (section 4.1)
STREAMS_UNLIMITED: Final = 2**32 - 1  # before SETTINGS_MAX_CONCURRENT_STREAMS (section 6.5.2)
WINDOW_BYTES_MAX: Final = 2**31 - 1  # section 6.9.1
WINDOW_BYTES_DEFAULT: Final = 65_535  # section 6.9.2

# Types, section 6. Plain integers: they are compared for every frame, where an enum costs several times as much.
DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

# Flags; which frame has which is said with each of them in section 6.
END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20


class ErrorCode(enum.IntEnum):
    """Error codes of RST_STREAM and GOAWAY. Section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Setting(enum.IntEnum):
    """Identifiers of settings. Section 6.5.2."""

    HEADER_TABLE_SIZE = 0x1
    ENABLE_PUSH = 0x2
    MAX_CONCURRENT_STREAMS = 0x3
    INITIAL_WINDOW_SIZE = 0x4
    MAX_FRAME_SIZE = 0x5
    MAX_HEADER_LIST_SIZE = 0x6


SETTING_BYTES: Final = 6
PRIORITY_BYTES: Final = 5
GOAWAY_BYTES_MIN: Final = 8

ANY_SETTING: Final = (range(2**32), ErrorCode.NO_ERROR)
SETTING_RANGES: Final[dict[int, tuple[range, ErrorCode]]] = {
    # A server cannot turn on what only a client has.
    Setting.ENABLE_PUSH: (range(1), ErrorCode.PROTOCOL_ERROR),
    Setting.INITIAL_WINDOW_SIZE: (range(WINDOW_BYTES_MAX + 1), ErrorCode.FLOW_CONTROL_ERROR),
    Setting.MAX_FRAME_SIZE: (range(PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_LIMIT + 1), ErrorCode.PROTOCOL_ERROR),
}
"""Which values a server may choose, and the error that any other is. Section 6.5.2."""


def frame_header(length_bytes: int, kind: int, flags: int, stream_id: int) -> bytes:
    """Return the nine bytes before a payload of this length."""
    return _HEADER.pack(length_bytes >> 8, length_bytes & 0xFF, kind, flags, stream_id)


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"") -> bytes:
    """Return a whole frame; `payload` is no longer than the other side allows."""
    return frame_header(len(payload), kind, flags, stream_id) + payload


def read_header(data: bytes, at: int) -> tuple[int, int, int, int]:
    """Return payload length, type, flags and stream id of the frame that begins there; nine bytes must be there."""
    high, low, kind, flags, stream_id = _read_header(data, at)
    return high << 8 | low, kind, flags, stream_id & STREAM_ID_MASK


def read_integer(payload: bytes, at: int = 0) -> int:
    """Return the 32 bits that begin there."""
    value: int = _INTEGER.unpack_from(payload, at)[0]
    return value


def settings(values: dict[Setting, int]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(SETTINGS, payload=b"".join(_SETTING.pack(*each) for each in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return identifiers and values, in order; the length must be a multiple of six bytes."""
    return list(_SETTING.iter_unpack(payload))


def window_update(stream_id: int, increment_bytes: int) -> bytes:
    """Return a WINDOW_UPDATE frame; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream_id, _INTEGER.pack(increment_bytes))


def rst_stream(stream_id: int, error_code: int) -> bytes:
    """Return a RST_STREAM frame."""
    return frame(RST_STREAM, 0, stream_id, _INTEGER.pack(error_code))


def goaway(error_code: int) -> bytes:
    """Return a client's GOAWAY frame: the server has begun no stream, so the last of them is 0."""
    return frame(GOAWAY, payload=_INTEGER.pack(0) + _INTEGER.pack(error_code))


def headers(stream_id: int, block: bytes, flags: int, payload_bytes_max: int) -> bytes:
    """Return a header block as one HEADERS frame, with CONTINUATION frames where it is too long for that."""
    if len(block) <= payload_bytes_max:
        return frame_header(len(block), HEADERS, flags | END_HEADERS, stream_id) + block
    parts = [block[at : at + payload_bytes_max] for at in range(0, len(block), payload_bytes_max)]
    kinds = [(HEADERS, flags)] + [(CONTINUATION, 0)] * (len(parts) - 1)
    kinds[-1] = (CONTINUATION, END_HEADERS)
    return b"".join(frame(kind, flag, stream_id, part) for (kind, flag), part in zip(kinds, parts, strict=True))
