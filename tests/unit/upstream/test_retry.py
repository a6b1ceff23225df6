"""Which attempts are retried, how often and after how long.

Retries whose delay does not fit into the call's time: there is none, and it costs nothing.
"""

import pytest

from bridge.errors import WalletNotProcessed, WalletTimeout, WalletUnreachable, leaves
from bridge.http2.causes import CLOSED
from bridge.outcome import BridgeError, Outcome
from bridge.upstream.retry import ATTEMPTS_MAX, DELAY_MIN_S, RetryBudget, RetryPolicy


def delay_s(error: BridgeError, attempts: int = 1, *, retry_unknown: bool = False, idempotent: bool = True) -> object:
    """Return what a fresh policy says about this error."""
    return RetryPolicy(retry_unknown=retry_unknown).delay_s(error, attempts, idempotent=idempotent)


@pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.__name__)
@pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent", "not idempotent"])
@pytest.mark.parametrize("leave", [True, False], ids=["with leave", "without"])
def test_what_is_retried(leaf: type[BridgeError], *, leave: bool, idempotent: bool) -> None:
    """An unreachable wallet and a request proven not processed; unknown outcomes with leave, if idempotent."""
    is_repeated = delay_s(leaf(), retry_unknown=leave, idempotent=idempotent) is not None
    is_unknown = leaf.outcome is Outcome.UNKNOWN
    assert is_repeated == (leaf in (WalletUnreachable, WalletNotProcessed) or (is_unknown and idempotent and leave))


CAUSES = {"tls": False, "http2_required": False} | dict.fromkeys(
    ("refused", "timeout", "dns", "network", "closed", ""), True
)


@pytest.mark.parametrize(("cause", "passes"), CAUSES.items())
def test_only_a_passing_cause_is_retried(cause: str, *, passes: bool) -> None:
    """TLS and a missing HTTP/2 need an operator; whatever else kept us from connecting may be over at the next try."""
    assert (delay_s(WalletUnreachable(cause=cause)) is not None) is passes


@pytest.mark.parametrize("error", [WalletNotProcessed(), WalletUnreachable()], ids=["not processed", "not sent"])
def test_there_are_three_attempts_at_most(error: BridgeError) -> None:
    """The first and the second attempt may be followed by another, the third may not."""
    followed = [delay_s(error, attempts) is not None for attempts in range(1, ATTEMPTS_MAX + 2)]
    assert followed == [True, True, False, False]


RECYCLING = {"a stream that was refused": WalletNotProcessed(), "closed": WalletUnreachable(cause=CLOSED)}


@pytest.mark.parametrize("error", RECYCLING.values(), ids=RECYCLING)
def test_the_first_retry_after_recycling_is_immediate_and_free(error: BridgeError) -> None:
    """A connection that the wallet recycles costs nothing, even when the budget is empty."""
    budget = RetryBudget(capacity=0)
    assert RetryPolicy(budget).delay_s(error, 1, idempotent=True) == 0.0
    assert budget.tokens == 0


@pytest.mark.parametrize("error", RECYCLING.values(), ids=RECYCLING)
def test_the_second_retry_after_recycling_costs_and_waits(error: BridgeError) -> None:
    """Twice in a row is a sign of trouble."""
    budget = RetryBudget()
    delay = RetryPolicy(budget).delay_s(error, 2, idempotent=True)
    assert delay is not None
    assert delay >= 0.02
    assert budget.tokens == 95


def test_delays_are_spread_between_their_bounds() -> None:
    """Full jitter, 20 to 500 ms: never outside, and not always the same."""
    policy = RetryPolicy(RetryBudget(capacity=10_000))
    delays = [policy.delay_s(WalletTimeout(), 1, idempotent=True) for _ in range(3)]
    assert delays == [None, None, None]
    waits = [policy.delay_s(WalletUnreachable(), 1, idempotent=True) for _ in range(1000)]
    assert all(wait is not None and 0.02 <= wait <= 0.5 for wait in waits)
    assert len(set(waits)) > 900


def test_an_empty_budget_ends_the_retries() -> None:
    """100 tokens pay for 20 retries; the 21st is refused, and what was not made is not paid for."""
    policy = RetryPolicy()
    retried = [policy.delay_s(WalletUnreachable(), 1, idempotent=True) is not None for _ in range(21)]
    assert retried == [True] * 20 + [False]
    assert policy.budget.tokens == 0


def test_five_successes_pay_for_one_retry() -> None:
    """A success returns one token, a retry costs five."""
    budget = RetryBudget()
    while budget.spend():
        pass
    for _ in range(4):
        budget.succeeded()
    assert not budget.spend()
    budget.succeeded()
    assert budget.spend()
    assert not budget.spend()


def test_successes_do_not_fill_the_bucket_beyond_its_capacity() -> None:
    """A long quiet time saves up no more than the capacity."""
    budget = RetryBudget()
    budget.succeeded()
    assert budget.tokens == 100
    budget.spend()
    for _ in range(6):
        budget.succeeded()
    assert budget.tokens == 100


def test_a_provider_whose_outcomes_are_unknown_spends_its_own_budget() -> None:
    """Its retries end; those of other providers and of the connection go on, and its successes pay for more."""
    policy = RetryPolicy(retry_unknown=True)

    def is_repeated(error: BridgeError, provider_id: int) -> bool:
        return policy.delay_s(error, 1, idempotent=True, provider_id=provider_id) is not None

    assert [is_repeated(WalletTimeout(), 1) for _ in range(21)] == [True] * 20 + [False]
    assert is_repeated(WalletTimeout(), 2)
    assert is_repeated(WalletUnreachable(), 1)
    for _ in range(5):
        policy.succeeded(2)
    assert not is_repeated(WalletTimeout(), 1)
    for _ in range(5):
        policy.succeeded(1)
    assert is_repeated(WalletTimeout(), 1)
    assert set(policy.unknown_budgets) == {1, 2}


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


def test_the_free_retry_needs_time_too() -> None:
    """A refused stream is retried at once, but not when the call's time is over."""
    assert RetryPolicy().delay_s(WalletNotProcessed(), 1, idempotent=True, left_s=0.0) is None
