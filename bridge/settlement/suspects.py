"""Calls that a store may refuse for what they are: tried one by one, so that such a one does not hold up the others.

A store that is damaged, or fails in a way that the bridge does not know, may be at fault as a whole, or take all calls
but one. Which of both shows only when others are taken: so each call of a batch that failed is tried alone, and one
that is refused again and again, while the store takes others in between, is given up.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import islice

from bridge.settlement.store import Problem
from bridge.settlement.written import Written

OF_ONE = frozenset({Problem.DAMAGED, Problem.FAILED})
"""Problems that may be due to one call."""
REFUSALS_MAX = 3
"""Refusals of a call alone, each after the store has taken others, until it is given up: one may be chance."""


@dataclass(slots=True)
class _Record:
    """What has become of a call that was tried alone."""

    refusals: int = 0
    tries: int = 0
    refused_at: int = -1
    """How many batches the store had taken by the last refusal."""


@dataclass(slots=True, eq=False)
class Suspects:
    """The calls of batches that have failed with such a problem, oldest first.

    All writes of one call stay together: its insert, which a store may have carried out, must not come back alone
    after its end.
    """

    blames_one: bool = False
    """The last failure was such a problem, of one call alone."""
    _records: dict[str, _Record] = field(default_factory=dict)
    """By ticket."""
    _taken: int = 0
    """Number of batches that the store has taken."""
    _is_of_one: bool = False
    """The last failure was such a problem."""

    def may_go_on(self, queue: Iterable[Written]) -> bool:
        """Say, after a failure, whether there is something to try that the store has not just refused."""
        return self._is_of_one and bool(self._not_refused(queue, 1))

    def are_all_of(self, queue: Iterable[Written]) -> bool:
        """Say whether all of a queue was tried alone, and refused."""
        return all(item.write.ticket in self._records and self._records[item.write.ticket].tries for item in queue)

    def next_batch(self, queue: Iterable[Written], size_max: int) -> list[Written]:
        """Return what to write now of this queue, which is not empty: a suspect alone, or up to so many others.

        While everything fails, suspects and others have their turns.
        """
        if not self._records:
            return list(islice(queue, size_max))
        return self._not_refused(queue, size_max) or _of(
            min(self._records, key=lambda ticket: self._records[ticket].tries), queue
        )

    def _not_refused(self, queue: Iterable[Written], size_max: int) -> list[Written]:
        for ticket, record in self._records.items():
            if record.refused_at != self._taken:
                return _of(ticket, queue)
        return list(islice((item for item in queue if item.write.ticket not in self._records), size_max))

    def taken(self, batch: Collection[Written]) -> None:
        """Take note of a batch that the store has taken."""
        self._taken += 1
        if self._records:
            for item in batch:
                self._records.pop(item.write.ticket, None)

    def gives_up(self, batch: Collection[Written], problem: Problem) -> bool:
        """Take note of a batch that failed; return whether it is a call that is to be given up."""
        tickets = dict.fromkeys(item.write.ticket for item in batch)
        self._is_of_one = problem in OF_ONE
        self.blames_one = self._is_of_one and len(tickets) == 1
        if self._is_of_one:
            for ticket in tickets:
                self._records.setdefault(ticket, _Record())
        return self.blames_one and self._is_refused(*tickets)

    def _is_refused(self, ticket: str) -> bool:
        record = self._records[ticket]
        record.tries += 1
        record.refusals += record.refused_at != self._taken
        record.refused_at = self._taken
        if record.refusals < REFUSALS_MAX:
            return False
        del self._records[ticket]
        return True


def _of(ticket: str, queue: Iterable[Written]) -> list[Written]:
    return [item for item in queue if item.write.ticket == ticket]
