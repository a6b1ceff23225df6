"""After an hour's outage the wallet sees one probe of each provider, then a rate that doubles up to the limit."""

import random
from itertools import pairwise

import pytest

from bridge.settlement.entry import State
from bridge.settlement.pace import PAUSE_S
from tests.support.settlement_outage import ANSWER_S, LIMIT, OUTAGE_S, OUTAGES, Aftermath, after_an_outage, in_flight
from tests.support.virtual_time import run_virtually

pytestmark = pytest.mark.short("silent")

ENTRIES, PROVIDERS = 900, 3


@pytest.fixture(name="aftermath", params=OUTAGES, scope="module")
def _aftermath(request: pytest.FixtureRequest) -> Aftermath:
    """Give what the wallet saw of an outage of each kind."""
    random.seed(7)
    return run_virtually(after_an_outage(request.param, ENTRIES, PROVIDERS))


def test_the_wallet_sees_one_probe_then_a_doubling_rate(aftermath: Aftermath) -> None:
    """One attempt at a time of each provider until a certain answer; then 2^n in the n-th second, up to the limit."""
    assert aftermath.states[State.SETTLED] == ENTRIES
    assert sum(aftermath.states.values()) == ENTRIES
    assert aftermath.providers == list(range(1, PROVIDERS + 1))
    for provider_id in aftermath.providers:
        since_s = aftermath.first_certain_s(provider_id)
        for sent, count in in_flight(aftermath.of(provider_id)):
            allowed = 1 if sent.began_s < since_s else min(2 ** int(sent.began_s - since_s), LIMIT)
            assert count <= allowed, (sent, since_s)
    assert max(count for _, count in in_flight(aftermath.sent)) <= LIMIT


def test_each_entry_is_confirmed_once(aftermath: Aftermath) -> None:
    """What the wallet has confirmed is not sent again, however many wait."""
    assert sum(sent.is_certain for sent in aftermath.sent) == ENTRIES
    assert all(sent.is_certain for sent in aftermath.sent if sent.began_s >= OUTAGE_S)


def test_a_wallet_that_is_out_is_probed_seldom(aftermath: Aftermath) -> None:
    """In an hour each provider is probed some dozens of times at most, however many of its entries wait."""
    for provider_id in aftermath.providers:
        assert 1 <= sum(sent.began_s < OUTAGE_S for sent in aftermath.of(provider_id)) <= 60


@pytest.mark.long
def test_an_unreachable_wallet_is_probed_once_in_five_minutes() -> None:
    """An operator must cure that: the pauses fill the hour."""
    random.seed(7)
    aftermath = run_virtually(after_an_outage("unreachable", 200, 1))
    began_s = [sent.began_s for sent in aftermath.sent if not sent.is_certain]
    assert all(later - earlier >= PAUSE_S for earlier, later in pairwise(began_s))
    assert len(began_s) <= OUTAGE_S / PAUSE_S


def test_the_rate_of_one_provider_doubles_each_second() -> None:
    """Up to what the limit lets through, and it stays there until nothing is left."""
    random.seed(7)
    aftermath = run_virtually(after_an_outage("silent", ENTRIES, 1))
    assert max(count for _, count in in_flight(aftermath.sent)) == LIMIT
    rates = aftermath.rates(1)
    expected = [min(2**second, LIMIT) / ANSWER_S for second in range(len(rates))]
    for rate, most in list(zip(rates, expected, strict=True))[:-1]:
        assert 0.9 * most <= rate <= most + LIMIT
