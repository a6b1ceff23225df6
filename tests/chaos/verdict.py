"""What must hold after a run: docs/design/settlement.md, "Invariants" 1 and 3."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from bridge.settlement.entry import Entry, State
from tests.chaos.callers import Result
from tests.chaos.wallet import Line

OWNED_S = 0.4
"""For how long a request that is open surely has an owner: no sender gives up earlier. Later its reset may be missing,
because a connection has a budget of resets (docs/design/faults.md)."""
AT_ONCE_S = 0.3
"""How long two requests of one token must have an owner together before they count as sent at once: the wallet learns
of an end a little late."""
LATE_S = 1.0
"""How long after an entry became SETTLED a request may begin that was on its way."""
FOR_PEOPLE = frozenset({State.REJECTED, State.UNRESOLVED})
ENDLESS = float("inf")


@dataclass(frozen=True)
class Facts:
    """What is known after a run."""

    results: Sequence[Result]
    once: frozenset[str]
    """Tokens that one call alone was about: all further requests are the settlers'."""
    journal: Sequence[Line]
    entries: Sequence[Entry]
    listed: frozenset[str]
    """Entry ids that `bridge settlement list` shows."""

    @cached_property
    def terminated(self) -> frozenset[str]:
        """The tokens that the wallet has terminated."""
        return frozenset(line.token for line in self.journal if line.what == "terminates")

    @cached_property
    def by_call(self) -> Mapping[str, Sequence[Entry]]:
        """The entries of each call id."""
        found: defaultdict[str, list[Entry]] = defaultdict(list)
        for entry in self.entries:
            for call in entry.calls:
                found[call.call_id].append(entry)
        return found

    @cached_property
    def spans(self) -> Mapping[str, Sequence[tuple[float, float]]]:
        """By token: from when to when each request of it was open at the wallet, in the order of their beginnings."""
        ends = {line.request: line.at for line in self.journal if line.what == "ends"}
        found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        # A request without an end was open when the wallet was killed: the next line of another process is after that.
        for at, line in enumerate(self.journal):
            if line.what == "begins":
                found[line.token].append((line.at, ends.get(line.request) or _killed_at(self.journal, at)))
        return {token: sorted(spans) for token, spans in found.items()}


def _killed_at(journal: Sequence[Line], at: int) -> float:
    process = journal[at].request.partition("/")[0]
    return max(line.at for line in journal if line.request.partition("/")[0] == process)


def _none_lost(facts: Facts) -> Iterator[str]:
    for result in facts.results:
        if not result.is_pending or result.token in facts.terminated:
            continue
        states = [entry.state for entry in facts.by_call.get(result.call_id, ())]
        if not any(state in FOR_PEOPLE for state in states):
            yield f"{result.call_id} was answered PENDING, its token is alive, and its entries are {states or 'gone'}"


def _none_forgotten(facts: Facts) -> Iterator[str]:
    for entry in facts.entries:
        if entry.state is State.PENDING:
            yield f"entry {entry.entry_id} stays PENDING: {entry.attempts} attempts, {entry.last.reason}"
        if entry.state in FOR_PEOPLE and not entry.ciphertext:
            yield f"entry {entry.entry_id} is {entry.state} and its request is gone"
        if entry.entry_id not in facts.listed:
            yield f"entry {entry.entry_id} is not listed"


def _none_invented(facts: Facts) -> Iterator[str]:
    tokens = {result.call_id: result.token for result in facts.results}
    for result in facts.results:
        if result.code == "OK" and result.token not in facts.terminated:
            yield f"{result.call_id} was answered OK, and its token is alive"
    for entry in facts.entries:
        alive = {tokens[call.call_id] for call in entry.calls if call.call_id in tokens} - facts.terminated
        if entry.state is State.SETTLED and alive:
            yield f"entry {entry.entry_id} is SETTLED, and its token is alive"


def _none_owned_twice(facts: Facts) -> Iterator[str]:
    for token in facts.once:
        for (first, first_end), (second, second_end) in pairwise(facts.spans.get(token, ())):
            both_s = min(first_end, first + OWNED_S, second_end) - second
            if both_s > AT_ONCE_S:
                yield f"{token} was sent twice at once, for {both_s:.1f} s and more"


def _none_sent_after_its_end(facts: Facts) -> Iterator[str]:
    ended = {
        call.call_id: entry.ended for entry in facts.entries if entry.state is State.SETTLED for call in entry.calls
    }
    for result in facts.results:
        began = max((span[0] for span in facts.spans.get(result.token, ())), default=0.0)
        late_s = began - ended.get(result.call_id, ENDLESS)
        if result.token in facts.once and late_s > LATE_S:
            yield f"{result.token} was sent {late_s:.1f} s after its entry was SETTLED"


CHECKS = (_none_lost, _none_forgotten, _none_invented, _none_owned_twice, _none_sent_after_its_end)


def violations(facts: Facts) -> list[str]:
    """Return everything that does not hold."""
    return [violation for check in CHECKS for violation in check(facts)]


def counts(facts: Facts) -> Mapping[str, int]:
    """Return what happened, in numbers."""
    begun = Counter(line.token for line in facts.journal if line.what == "begins")
    return {
        "calls": len(facts.results),
        "answered OK": sum(result.code == "OK" for result in facts.results),
        "answered PENDING": sum(result.is_pending for result in facts.results),
        "without an answer": sum(result.code != "OK" and not result.reason for result in facts.results),
        "requests at the wallet": begun.total(),
        "of them retries": begun.total() - len(begun),
        "tokens terminated": len(facts.terminated),
        **{f"entries {state}": sum(entry.state is state for entry in facts.entries) for state in State},
    }
