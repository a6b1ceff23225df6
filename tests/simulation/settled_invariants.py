"""What must hold after every run with settlement: docs/design/settlement.md, "Invariants" 1 to 3, and its pauses.

Excused is only what a store that loses a second excuses: what was written in that time.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

from bridge.events import SettlementNotWritten
from bridge.outcome import Outcome
from bridge.settlement.entry import Entry, State
from bridge.settlement.pace import PAUSE_S
from bridge.settlement.writer import ENDS_WAIT_S, GAP_S
from tests.simulation.run import Violation
from tests.simulation.settled_bridge import Bridge, Span, token_of
from tests.simulation.settled_run import SettledEnd, SettledRun
from tests.simulation.settled_store import CLOCK_AHEAD_S, SLOW_S, SOON_S

ROUNDING_S = 1e-6
"""A time on the store's clock, some 10^9 s, less its start: a double holds it to 2.4e-7 s."""
WRITTEN_S = max(ENDS_WAIT_S, GAP_S) + SOON_S[1]
"""How long after a certain end its write has reached the store, while that works."""
ANSWER_S = 10.0
"""What a settler may know late: answers of the store that were on their way."""
PAUSING = frozenset({"WALLET_AUTH_REJECTED", "WALLET_ENDPOINT", "WALLET_UNREACHABLE", "PROVIDER_NOT_CONFIGURED"})
VISIBLE = frozenset({State.REJECTED, State.UNRESOLVED, State.CLOSED})

Check = Callable[[SettledRun], Iterator[Violation]]


def kept_promises(run: SettledRun) -> Iterator[Violation]:
    """Invariant 1: of a call answered PENDING, the token was terminated or a person sees its entry."""
    for end in run.ends_seen.values():
        if not end.is_pending or _is_lost(run, end.ended_s):
            continue
        if not end.is_in_store:
            yield Violation("was answered PENDING before it was written", end.call.token)
        yield from _comes_to_an_end(run, end, "was answered PENDING")


def nothing_forgotten(run: SettledRun) -> Iterator[Violation]:
    """Invariant 2: with durability "before", what was sent and has no certain end is settled, despite any kill."""
    if not run.settled.is_before or run.settled.store_faults:
        return
    for end in run.ends_seen.values():
        record = run.wallet.records.get(end.call.token)
        if record is not None and record.begun_s and not end.is_certain:
            yield from _comes_to_an_end(run, end, "was sent")


def nothing_dropped(run: SettledRun) -> Iterator[Violation]:
    """Write down every call of unknown end, or report it when the bridge ends, unless its bridge was killed."""
    for end in run.ends_seen.values():
        is_unknown = end.name != "CRASHED" and end.reported == Outcome.UNKNOWN.name
        if not is_unknown or end.bridge is None or end.bridge.is_dead or run.shared.lost:
            continue
        is_reported = any(
            isinstance(one, SettlementNotWritten) and one.call_id == end.call.call_id for one in end.bridge.events
        )
        if not is_reported and not run.shared.entries_of(end.call.call_id):
            yield Violation(f"{end.call.call_id} ended {end.name} and was never written", end.call.token)


def _comes_to_an_end(run: SettledRun, end: SettledEnd, what: str) -> Iterator[Violation]:
    token = end.call.token
    entries = run.shared.entries_of(end.call.call_id)
    is_visible = any(entry.state in VISIBLE for entry in entries)
    if not (run.wallet.records[token].processed or is_visible):
        states = [entry.state.value for entry in entries] or "no entry"
        yield Violation(f"{end.call.call_id} {what}, its token is alive, and there is {states}", token)


def all_end(run: SettledRun) -> Iterator[Violation]:
    """No entry stays PENDING once nothing fails any more, and none is SETTLED without the wallet's word."""
    for entry in run.shared.entries():
        token = token_of(entry) if entry.ciphertext else _token_of_calls(entry)
        if entry.state is State.PENDING:
            yield Violation(f"an entry is PENDING for ever, {entry.attempts} attempts, {entry.last.reason}", token)
        if entry.state is State.SETTLED and token and not run.wallet.records[token].processed:
            yield Violation("an entry is SETTLED, and its token is alive", token)
        if entry.state is State.REJECTED and entry.last.reason not in {"WALLET_REJECTED", "WALLET_ECHO_MISMATCH"}:
            yield Violation(f"an entry is REJECTED after {entry.last.reason}", token)
        if entry.state not in {State.SETTLED, State.CLOSED} and not entry.ciphertext:
            yield Violation(f"an entry is {entry.state.value} and its request is gone", token)


def store_keeps_its_rules(run: SettledRun) -> Iterator[Violation]:
    """Let no write come back after its call's end, however late it arrives."""
    if not run.shared.lost:
        yield from map(Violation, run.shared.wrong)


