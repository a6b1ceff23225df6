"""Liveness of a connection, by work that stays unanswered: at most one timer for a connection, and none for a call.

trusted     while it sends; any byte counts
asked       by a PING (RFC 9113, section 6.7), and until the answer no request begins on it: when nothing came for
            `unanswered_s` after a request was sent, when a call expires and nothing came since it was sent, or
            before a use after `idle_ping_s` of silence
given up    when nothing comes within `ping_timeout_s` of the PING
interval    at most one PING a second on a connection; GOAWAY(ENHANCE_YOUR_CALM) doubles that for the origin
stall       a timer that fires late says that our own loop was busy: the answer may be there, but unread. It fires again
"""

import asyncio
import math
from dataclasses import dataclass
from typing import Protocol

PING_INTERVAL_S, PING_INTERVAL_MAX_S = 1.0, 60.0
LATE_S = 0.25
"""Lateness with which a timer still counts as on time; time that pending reads have then."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Times after which a connection's liveness is in doubt. All in seconds."""

    idle_ping_s: float = 10.0
    """Silence without calls after which it is asked before it is used."""
    unanswered_s: float = 1.0
    """Silence after a request was sent, after which it is asked."""
    ping_timeout_s: float = 1.0
    age_max_s: float = 300.0
    """So that new addresses of the name are found. Jittered by the pool."""


TRUST = Trust()


@dataclass(slots=True)
class Caution:
    """Facts about an origin that one connection has learnt and that hold for all."""

    ping_interval_s: float = PING_INTERVAL_S
    silent_since: float = -math.inf
    """Start of the silence of the last one that was asked. Those silent since then are asked before use."""

    def calm_down(self) -> None:
        """Send PINGs half as often: the server has complained."""
        self.ping_interval_s = min(self.ping_interval_s * 2, PING_INTERVAL_MAX_S)


class Watched(Protocol):
    """Operations of a liveness on its connection."""

    def send_ping(self) -> None:
        """Send a PING."""

    def give_up(self) -> None:
        """Take no further request: the server is silent."""

    def trusted_again(self) -> None:
        """Notify the owner that requests can begin."""


class Liveness:
    """Watches one connection."""

    __slots__ = (
        "_asked_at",
        "_caution",
        "_connection",
        "_due_at",
        "_loop",
        "_suspicious_at",
        "_timer",
        "_trust",
        "_unanswered_from",
        "_unanswered_since",
        "is_asking",
        "is_given_up",
        "received_at",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: Watched, trust: Trust, caution: Caution) -> None:
        self._loop = loop
        self._connection = connection
        self._trust = trust
        self._caution = caution
        self.received_at = loop.time()
        """When the server last sent a byte, on the loop's clock, in seconds."""
        self.is_asking = False
        """Whether the answer to a PING is awaited."""
        self.is_given_up = False
        self._asked_at = -math.inf
        self._unanswered_since: float | None = None
        """When the first request was sent since the server's last byte."""
        self._unanswered_from = 0
        """The stream of that request."""
        self._suspicious_at = math.inf
        """When its silence becomes a reason to ask."""
        self._timer: asyncio.TimerHandle | None = None
        self._due_at = 0.0

    # --- events ---------------------------------------------------------------------------------------------------

    def sent(self, stream_id: int) -> None:
        """Note that requests were sent, the first of them on this stream."""
        if self._unanswered_since is None:
            self._unanswered_since = self._loop.time()
            self._unanswered_from = stream_id
            self._suspicious_at = self._unanswered_since + self._trust.unanswered_s
            if self._timer is None:
                self._arm(self._suspicious_at)

    def received(self) -> None:
        """Note that bytes of the server were received."""
        self.received_at = self._loop.time()
        self._unanswered_since = None
        if self.is_asking:
            self.is_asking = False
            self._connection.trusted_again()

    def expired(self, stream_id: int) -> None:
        """Note that a call has expired without an answer."""
        if self._unanswered_since is not None and stream_id >= self._unanswered_from:
            self._suspicious_at = self._loop.time()
            self._ask_about_silence()

    def calm_down(self) -> None:
        """Note that the server asks for fewer PINGs."""
        self._caution.calm_down()

    def is_trusted(self) -> bool:
        """Say whether a request may begin now; ask the server where that is in doubt."""
        if self.is_asking:
            return False
        now = self._loop.time()
        is_idle = now - self.received_at >= self._trust.idle_ping_s
        if not is_idle and self.received_at >= self._caution.silent_since:
            return True
        if now >= self._may_ask_at():
            self._ask()
        elif is_idle:
            # Silent for too long, and no PING is allowed yet: a new connection is better. Later, because the pool is
            # just iterating over its connections.
            self._loop.call_soon(self._give_up)
        else:
            return True
        return False

    def stop(self) -> None:
        """Watch no more: the connection is over."""
        self.is_asking = False
        self._unanswered_since = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- the rest -------------------------------------------------------------------------------------------------

    def _may_ask_at(self) -> float:
        return self._asked_at + self._caution.ping_interval_s

    def _ask_about_silence(self) -> None:
        """Ask now, or as soon as another PING is allowed."""
        if self.is_asking or self.is_given_up or self._unanswered_since is None:
            return
        if self._loop.time() < self._may_ask_at():
            self._arm(self._may_ask_at())
            return
        # Not earlier: connections that have received something since then are not in doubt.
        self._caution.silent_since = max(self._caution.silent_since, self._unanswered_since)
        self._ask()

    def _ask(self) -> None:
        self.is_asking = True
        self._asked_at = self._loop.time()
        self._arm(self._asked_at + self._trust.ping_timeout_s)
        self._connection.send_ping()

    def _arm(self, due_at: float) -> None:
        """Set the timer, unless it fires before."""
        if self._timer is not None:
            if self._due_at <= due_at:
                return
            self._timer.cancel()
        self._due_at = due_at
        self._timer = self._loop.call_at(due_at, self._fire)

    def _fire(self) -> None:
        self._timer = None
        now, due_at = self._loop.time(), self._next_due_at()
        if now - self._due_at > LATE_S:
            self._arm(now + LATE_S)
        elif due_at > now:
            if due_at < math.inf:
                self._arm(due_at)
        elif self.is_asking:
            self._give_up()
        else:
            self._ask_about_silence()

    def _give_up(self) -> None:
        self.is_asking, self.is_given_up = False, True
        self._connection.give_up()

    def _next_due_at(self) -> float:
        if self.is_asking:
            return self._asked_at + self._trust.ping_timeout_s
        if self._unanswered_since is None or self.is_given_up:
            return math.inf
        return max(self._suspicious_at, self._may_ask_at())
