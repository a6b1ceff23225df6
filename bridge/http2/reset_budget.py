"""Budget of RST_STREAM frames for one connection: servers treat a client that resets many streams as an attacker.

Since the rapid reset attack (CVE-2023-44487) servers count the streams that a client resets, and close its connection
beyond a limit of theirs, with every call on it. What they tolerate differs; this budget stays below it.
"""

from collections.abc import Callable
from typing import Final

BURST: Final = 15
"""Resets that may be sent at once."""
REFILL_PER_S: Final = 2.0
"""Resets that a second adds."""


class ResetBudget:
    """Token bucket. `now` is a clock in seconds; without one no time passes."""

    def __init__(self, now: Callable[[], float] = lambda: 0.0) -> None:
        self._now = now
        self._tokens = float(BURST)
        self._filled_at = now()

    def spend(self, *, must: bool = False) -> bool:
        """Spend one reset; return whether there was one.

        One that `must` be sent is, on credit where none is left: up to BURST of these are paid back.
        """
        self._refill()
        if self._tokens < 1 and not must:
            return False
        self._tokens = max(self._tokens - 1, -BURST)
        return True

    def _refill(self) -> None:
        now = self._now()
        self._tokens = min(self._tokens + (now - self._filled_at) * REFILL_PER_S, BURST)
        self._filled_at = now
