"""Runs seeds one after the other, and makes a failing one small enough to be read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.simulation.invariants import Violation, violations
from tests.simulation.run import Run, run
from tests.simulation.scenario import Scenario

SHRINK_RUNS_MAX = 150


@dataclass(frozen=True, slots=True)
class Failure:
    """A seed that violates something, with as few calls as still do."""

    seed: int
    violations: list[Violation]
    calls: int
    history: list[str]

    def __str__(self) -> str:
        seen = "\n".join(f"  {violation.token or 'the run'}: {violation.what}" for violation in self.violations[:5])
        return (
            f"seed {self.seed} ({Scenario.of(self.seed).kind.name}), {self.calls} calls left of it:\n{seen}\n"
            f"repeat it with: make simulate SEED={self.seed}\n" + "\n".join(self.history)
        )


def check(seed: int) -> Failure | None:
    """Run one seed; return what it violates, or None."""
    found = violations(run(Scenario.of(seed)))
    return shrunk(seed, found[0]) if found else None


def first_failure(seeds: Iterable[int], progress: Callable[[int], None] = lambda _seed: None) -> Failure | None:
    """Run seeds until one fails."""
    for seed in seeds:
        progress(seed)
        failure = check(seed)
        if failure is not None:
            return failure
    return None


def shrunk(seed: int, violation: Violation) -> Failure:
    """Leave out calls for as long as the run still violates something about the same call.

    A call's chance is its own, so that the others stay almost as they were without it.
    """
    kept = [call.token for call in Scenario.of(seed).calls]
    smallest = run(Scenario.of(seed))
    size, runs = max(len(kept) // 2, 1), 0
    while size and runs < SHRINK_RUNS_MAX:
        for at in range(0, len(kept), size):
            fewer = kept[:at] + kept[at + size :]
            if not fewer or (violation.token and violation.token not in fewer):
                continue
            runs += 1
            tried = run(Scenario.of(seed, frozenset(fewer)))
            if any(each.token == violation.token for each in violations(tried)):
                kept, smallest = fewer, tried
                break
        else:
            size //= 2
    return _failure(seed, smallest)


def _failure(seed: int, smallest: Run) -> Failure:
    found = violations(smallest)
    about = [violation.token for violation in found[:1] if violation.token] or list(smallest.ends)
    return Failure(seed, found, len(smallest.ends), smallest.history.about(about))
