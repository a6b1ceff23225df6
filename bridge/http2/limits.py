"""Limits on what is read of a server: of one stream, and of the connection that its streams share."""

from typing import Final

STREAM_WINDOW_BYTES: Final = 256 * 1024
"""Above the longest answer that is read, so that no stream waits for credit of its own."""
CONNECTION_WINDOW_BYTES: Final = 8 * 1024 * 1024

HEADERS_BYTES_MAX: Final = 16 * 1024
"""Longest header list that is read, each field with 32 bytes more (SETTINGS_MAX_HEADER_LIST_SIZE).

An advisory limit (RFC 9113, section 10.5.1): a longer list is decoded and dropped, and its call alone fails.
"""

BODY_BYTES_MAX: Final = 64 * 1024
"""Longest body of an answer that is read. The wallet's own are below 1 KiB; a longer one is cut off there."""

HEADERS_BYTES_LIMIT: Final = 64 * 1024
"""Longest header block, and longest list that is decoded at all: beyond it the connection is closed."""

INTERIM_BYTES_MAX: Final = 16 * 1024
"""Informational answers of one stream together; each counts as at least FRAME_BYTES_MIN. Beyond it its call fails."""

FRAME_BYTES_MIN: Final = 256
"""Least size that a frame counts that answers nothing: it is the number of frames that costs time."""

GIVEN_UP_BYTES_MAX: Final = STREAM_WINDOW_BYTES // 2
"""Bytes that are read and dropped of a stream that was left to end by itself, before it is reset after all.

Beyond it an answer needs credit to go on, so a frame is sent in any case. An earlier reset would save nothing: a whole
window may be on its way by then.
"""
