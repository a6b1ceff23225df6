"""Retry policy: whether and when a failed attempt is retried. Source: docs/design/contract.md, "Attempts"."""

import math
import random
from dataclasses import dataclass, field

from bridge.errors import WalletUnreachable
from bridge.http2.causes import CLOSED
from bridge.outcome import BridgeError, Outcome

ATTEMPTS_MAX = 3
DELAY_MIN_S, DELAY_MAX_S = 0.02, 0.5

# A retry meets the same certificate and the same protocol: these need an operator.
LASTING_CAUSES = frozenset({"tls", "http2_required"})


@dataclass(slots=True)
class RetryBudget:
    """A token bucket that calls share: when the wallet is down, retries must not multiply the load on it."""

    capacity: float = 100.0
    retry_cost: float = 5.0
    success_gain: float = 1.0
    tokens: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = self.capacity

    def succeeded(self) -> None:
        """Give back what a success is worth."""
        self.tokens = min(self.capacity, self.tokens + self.success_gain)

    def spend(self) -> bool:
        """Take the price of one retry; say whether there was enough."""
        if self.tokens < self.retry_cost:
            return False
        self.tokens -= self.retry_cost
        return True


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Retry decision for one failed attempt. A call that may have been processed is retried only if allowed."""

    budget: RetryBudget = field(default_factory=RetryBudget)
    """Of all calls, for failures of the connection, which the wallet answers before it knows the provider."""
    retry_unknown: bool = False
    """Whether the operator allows retries of calls of unknown outcome; it counts for idempotent operations only."""
    unknown_budgets: dict[int, RetryBudget] = field(default_factory=dict)
    """By provider, for failures of unknown outcome: a wallet that hangs for one must not use up the others' retries.

    Only providers that are configured have calls, so there are no more of these.
    """

    def delay_s(
        self,
        error: BridgeError,
        attempts: int,
        *,
        idempotent: bool,
        provider_id: int = 0,
        left_s: float = math.inf,
    ) -> float | None:
        """Return the seconds to wait before the next attempt, or None when there must not be one.

        `left_s` is the call's time. Where the delay does not fit into it there is no attempt, and it costs nothing.
        """
        if attempts >= ATTEMPTS_MAX or not self._is_retryable(error, idempotent=idempotent):
            return None
        is_free = attempts == 1 and _is_recycling(error)
        delay_s = 0.0 if is_free else random.uniform(DELAY_MIN_S, DELAY_MAX_S)  # noqa: S311 - no secret
        if delay_s >= left_s:
            return None
        return delay_s if is_free or self._spend(error, provider_id) else None

    def succeeded(self, provider_id: int) -> None:
        """Give back what a provider's success is worth."""
        self.budget.succeeded()
        if provider_id in self.unknown_budgets:
            self.unknown_budgets[provider_id].succeeded()

    def _spend(self, error: BridgeError, provider_id: int) -> bool:
        if error.outcome is not Outcome.UNKNOWN:
            return self.budget.spend()
        return self.unknown_budgets.setdefault(provider_id, RetryBudget()).spend()

    def _is_retryable(self, error: BridgeError, *, idempotent: bool) -> bool:
        if error.outcome is Outcome.UNKNOWN:
            return self.retry_unknown and idempotent
        if isinstance(error, WalletUnreachable):
            return error.cause not in LASTING_CAUSES
        return error.outcome is Outcome.NOT_PROCESSED


class NoRetries(RetryPolicy):
    """One attempt, whatever its end."""

    def delay_s(
        self, error: BridgeError, attempts: int, *, idempotent: bool, provider_id: int = 0, left_s: float = 0.0
    ) -> None:
        """Return None: there is no further attempt."""

    def succeeded(self, provider_id: int) -> None:
        """Give nothing back: nothing was spent."""


def _is_recycling(error: BridgeError) -> bool:
    """Say whether the wallet has only closed a connection: the request was not processed, or not sent on a new one.

    That is no sign of trouble. A server that is reloaded closes new connections too, with all the calls in their queue.
    """
    return error.outcome is Outcome.NOT_PROCESSED or (error.outcome is Outcome.NOT_SENT and error.cause == CLOSED)
