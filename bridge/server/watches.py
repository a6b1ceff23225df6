"""Limit on open health watches: one lasts as long as its caller likes, and costs about 20 KiB."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

TOTAL_MAX = 1_000
"""In this process, over all its ports."""

PER_CONNECTION_MAX = 100
"""Of one connection. A gRPC client opens one for each of its connections; a proxy may share one among its clients."""


class TooManyWatchesError(Exception):
    """There is no room for another watch."""


class Watches:
    """The watches that are open, by connection."""

    def __init__(self, total_max: int = TOTAL_MAX, per_connection_max: int = PER_CONNECTION_MAX) -> None:
        self._total_max = total_max
        self._per_connection_max = per_connection_max
        self._open: Counter[str] = Counter()
        self._total = 0

    @contextmanager
    def one_more(self, connection: str) -> Iterator[None]:
        """Count a watch of a connection while the context lasts; raise TooManyWatchesError where there is no room."""
        # By get: a look must not leave an entry behind.
        if self._total >= self._total_max or self._open.get(connection, 0) >= self._per_connection_max:
            raise TooManyWatchesError
        self._total += 1
        self._open[connection] += 1
        try:
            yield
        finally:
            self._total -= 1
            self._open[connection] -= 1
            if not self._open[connection]:
                del self._open[connection]
