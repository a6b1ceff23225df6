"""Retries whose delay does not fit into the call's time: there is none, and it costs nothing."""

import pytest

from bridge.errors import BridgeError, WalletNotProcessed, WalletTimeout, WalletUnreachable
from bridge.upstream.retry import DELAY_MAX_S, DELAY_MIN_S, RetryBudget, RetryPolicy


@pytest.mark.parametrize("left_s", [-1.0, 0.0, DELAY_MIN_S])
@pytest.mark.parametrize(
    ("error", "attempts"),
    [(WalletUnreachable(), 1), (WalletNotProcessed(), 2), (WalletTimeout(), 1)],
    ids=["unreachable", "refused again", "unknown"],
)
def test_a_retry_that_comes_too_late_costs_nothing(error: BridgeError, attempts: int, left_s: float) -> None:
    """Where the call's time ends before the delay, the budgets stay whole for other calls."""
    policy = RetryPolicy(retry_unknown=True, unknown_budgets={1: RetryBudget()})
    assert policy.delay_s(error, attempts, idempotent=True, provider_id=1, left_s=left_s) is None
    assert [policy.budget.tokens, policy.unknown_budgets[1].tokens] == [RetryBudget().capacity] * 2


def test_a_retry_that_fits_is_paid_for() -> None:
    """With time for any delay there is a retry, and it costs one price."""
    policy = RetryPolicy()
    assert policy.delay_s(WalletUnreachable(), 1, idempotent=True, left_s=2 * DELAY_MAX_S) is not None
    assert policy.budget.tokens == policy.budget.capacity - policy.budget.retry_cost


def test_the_free_retry_needs_time_too() -> None:
    """A refused stream is retried at once, but not when the call's time is over."""
    assert RetryPolicy().delay_s(WalletNotProcessed(), 1, idempotent=True, left_s=0.0) is None
