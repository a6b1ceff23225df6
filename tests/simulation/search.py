"""Runs seeds one after the other, and makes a failing one small enough to be read."""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.simulation import invariants, settled_invariants
from tests.simulation.history import History
from tests.simulation.run import Run, Violation, run
from tests.simulation.scenario import Scenario
from tests.simulation.settled_run import SettledRun

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
            f"reproduce it with: make simulate SEED={self.seed}\n" + "\n".join(self.history)
        )


def tried(scenario: Scenario) -> tuple[list[Violation], History]:
    """Run a scenario by its kind; return what it violates and what happened."""
    settled = scenario.kind.settled
    if settled is None:
        plain = run(scenario, Run)
        return invariants.violations(plain), plain.history
    ran = run(scenario, lambda scenario, loop: SettledRun(scenario, settled, loop))
    return settled_invariants.violations(ran), ran.history


def check(seed: int) -> Failure | None:
    """Run one seed; return what it violates, or None."""
    found, _ = tried(Scenario.of(seed))
    return shrunk(seed, found[0]) if found else None


def first_failure(seeds: Iterable[int]) -> Failure | None:
    """Run seeds until one fails."""
    for seed in seeds:
        failure = check(seed)
        if failure is not None:
            return failure
    return None


def shrunk(seed: int, violation: Violation) -> Failure:
    """Leave out calls for as long as the run still violates something about the same call.

    A call's chance is its own, so that the others stay almost as they were without it.
    """
    kept = list(dict.fromkeys(call.token for call in Scenario.of(seed).calls))
    smallest = tried(Scenario.of(seed))
    size, runs = max(len(kept) // 2, 1), 0
    while size and runs < SHRINK_RUNS_MAX:
        for at in range(0, len(kept), size):
            fewer = kept[:at] + kept[at + size :]
            if not fewer or (violation.token and violation.token not in fewer):
                continue
            runs += 1
            now = tried(Scenario.of(seed, frozenset(fewer)))
            if any(each.token == violation.token for each in now[0]):
                kept, smallest = fewer, now
                break
        else:
            size //= 2
    found, history = smallest
    about = [each.token for each in found[:1] if each.token] or kept
    return Failure(seed, found, len(Scenario.of(seed, frozenset(kept)).calls), history.about(about))
