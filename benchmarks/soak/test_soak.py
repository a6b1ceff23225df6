"""The soak's own checks: it must notice what it is there to notice. The run itself is soak.py."""

import asyncio
import dataclasses
import os
import random
from collections.abc import Mapping
from contextlib import closing

import pytest

from benchmarks.soak import callers, ledger
from benchmarks.soak.callers import Callers, Wish
from benchmarks.soak.ledger import CANCELLED, OK, SILENT, WINDOW_S, Ledger
from benchmarks.soak.mix import NAMES, any_plan, new_token, plan_of
from benchmarks.soak.report import compared, kept, reported
from benchmarks.soak.samples import Sample, table
from benchmarks.soak.starvation import Starvation
from tests.support.random_wallet import GOOD


def rated(end: str, processed: int) -> list[str]:
    """Return the rules that a call broke which ended so, and was processed so many times."""
    book, token = Ledger(), new_token([GOOD])
    book.began(token)
    book.processed([token] * processed)
    book.ended(token, end, 0.0)
    book.settle(WINDOW_S)
    assert book.rated == 1
    return list(book.broken)


LIES: Mapping[str, tuple[str, int, list[str]]] = {
    "success": (OK, 1, []),
    "success, not processed": (OK, 0, [ledger.OK_UNPROCESSED]),
    "success, twice": (OK, 2, [ledger.TWICE]),
    "UNKNOWN": ("UNKNOWN", 0, []),
    "UNKNOWN, processed": ("UNKNOWN", 1, []),
    "UNKNOWN, twice": ("UNKNOWN", 2, [ledger.TWICE]),
    "cancelled": (CANCELLED, 1, []),
    "cancelled, twice": (CANCELLED, 2, [ledger.TWICE]),
    "NOT_SENT": ("NOT_SENT", 0, []),
    "NOT_SENT, processed": ("NOT_SENT", 1, [ledger.NO_BUT_PROCESSED]),
    "NOT_PROCESSED, processed": ("NOT_PROCESSED", 1, [ledger.NO_BUT_PROCESSED]),
    "REJECTED, processed": ("REJECTED", 1, [ledger.NO_BUT_PROCESSED]),
}


@pytest.mark.parametrize(("end", "processed", "broken"), LIES.values(), ids=LIES)
def test_lies_are_noticed(end: str, processed: int, broken: list[str]) -> None:
    """What a caller was answered is compared with what the wallet did."""
    assert rated(end, processed) == broken


def test_a_call_is_checked_once_its_window_has_passed() -> None:
    """Not before: the wallet's record may come later than the caller's."""
    book, token = Ledger(), new_token([GOOD])
    book.began(token)
    book.ended(token, OK, 100.0)
    book.settle(100.0 + WINDOW_S - 1)
    book.processed([token])
    book.settle(100.0 + WINDOW_S)
    assert (book.rated, book.broken.total(), book.under_way) == (1, 0, 0)


def test_what_is_processed_after_that_is_noticed() -> None:
    """A token without a record is one whose call has long ended."""
    book, token = Ledger(), new_token([GOOD])
    book.processed([token])
    assert list(book.broken) == [ledger.TOO_LATE]
    assert token in book.examples[0]


def test_nothing_is_kept_of_calls_that_were_checked() -> None:
    """A soak of any length needs no more memory than one of a minute."""
    book = Ledger()
    for number in range(1000):
        token = new_token([GOOD])
        book.began(token)
        book.ended(token, CANCELLED, float(number))
        book.settle(float(number))
    assert book.rated == 1000 - WINDOW_S
    assert len(book._open) == len(book._ended) == WINDOW_S


def test_a_token_carries_its_plan() -> None:
    """The wallet does what the caller has chosen, for any plan."""
    chance = random.Random(1)  # noqa: S311 - reproducible
    plans = [any_plan(chance) for _ in range(5000)]
    assert [list(plan_of(new_token(plan))) for plan in plans] == plans
    assert {fault for plan in plans for fault in plan} == set(NAMES)


REST = Sample(
    at_s=10.0,
    calls=1000,
    memory_kib=70_000,
    descriptors=26,
    threads=9,
    tasks=12,
    cpu_s=1.0,
    in_flight=0,
    queued=0,
    detached=0,
    streams=0,
    connections=0,
    callers_kib=70_000,
    wallet_kib=60_000,
)

