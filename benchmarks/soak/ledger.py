"""Answers to callers against the wallet's record: docs/design/faults.md's invariants, over a moving window.

A call's record is checked and forgotten once no more can come of it. What the wallet does later with its token is found
all the same: a token without a record has been checked already.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field

from benchmarks.soak.mix import plan_of
from bridge.telemetry.fingerprint import Fingerprint

WINDOW_S = 20.0
"""How long a call's record is kept after its end: many times the longest call and the wallet's reports together."""
EXAMPLES_MAX = 20
FINGERPRINT_KEY = "the soak's own fingerprint key"

OK, CANCELLED = "OK", "CANCELLED"
SILENT = "no details"
"""The call failed, but it is unknown how."""

# docs/design/faults.md, "Invariants". That REJECTED means "not carried out": docs/design/contract.md, "Failures".
NOT_CARRIED_OUT = frozenset({"NOT_SENT", "NOT_PROCESSED", "REJECTED"})

TWICE = "the wallet processed a token twice"
OK_UNPROCESSED = "OK, but the wallet did not process it"
NO_BUT_PROCESSED = "said not to be carried out, but the wallet processed it"
TOO_LATE = "the wallet processed a token whose call had long ended"
RULES = (TWICE, OK_UNPROCESSED, NO_BUT_PROCESSED, TOO_LATE)


@dataclass(slots=True)
class Entry:
    """What is known of one call."""

    processed: int = 0
    end: str = ""
    """OK, CANCELLED, SILENT or the outcome; "" while it goes on."""


@dataclass
class Ledger:
    """The records of the calls of the last seconds, and what was wrong so far."""

    broken: Counter[str] = field(default_factory=Counter)
    """How often each rule was broken."""
    examples: list[str] = field(default_factory=list)
    """The first cases, with the fingerprint by which the bridge's log names the token."""
    rated: int = 0
    _open: dict[str, Entry] = field(default_factory=dict)
    _ended: OrderedDict[str, float] = field(default_factory=OrderedDict)
    _fingerprint: Fingerprint = field(default_factory=lambda: Fingerprint(FINGERPRINT_KEY.encode()))

    def began(self, token: str) -> None:
        """Open the record of a call that is about to be made."""
        self._open[token] = Entry()

    def ended(self, token: str, end: str, now_s: float) -> None:
        """Note what the caller was answered."""
        self._open[token].end = end
        self._ended[token] = now_s

    def processed(self, tokens: Iterable[str]) -> None:
        """Note what the wallet did."""
        for token in tokens:
            if entry := self._open.get(token):
                entry.processed += 1
            else:
                self.breaks(TOO_LATE, token)

    def settle(self, now_s: float) -> None:
        """Check and forget the calls whose window has passed."""
        while self._ended:
            token, ended_s = next(iter(self._ended.items()))
            if now_s - ended_s < WINDOW_S:
                return
            del self._ended[token]
            self._check(token, self._open.pop(token))

    @property
    def under_way(self) -> int:
        """How many calls have begun and not ended."""
        return len(self._open) - len(self._ended)

    def breaks(self, rule: str, token: str, more: str = "") -> None:
        """Note that a rule was broken, by the call with this token."""
        self.broken[rule] += 1
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(f"{rule}: {token} [{self._fingerprint(token)}] {', '.join(plan_of(token))} {more}")

    def _check(self, token: str, entry: Entry) -> None:
        self.rated += 1
        # Stricter than docs/design/faults.md, which allows more for UNKNOWN: `wallet.retry_unknown` is off here.
        if entry.processed > 1:
            self.breaks(TWICE, token, entry.end)
        if entry.end == OK and not entry.processed:
            self.breaks(OK_UNPROCESSED, token)
        if entry.end in NOT_CARRIED_OUT and entry.processed:
            self.breaks(NO_BUT_PROCESSED, token, entry.end)
