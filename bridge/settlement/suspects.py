"""Writes that a store may refuse for what they are: tried one by one, so that such a one does not hold up the others.

A store that is damaged, or fails in a way that the bridge does not know, may be at fault as a whole, or take every
write but one. Which of both shows only when others are taken: so each write of a batch that failed is tried alone, and
one that is refused again and again, while the store takes others in between, is given up.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from itertools import islice

from bridge.settlement.store import Problem
from bridge.settlement.written import Written

OF_ONE = frozenset({Problem.DAMAGED, Problem.FAILED})
"""Problems that may be due to one write."""

REFUSALS_MAX = 3
"""Refusals of a write alone, each after the store has taken others, until it is given up: one may be chance."""


@dataclass(slots=True)
class _Record:
    """What has become of a write that was tried alone."""

    refusals: int = 0
    tries: int = 0
    refused_at: int = -1
    """How many batches the store had taken by the last refusal."""


@dataclass(slots=True, eq=False)
class Suspects:
    """The writes of batches that have failed with such a problem, oldest first."""

    _records: dict[Written, _Record] = field(default_factory=dict)
    _taken: int = 0
    """Number of batches that the store has taken."""

    @property
    def may_go_on(self) -> bool:
        """Whether one of them has not been refused since the store last took something."""
        return any(record.refused_at != self._taken for record in self._records.values())

    def are_all(self, queued: int) -> bool:
        """Say whether there is nothing else to try in a queue of so many writes, nor one of them that may go on."""
        return len(self._records) == queued and not self.may_go_on

    def next_batch(self, queue: Iterable[Written], size_max: int) -> list[Written]:
        """Return what to write now of this queue, which is not empty: a suspect alone, or up to so many others.

        While everything fails, suspects and others have their turns.
        """
        if not self._records:
            return list(islice(queue, size_max))
        for item, record in self._records.items():
            if record.refused_at != self._taken:
                return [item]
        others = list(islice((item for item in queue if item not in self._records), size_max))
        return others or [min(self._records, key=lambda item: self._records[item].tries)]

    def taken(self, batch: Collection[Written]) -> None:
        """Take note of a batch that the store has taken."""
        self._taken += 1
        if self._records:
            for item in batch:
                self._records.pop(item, None)

    def gives_up(self, batch: Collection[Written]) -> bool:
        """Take note of a batch that failed with such a problem; return whether it is a write that is to be given up."""
        for item in batch:
            self._records.setdefault(item, _Record())
        if len(batch) > 1:
            return False
        (item,) = batch
        record = self._records[item]
        record.tries += 1
        record.refusals += record.refused_at != self._taken
        record.refused_at = self._taken
        if record.refusals < REFUSALS_MAX:
            return False
        del self._records[item]
        return True
