"""The soak's end: what must hold, each with what was found, and the report for people."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.soak import callers, ledger
from benchmarks.soak.ledger import OK
from benchmarks.soak.phases import Soak
from benchmarks.soak.samples import GAUGES, Sample, table

GROWTH_MAX = 0.05
MEMORY_PARTS = 5
"""Of the time after the warm-up; the first of them is compared with the last."""

OK_MIN = 0.5
"""Of all calls: with fewer the soak would have tested little else than failures."""

CALLS_PER_BARE_MIN = 10_000
"""Of so many calls, one may have failed without details."""


@dataclass(frozen=True)
class Finding:
    """One thing that must hold."""

    what: str
    found: str
    holds: bool

    @property
    def line(self) -> str:
        """The finding, on one line."""
        return f"{'ok' if self.holds else 'FAIL':<6}{self.what:<66}{self.found}"


def compared(base: Sample, end: Sample, loaded: Sequence[Sample]) -> list[Finding]:
    """Compare the end with the state after the warm-up: at rest, and for memory under load, from `base` to `end`.

    Resident memory jumps with each large answer, and what was freed is kept for a while. So it is compared by medians.
    """
    part = max(1, len(loaded) // MEMORY_PARTS)
    before, after = (
        statistics.median(each.memory_kib / 1024 for each in some) for some in (loaded[:part], loaded[-part:])
    )
    memory = f"{before:.1f}, then {after:.1f} MiB: {after / before - 1:+.1%}"
    findings = [Finding(f"memory grew by less than {GROWTH_MAX:.0%}", memory, after / before - 1 < GROWTH_MAX)]
    for name in ("descriptors", "tasks", *GAUGES):
        at_first, at_last = getattr(base, name), getattr(end, name)
        findings.append(Finding(f"{name} are back at base", f"{at_first}, then {at_last}", at_last <= at_first))
    return findings


def kept(broken: Counter[str]) -> list[Finding]:
    """Say for each rule about calls how often it was broken."""
    return [Finding(f"never: {rule}", str(broken[rule]), not broken[rule]) for rule in (*ledger.RULES, *callers.RULES)]


def tally(counts: Mapping[str, int]) -> list[str]:
    """Return counts, the largest first."""
    return [f"{count:>9}  {name}" for name, count in sorted(counts.items(), key=lambda each: -each[1])]


def reported(bare: int, calls: int) -> Finding:
    """Say whether nearly all failures were reported with details; `bare`: how many were not."""
    what = f"failed without details: at most 1 of {CALLS_PER_BARE_MIN:,} calls"
    return Finding(what, f"{bare} of {calls}", bare * CALLS_PER_BARE_MIN <= calls)


def others(run: Soak, codes: tuple[int, int], *, recovers: bool) -> list[Finding]:
    """Say what must hold beside. `codes`: the exit codes of the bridge and of the wallet."""
    troubles = run.bridge.troubles()
    calls = run.callers.ends.total()
    ok = run.callers.ends[f"{OK} {OK}"] / max(calls, 1)
    return [
        reported(run.ledger.broken[callers.BARE], calls),
        Finding(f"at least {OK_MIN:.0%} of the calls were OK", f"{ok:.0%}", ok >= OK_MIN),
        Finding("no call is under way at the end", str(run.ledger.under_way), not run.ledger.under_way),
        Finding("calls succeed once the faults have ended", "yes" if recovers else "no", recovers),
        Finding("the bridge keeps to HTTP/2", ", ".join(run.wallet.violations) or "yes", not run.wallet.violations),
        Finding("signed with keys of that time", f"{run.wallet.foreign} with others", not run.wallet.foreign),
        Finding("no trouble in the log", "; ".join(tally(troubles)) or "none", not troubles),
        Finding("bridge and wallet exit with 0", f"{codes[0]} and {codes[1]}", codes == (0, 0)),
    ]


def figures(run: Soak) -> list[str]:
    """Return the samples, how calls ended, and further figures."""
    callers, first, last = run.callers, run.samples[0], run.samples[-1]
    own = ((first.callers_kib, last.callers_kib), (first.wallet_kib, last.wallet_kib))
    memory = ", ".join(f"{before / 1024:.0f} to {after / 1024:.0f} MiB" for before, after in own)
    late = f"{callers.latest_s * 1000:.0f} ms, before the allowance {callers.latest_raw_s * 1000:.0f} ms"
    return [
        *table(run.samples),
        "",
        *tally(callers.ends),
        "",
        f"channels of callers {callers.channels}, connections to the wallet {run.wallet.connections}",
        f"new keys {run.rotations}, calls checked {run.ledger.rated}",
        f"the soak's own memory: callers and wallet {memory}",
        f"the most by which a call ended after its deadline: {late}",
        f"calls excused by a busy machine: {callers.excused}",
        *run.ledger.examples,
    ]
