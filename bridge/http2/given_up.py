"""Abandoned streams: reset while the budget lasts, else left to end by themselves.

What still comes of one that was reset is dropped (RFC 9113, section 5.1, "closed"). What comes of one that was left to
itself is dropped, too, until it ends, or until so much has come that it is reset after all.
"""

from bridge.http2 import frames
from bridge.http2.events import Events, GivenUpEnded
from bridge.http2.flood_guard import Noise
from bridge.http2.frames import ErrorCode
from bridge.http2.limits import FRAME_BYTES_MIN, GIVEN_UP_BYTES_MAX, STREAM_WINDOW_BYTES
from bridge.http2.reset_budget import ResetBudget
from bridge.http2.streams import Stream


class GivenUp:
    """Those streams of one connection. Their frames have a reason, and so are no noise, within these bounds."""

    def __init__(self, resets: ResetBudget, noise: Noise, outgoing: list[bytes | memoryview]) -> None:
        self._resets = resets
        self._noise = noise
        self._outgoing = outgoing
        self._left_bytes: dict[int, int] = {}
        """Bytes that may still come of each that was left to itself."""

    def __len__(self) -> int:
        """Return how many were left to themselves and have not ended: the server still counts them."""
        return len(self._left_bytes)

    def add(self, stream: Stream, error_code: int) -> None:
        """Give up a stream."""
        # A half-sent request is reset in any case: its stream would never end.
        if self._resets.spend(must=not stream.is_sent):
            self._reset(stream.id, error_code, STREAM_WINDOW_BYTES - stream.received_bytes)
        elif not stream.is_ended:
            self._left_bytes[stream.id] = GIVEN_UP_BYTES_MAX - stream.received_bytes

    def reset(self, stream: Stream, error_code: int) -> None:
        """Give up a stream by a reset, whatever the budget."""
        self._must_reset(stream.id, error_code, STREAM_WINDOW_BYTES - stream.received_bytes)

    def reset_all(self) -> None:
        """Reset those that were left to themselves, whatever the budget."""
        while self._left_bytes:
            self._must_reset(self._left_bytes.popitem()[0], ErrorCode.CANCEL, STREAM_WINDOW_BYTES)

    def drop(self, stream_id: int, payload_bytes: int, *, ends_stream: bool) -> Events:
        """Drop a frame of a stream that is over, or that was left to itself."""
        size_bytes = frames.HEADER_BYTES + payload_bytes
        left_bytes = self._left_bytes.get(stream_id)
        if left_bytes is None:
            self._noise.came_late(size_bytes)
            return ()
        self._noise.allow(size_bytes)
        if ends_stream:
            return self.end(stream_id)
        self._left_bytes[stream_id] = left_bytes - max(size_bytes, FRAME_BYTES_MIN)
        if self._left_bytes[stream_id] >= 0:
            return ()
        self._must_reset(stream_id, ErrorCode.CANCEL, STREAM_WINDOW_BYTES - GIVEN_UP_BYTES_MAX)
        return self.end(stream_id)

    def end(self, stream_id: int) -> Events:
        """Note that a stream is over on both sides."""
        was_left = self._left_bytes.pop(stream_id, None) is not None
        return (GivenUpEnded(stream_id),) if was_left else ()

    def _must_reset(self, stream_id: int, error_code: int, late_bytes: int) -> None:
        self._resets.spend(must=True)
        self._reset(stream_id, error_code, late_bytes)

    def _reset(self, stream_id: int, error_code: int, late_bytes: int) -> None:
        # What the server had sent by now still arrives: at most what is left of the window.
        self._noise.given_up(late_bytes)
        self._outgoing.append(frames.rst_stream(stream_id, error_code))
