"""Pace of the settler for each provider: pauses, one probe, and a ramp to the limit. Pure: the clock is passed in.

    at first, or failing                 one probe at a time
    a certain answer                     1, 2, 4, ... attempts at once, doubling each second, up to the limit
    a failure that an operator must fix  paused for PAUSE_S, then one probe
    any other failure                    one probe, after a random delay that doubles up to DELAY_MAX_S

A provider that has not been asked yet counts as failing: a bridge that starts after an outage sends it one request, not
all that have been waiting. Source: docs/design/settlement.md, "The settler".
"""

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PAUSE_S = 300.0
DELAY_FIRST_S, DELAY_MAX_S = 1.0, 300.0

CROWDED_S = 1.0
"""Delay before a place is asked for again where callers have taken all."""


def longest_delay_s(failures: int) -> float:
    """Return the longest delay after so many failures in a row, 1 or more: 1 s, doubling to 5 min."""
    # The exponent is limited, too: a float is.
    return float(min(DELAY_FIRST_S * 2 ** min(failures - 1, 16), DELAY_MAX_S))


def jittered_s(longest_s: float) -> float:
    """Return a random delay of at most so long ("full jitter"): what failed together must not come back together."""
    return random.uniform(0.0, longest_s)  # noqa: S311 - it spreads attempts and protects nothing


@dataclass(slots=True)
class _Provider:
    in_flight: int = 0
    is_failing: bool = True
    """No certain answer since the start, the last failure or the last pause."""
    failures: int = 0
    """In a row."""
    not_before: float = 0.0
    """No attempt begins before this instant."""
    pause_reason: str = ""
    """Why it is paused; "" where it is not."""
    certain_since: float = 0.0
    """When the ramp began."""


class Pace:
    """Number of attempts that may begin now, for each provider. Times are those of one monotonic clock, in seconds.

    `providers` are those that are configured. Others are known from their first attempt on.
    """

    def __init__(self, providers: Iterable[int], limit: int) -> None:
        self._limit = limit
        self._providers = {provider_id: _Provider() for provider_id in providers}

    def at_most(self, now: float) -> Mapping[int, int]:
        """Return provider -> how many more attempts may begin now, 0 or more."""
        return {provider_id: self._room(one, now) for provider_id, one in self._providers.items()}

    @property
    def paused(self) -> Mapping[int, str]:
        """The providers that are paused, or are probed after a pause, with the reason."""
        return {provider_id: one.pause_reason for provider_id, one in self._providers.items() if one.pause_reason}

    @property
    def is_any_failing(self) -> bool:
        """Whether there is a provider whose last attempt had no certain answer."""
        return any(one.is_failing and one.failures for one in self._providers.values())

    def begin(self, provider_id: int) -> None:
        """Count an attempt that may be sent; it must `end`."""
        self._of(provider_id).in_flight += 1

    def end(self, provider_id: int) -> None:
        """Stop counting an attempt."""
        self._of(provider_id).in_flight -= 1

    def certain(self, provider_id: int, now: float) -> None:
        """Take note of a certain answer, yes or no: the provider works."""
        one = self._of(provider_id)
        if one.is_failing:
            one.certain_since = now
        one.is_failing, one.failures, one.pause_reason, one.not_before = False, 0, "", 0.0

    def failed(self, provider_id: int, now: float, retry_after_s: float | None) -> None:
        """Take note of a failure that time may cure. `retry_after_s` is the wallet's own wish."""
        one = self._of(provider_id)
        one.is_failing, one.pause_reason = True, ""
        one.failures += 1
        delay_s = jittered_s(longest_delay_s(one.failures))
        one.not_before = max(one.not_before, now + max(delay_s, retry_after_s or 0.0))

    def pause(self, provider_id: int, now: float, reason: str) -> bool:
        """Take note of a failure that an operator must cure; return whether the provider was not paused before."""
        one = self._of(provider_id)
        is_new = not one.pause_reason
        one.is_failing, one.failures = True, one.failures + 1
        one.pause_reason, one.not_before = reason, max(one.not_before, now + PAUSE_S)
        return is_new

    def crowded(self, provider_id: int, now: float) -> None:
        """Note that callers' calls leave no place for a further attempt now."""
        one = self._of(provider_id)
        one.not_before = max(one.not_before, now + CROWDED_S)

    def next_change(self, now: float) -> float | None:
        """Return the next instant after `now` at which a delay or a pause ends; None where none is under way."""
        return min((one.not_before for one in self._providers.values() if one.not_before > now), default=None)

    def _of(self, provider_id: int) -> _Provider:
        return self._providers.setdefault(provider_id, _Provider())

    def _room(self, one: _Provider, now: float) -> int:
        if now < one.not_before:
            return 0
        return max(0, self._allowed(one, now) - one.in_flight)

    def _allowed(self, one: _Provider, now: float) -> int:
        if one.is_failing:
            return 1
        doublings = min(int(now - one.certain_since), 10)
        return int(min(2**doublings, self._limit))
