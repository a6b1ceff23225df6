"""A row's verdict: its calls held against the wallet's log."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.interop import calls
from tests.interop.calls import Ended
from tests.interop.ledger import Entry

CERTAIN = ("NOT_SENT", "NOT_PROCESSED", "REJECTED")
"""Outcomes that say: the wallet has not carried this call out."""


@dataclass(frozen=True)
class Tally:
    """Counts of one row of one server. All but `calls`, `failed` and `expired` must be zero."""

    calls: int
    """Healthy ones."""
    failed: int
    """Healthy ones that did not end OK."""
    duplicated: int
    """Tokens that the application saw more than once."""
    false_certainty: int
    """Calls said not to be carried out that were, and calls said to be OK that never were."""
    inexact: int
    """Requests whose body, signature, credentials or content-length were not exactly what they had to be."""
    expired: int = 0
    """Calls that were made to expire."""
    reasons: Mapping[str, int] = field(default_factory=dict)
    """Why the healthy ones failed."""
    seen: str = ""
    """An instance of what must be zero; "" for none."""

    @property
    def is_true(self) -> bool:
        """Nothing was sent twice, nothing was reported wrong, nothing was changed on the way."""
        return not (self.duplicated or self.false_certainty or self.inexact)


def tally(ended: Sequence[Ended], ledger: Mapping[str, Sequence[Entry]]) -> Tally:
    """Hold a row's calls against the wallet's log of all rows."""
    healthy = [each for each in ended if each.is_healthy]
    failed = [each for each in healthy if each.code != "OK"]
    duplicated = [each for each in ended if len(ledger.get(each.token, ())) > 1]
    lied = [each for each in ended if _is_false(each, ledger.get(each.token, ()))]
    inexact = [each for each in ended if not all(_is_exact(each.token, entry) for entry in ledger.get(each.token, ()))]
    return Tally(
        calls=len(healthy),
        failed=len(failed),
        duplicated=len(duplicated),
        false_certainty=len(lied),
        inexact=len(inexact),
        expired=len(ended) - len(healthy),
        reasons=dict(Counter(each.reason or each.code for each in failed).most_common()),
        seen=str(next(iter((*duplicated, *lied, *inexact)), "")),
    )


def _is_false(each: Ended, entries: Sequence[Entry]) -> bool:
    is_carried_out = any(not entry.fault for entry in entries)
    return (each.code == "OK" and not is_carried_out) or (each.outcome in CERTAIN and is_carried_out)


def _is_exact(token: str, entry: Entry) -> bool:
    return not entry.fault and entry.body == calls.body(token)
