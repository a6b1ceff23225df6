"""A deadline: an absolute instant on the monotonic clock, so that queueing and every attempt share one budget."""

import time
from dataclasses import dataclass

DETAILS_MARGIN_S = 0.05
"""The bridge gives up this much earlier than its caller, so that the details of a failure still arrive.

It grows by ENDING_S for each call under way: calls that expire in one moment are ended one after the other.
"""

ENDING_S = 0.001
"""Seconds for one call to end with its details and its log line: 0.2 to 0.5 ms of CPU were measured on either engine.

The rest is for other work in that moment: resets, calls that arrive, the garbage collector.
"""

GROWTH_MAX_S = 1.0
"""The margin never grows by more, however many calls there are: an answer that comes in it comes too late."""

GROWTH_PART_MAX = 0.25
"""Nor by more than this part of the time that a call has beyond the least that is needed: so it refuses no call."""

EXACT_BELOW_S, ROUNDED_UP = 1.0, 0.01
"""gRPC's C core (callers in Python, C++, Ruby, PHP) sends a timeout with two or three digits, rounded up: exact to the
millisecond below a second, from there on up to 1 % longer than its caller waits (100 ms from 10 s on, 1 s from 100 s
on). Without allowing for that, the details of a time-out of 10 s would arrive too late."""

MINIMUM_S = 0.02
"""With less than this left after the margin, no answer can be expected: the call is refused before anything is sent."""


@dataclass(frozen=True, slots=True)
class DeadlineLimits:
    """Default and longest time of a call. Source: docs/design/contract.md, "Time"."""

    default_s: float = 5.0
    max_s: float = 30.0


class Deadline:
    """The instant at which a call must have ended."""

    __slots__ = ("at",)

    def __init__(self, at: float) -> None:
        self.at = at
        """Seconds on the clock of `time.monotonic`."""

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Return the instant that many seconds from now."""
        return cls(time.monotonic() + seconds)

    @classmethod
    def for_caller(
        cls, caller_s: float | None, limits: DeadlineLimits, under_way: int = 0, reserve_s: float = 0.0
    ) -> "Deadline":
        """Return when to give up on a call whose caller says that it waits this long (None: it did not say).

        `reserve_s` is the time that the end of a failed call takes beside its report: to store it (settling.py).

        `under_way` is how many calls were before it when it arrived, none of which has ended. So each of those that
        expire together gives up a little earlier than the one before it, and none waits for the reports of the others.
        """
        granted_s = limits.default_s if caller_s is None else min(_waits_at_least_s(caller_s), limits.max_s)
        granted_s -= reserve_s
        return cls.after(granted_s - margin_s(granted_s, under_way))

    def remaining_s(self) -> float:
        """Return the seconds that are left; negative once the instant has passed."""
        return self.at - time.monotonic()

    def is_too_short(self) -> bool:
        """Say whether less than the minimum is left."""
        return self.remaining_s() < MINIMUM_S


def _waits_at_least_s(caller_s: float) -> float:
    return caller_s if caller_s < EXACT_BELOW_S else caller_s * (1 - ROUNDED_UP)


def margin_s(granted_s: float, under_way: int) -> float:
    """Return how much earlier than its caller the bridge gives up a call that has so many seconds; at least 50 ms."""
    spare_s = max(0.0, granted_s - DETAILS_MARGIN_S - MINIMUM_S)
    return DETAILS_MARGIN_S + min(under_way * ENDING_S, GROWTH_MAX_S, spare_s * GROWTH_PART_MAX)


def since_s(started: float) -> float:
    """Return the seconds since an instant on the clock of `time.monotonic`, in whole microseconds."""
    # `round` goes through decimal text, which costs several times as much.
    return int((time.monotonic() - started) * 1e6) / 1e6
