"""Limit on frames that answer nothing: a flood that costs the server nothing must not cost the bridge time."""

from bridge.http2.limits import FRAME_BYTES_MIN

NOISE_BYTES_MAX = 64 * 1024
"""Bytes that may arrive beyond answers: PING, SETTINGS, resets, empty frames. An answer's headers set it back to 0."""


class Noise:
    """Counts every byte that arrives, and takes off those that have a reason.

    `late_bytes_max`: how much of streams that were given up can be under way at once, the connection's window.
    """

    __slots__ = ("_late_bytes", "_late_bytes_max", "bytes")

    def __init__(self, late_bytes_max: int) -> None:
        self._late_bytes_max = late_bytes_max
        self.bytes = 0
        """Without a reason so far; negative: so many more are allowed."""
        self._late_bytes = 0
        """Bytes that may still arrive of streams that were given up."""

    @property
    def is_flood(self) -> bool:
        """Whether it is too much."""
        return self.bytes > NOISE_BYTES_MAX

    def allow(self, size_bytes: int) -> None:
        """Take off bytes that have a reason, arrived or still to come."""
        # Not without bound: what was allowed by thousands of calls would let a flood hold up the loop for seconds.
        self.bytes = max(self.bytes - size_bytes, -NOISE_BYTES_MAX)

    def answered(self) -> None:
        """Reset the count: the server answers requests."""
        self.bytes = min(self.bytes, 0)

    def given_up(self, size_bytes: int) -> None:
        """Expect so much of a stream that was given up: the server had sent it before it knew."""
        self._late_bytes = min(self._late_bytes + size_bytes, self._late_bytes_max)

    def came_late(self, size_bytes: int) -> None:
        """Take off a frame of a stream that is over, if so much of such streams was still to come."""
        counted_bytes = max(size_bytes, FRAME_BYTES_MIN)
        if counted_bytes <= self._late_bytes:
            self._late_bytes -= counted_bytes
            self.allow(size_bytes)
