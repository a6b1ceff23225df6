"""Limits for servers that end a connection after few requests, like nginx's `keepalive_requests`. RFC 9113, 6.8.

Requests beyond the last one that such a server takes are not processed, and have to be sent again. So once that
has happened, a new connection gets as many requests as the last one took. One more follows when all of them have ended
without GOAWAY; and while requests wait, twice as many are tried every EXPECT_MORE_S: a server that was only restarted
gets its load, even if its answers are slow.
"""

import math

EXPECT_MORE_S = 0.25
"""Time without GOAWAY after which twice as many are tried while requests wait: it needs no longer than the network."""
UNLIMITED = 1000.0
"""From so many on nothing is held back: no more are under way at once."""


class Recycling:
    """Number of requests that a connection to one origin is expected to take."""

    __slots__ = ("expected",)

    def __init__(self) -> None:
        self.expected = math.inf

    def allows(self, begun: int, in_use: int) -> bool:
        """Say whether a request may begin on a connection on which so many have begun, and are under way."""
        return begun < self.expected or not in_use

    def went_away(self, begun: int, disowned: int) -> None:
        """Note GOAWAY on a connection on which so many had begun, and that so many of them were not processed."""
        if disowned:
            self._expect(max(begun - disowned, 1))

    def expect_more(self) -> None:
        """Try twice as many."""
        self._expect(self.expected * 2)

    def _expect(self, number: float) -> None:
        self.expected = number if number < UNLIMITED else math.inf