def one_owner(run: SettledRun) -> Iterator[Violation]:
    """Invariant 3: no two settlers own one entry, and what is SETTLED is not sent again."""
    if not run.shared.lost and any(bridge.handle.stale for bridge in run.bridges):
        yield Violation("a former owner has changed an entry that another had taken")
    by_entry: dict[str, list[Span]] = {}
    for span in run.spans:
        if _is_lost(run, span.began_s):
            continue
        if span.wrong and not _was_lost_since(run, span):
            yield Violation(f"an attempt of {span.bridge.name} begins although {span.wrong}", span.token)
        by_entry.setdefault(span.entry.entry_id, []).append(span)
    for spans in by_entry.values():
        for first, second in pairwise(spans):
            if second.began_s < _end_s(first) and not _was_lost_since(run, first):
                yield Violation(f"{first.bridge.name} and {second.bridge.name} send one entry at once", first.token)
            if first.is_confirmed and first.bridge is second.bridge and not _was_lost_since(run, first):
                yield Violation("an entry is sent again by whom the wallet has confirmed it", first.token)
            is_mismatch = first.error is not None and first.error.reason == "WALLET_ECHO_MISMATCH"
            if is_mismatch and first.bridge is second.bridge and not _was_lost_since(run, first):
                yield Violation("an entry is sent again although the wallet spoke of another", first.token)


def pauses(run: SettledRun) -> Iterator[Violation]:
    """Take nothing of a provider in the five minutes after a failure that an operator must cure."""
    if "stall of one" in run.settled.store_faults:
        return
    for bridge in run.bridges:
        for pause in bridge.spans:
            if pause.error is not None and pause.error.reason in PAUSING and pause.ended_s is not None:
                yield from _in_pause(bridge, pause.ended_s, SLOW_S[1] if run.settled.store_faults else SOON_S[1])


def _in_pause(bridge: Bridge, from_s: float, on_its_way_s: float) -> Iterator[Violation]:
    for span in bridge.spans:
        taken_s = span.entry.read_at - CLOCK_AHEAD_S
        if from_s + 2 * on_its_way_s < taken_s < from_s + PAUSE_S - ROUNDING_S:
            is_cured = any(one.is_certain and from_s <= _end_s(one) <= span.began_s for one in bridge.spans)
            if not is_cured:
                yield Violation(f"is taken {taken_s - from_s:.3f} s after its provider was paused", span.token)


def callers(run: SettledRun) -> Iterator[Violation]:
    """Answer callers truly: OK only for a dead token, PENDING only where it is unknown or where it is asked for."""
    for end in run.ends_seen.values():
        record = run.wallet.records[end.call.token]
        if end.name == "OK" and not record.processed:
            yield Violation("OK, and its token is alive", end.call.token)
        if end.error is None:
            continue
        if end.is_pending and end.error.outcome is not Outcome.UNKNOWN and not run.settled.settles_failed:
            yield Violation(f"PENDING after {end.name}", end.call.token)
        for wrong in record.wrong:
            yield Violation(f"the wallet got {wrong}", end.call.token)


def nothing_sent_after_a_certain_end(run: SettledRun) -> Iterator[Violation]:
    """Send nothing for calls that have all ended for certain: their ends delete the entry before it falls due."""
    # The end of a call that an entry no longer lists ends nothing.
    if run.settled.store_faults or not run.settled.is_before or run.is_crowded:
        return
    for span in run.spans:
        ends = [run.ends_seen[call_id] for call_id in run.shared.calls_of_entry[span.entry.entry_id]]
        if ends and all(_is_over(end, span.began_s) for end in ends):
            yield Violation("is sent again although every call of it has ended for certain", span.token)


def _is_over(end: SettledEnd, at_s: float) -> bool:
    """Say whether a call had ended for certain by then, long enough before for its bridge to write that down."""
    killed_s = float("inf") if end.bridge is None else end.bridge.killed_s
    return end.is_certain and end.ended_s + WRITTEN_S < min(at_s, killed_s)


def nothing_logged(run: SettledRun) -> Iterator[Violation]:
    """No exception is left unretrieved, and the bridge reports no error of its own."""
    for what in (*run.left, *run.loop.unhandled, *run.wallet.complaints):
        # What the keeper gives up is logged as an error, for a person.
        if not what.startswith("logged: settlement entry"):
            yield Violation(what)


INVARIANTS: tuple[Check, ...] = (
    *(kept_promises, nothing_forgotten, nothing_dropped, all_end, store_keeps_its_rules, one_owner),
    *(pauses, callers, nothing_sent_after_a_certain_end, nothing_logged),
)


def _token_of_calls(entry: Entry) -> str:
    """Return the token of an entry whose request is deleted; "" where its calls have all ended for themselves."""
    return next((call.call_id.split("/")[0] for call in entry.calls), "")


def _end_s(span: Span) -> float:
    return float("inf") if span.ended_s is None else span.ended_s


def _is_lost(run: SettledRun, at_s: float) -> bool:
    """Say whether the store has lost what was written then, or just before."""
    return any(from_s <= at_s <= to_s + ANSWER_S for from_s, to_s in run.shared.lost)


def _was_lost_since(run: SettledRun, span: Span) -> bool:
    """Say whether the store has lost something since shortly before an attempt began."""
    return any(to_s >= span.began_s - ANSWER_S for _, to_s in run.shared.lost)


def violations(run: SettledRun) -> list[Violation]:
    """Return everything that does not hold."""
    return [violation for check in INVARIANTS for violation in check(run)]
