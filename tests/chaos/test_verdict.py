"""The verdict of a chaos run can fail: each wrong fact is found, and a run without any is not."""

from dataclasses import replace

import pytest

from bridge.settlement.entry import Call, Entry, Last, State
from tests.chaos.callers import Result
from tests.chaos.verdict import Facts, counts, violations
from tests.chaos.wallet import Line

PENDING = Result("call-1", "token-1", "DEADLINE_EXCEEDED", "WALLET_TIMEOUT", is_pending=True)
OK = Result("call-2", "token-2", "OK", "", is_pending=False)
ENTRY = Entry(
    entry_id="entry-1",
    state=State.SETTLED,
    operation="wallet.v1.WalletService/Terminate",
    provider_id=1,
    calls=(Call("call-1", ()),),
    fingerprint="",
    ciphertext=b"",
    key_id="",
    created=100.0,
    pending_since=100.0,
    due=0.0,
    is_leased=False,
    fence=1,
    attempts=1,
    last=Last("WALLET_TIMEOUT"),
    never_repeat=False,
    ended=110.0,
    read_at=120.0,
    closed_reason="",
    schema=1,
)
JOURNAL = (
    *(Line(100.0, "begins", "token-1", "1/1"), Line(103.0, "ends", "token-1", "1/1")),
    *(Line(104.0, "begins", "token-2", "1/2"), Line(104.1, "terminates", "token-2", "1/2")),
    *(Line(104.2, "ends", "token-2", "1/2"), Line(109.0, "begins", "token-1", "2/1")),
    *(Line(109.1, "terminates", "token-1", "2/1"), Line(109.2, "ends", "token-1", "2/1")),
)
FACTS = Facts((PENDING, OK), frozenset({"token-1", "token-2"}), JOURNAL, (ENTRY,), frozenset({"entry-1"}))
NOTHING_DONE = tuple(line for line in JOURNAL if line.what != "terminates")


def _with_entry(**fields: object) -> Facts:
    return replace(FACTS, entries=(replace(ENTRY, **fields),))  # type: ignore[arg-type]  # the caller's


WRONG: dict[str, tuple[Facts, str]] = {
    "answered PENDING, and nothing is": (replace(FACTS, entries=(), journal=NOTHING_DONE), "its entries are gone"),
    "SETTLED, and its token is alive": (replace(FACTS, journal=NOTHING_DONE), "is SETTLED, and its token is alive"),
    "OK, and its token is alive": (replace(FACTS, journal=NOTHING_DONE), "was answered OK, and its token is alive"),
    "PENDING for ever": (_with_entry(state=State.PENDING, ciphertext=b"x", ended=0.0), "stays PENDING"),
    "its request is gone": (_with_entry(state=State.UNRESOLVED, ended=0.0), "its request is gone"),
    "not listed": (replace(FACTS, listed=frozenset()), "is not listed"),
    "sent after its end": (_with_entry(ended=105.0), "was sent 4.0 s after its entry was SETTLED"),
    "sent twice at once": (
        replace(
            FACTS, journal=(*JOURNAL, Line(100.05, "begins", "token-1", "3/1"), Line(109.0, "ends", "token-1", "3/1"))
        ),
        "was sent twice at once",
    ),
    "sent twice at once until the wallet was killed": (
        replace(
            FACTS,
            journal=(
                *(Line(101.0, "begins", "token-3", "4/1"), Line(101.1, "begins", "token-3", "4/2")),
                *(Line(108.0, "begins", "token-4", "4/3"), *JOURNAL),
            ),
            once=frozenset({"token-3"}),
        ),
        "token-3 was sent twice at once",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_fact_is_found(name: str) -> None:
    """Each is one violation of an invariant, and is named."""
    facts, text = WRONG[name]
    assert any(text in violation for violation in violations(facts)), violations(facts)


RIGHT = {
    "all went well": FACTS,
    "a person sees it": replace(
        _with_entry(state=State.REJECTED, ciphertext=b"x", ended=0.0),
        journal=tuple(line for line in JOURNAL if line.token != "token-1"),
    ),
    "sent again by its callers": replace(
        FACTS,
        once=frozenset({"token-2"}),
        journal=(*JOURNAL, Line(100.05, "begins", "token-1", "3/1"), Line(103.0, "ends", "token-1", "3/1")),
    ),
    "its reset never came": replace(
        FACTS, journal=(replace(JOURNAL[0], request="9/1"), *JOURNAL[2:], Line(115.0, "begins", "token-9", "9/2"))
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_run_that_went_well_has_no_violation(name: str) -> None:
    """What the invariants allow is not called wrong."""
    assert violations(RIGHT[name]) == []


def test_counts_show_what_happened() -> None:
    """Two calls, three requests, one of them the settler's."""
    found = counts(FACTS)
    shown = [found[name] for name in ("calls", "answered OK", "answered PENDING", "of them retries", "entries SETTLED")]
    assert shown == [2, 1, 1, 1, 1]