LEAKS = ("descriptors", "tasks", "in_flight", "queued", "detached", "streams", "connections")


@pytest.mark.parametrize("name", LEAKS)
def test_leaks_are_noticed(name: str) -> None:
    """One that is left over at the end is one too many."""
    end = dataclasses.replace(REST, **{name: getattr(REST, name) + 1})
    wrong = [finding.what for finding in compared(REST, end, [REST, end]) if not finding.holds]
    assert wrong == [f"{name} are back at base"]


@pytest.mark.parametrize(("growth", "holds"), [(0.04, True), (0.06, False)], ids=["4 %", "6 %"])
def test_growth_is_noticed(growth: float, *, holds: bool) -> None:
    """Memory is compared by medians of the first and last fifth: a single peak is none."""
    peak = dataclasses.replace(REST, memory_kib=200_000)
    later = dataclasses.replace(REST, memory_kib=round(REST.memory_kib * (1 + growth)))
    loaded = [REST, REST, peak, *[REST] * 9, later, peak, later]
    assert compared(REST, REST, loaded)[0].holds is holds


def test_each_broken_rule_is_a_finding() -> None:
    """One line for each rule, and each can fail alone."""
    for number, rule in enumerate((*ledger.RULES, *callers.RULES)):
        book = Ledger()
        book.breaks(rule, new_token([GOOD]))
        assert [index for index, finding in enumerate(kept(book.broken)) if not finding.holds] == [number]


@pytest.mark.parametrize(("bare", "calls", "holds"), [(0, 1, True), (1, 10_000, True), (1, 9_999, False)])
def test_failures_without_details_are_rare(bare: int, calls: int, *, holds: bool) -> None:
    """One in ten thousand calls may be one, and no more."""
    assert reported(bare, calls).holds is holds


def test_the_table_stays_short() -> None:
    """Of a long run some samples are shown, the last one among them."""
    samples = [dataclasses.replace(REST, at_s=float(number)) for number in range(181)]
    lines = table(samples)
    assert len(lines) <= 31
    assert lines[-1].split()[0] == "180"


WISH = Wish(timeout_s=0.5, cancel_s=None)
HURRY = Wish(timeout_s=0.05, cancel_s=None)
DELAYS: Mapping[str, tuple[Wish, str, float, float, list[str]]] = {
    "in the grace": (WISH, OK, 0.09, 0.0, []),
    "late": (WISH, OK, 0.11, 0.0, [callers.LATE]),
    "late, as everybody was": (WISH, OK, 0.3, 0.25, []),
    "later than everybody was": (WISH, OK, 0.3, 0.15, [callers.LATE]),
    "never": (WISH, SILENT, 10.0, 20.0, [callers.NEVER]),
    "silent": (WISH, SILENT, 0.0, 0.0, [callers.BARE]),
    "silent, on a busy machine": (WISH, SILENT, 0.0, 0.015, []),
    "silent, although there was time": (WISH, SILENT, 0.0, 0.005, [callers.BARE]),
    "silent, in no time": (HURRY, SILENT, 0.0, 0.0, []),
}


@pytest.mark.parametrize(("wish", "said", "late_s", "starved_s", "broken"), DELAYS.values(), ids=DELAYS)
async def test_delays_are_noticed(wish: Wish, said: str, late_s: float, starved_s: float, broken: list[str]) -> None:
    """An end may be 100 ms after the deadline, and as much as the soak itself has kept from running meanwhile."""
    book = Ledger()
    with closing(Starvation(os.getpid())) as starvation:
        chance = random.Random(1)  # noqa: S311 - reproducible
        Callers("", book, starvation, chance)._check(new_token([GOOD]), wish, said, late_s, starved_s)
    assert list(book.broken) == broken


async def test_a_loop_that_is_behind_is_measured() -> None:
    """What holds the callers up is not held against the bridge."""
    with closing(Starvation(os.getpid())) as starvation:
        before = starvation.before()
        await asyncio.sleep(0)
        until_s = asyncio.get_running_loop().time() + 0.05
        while asyncio.get_running_loop().time() < until_s:
            pass
        assert starvation.now() - before > 0.04
