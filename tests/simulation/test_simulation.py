"""The whole call path in virtual time: hundreds of histories without a violation, and bugs that do not get past."""

import pytest

from tests.simulation.planted import BUGS, Bug
from tests.simulation.scenario import SCENARIOS, Scenario
from tests.simulation.search import check, first_failure, tried
from tests.support.forms import NEEDS_SOURCES

KINDS = [kind.name for kind in SCENARIOS]
SEEDS, SEEDS_IN_SHORT = 470, 51
SEEDS_FOR_A_BUG = 91 * len(KINDS)
# Bugs are planted in sources: this one is in a module that `make test-compiled` has as such, too.
OF_A_SOURCE = next(bug for bug in BUGS if bug.where.startswith("bridge.upstream.retry:"))

pytestmark = pytest.mark.timeout(300)


def seeds(kind: int, below: int, first: int = 0) -> range:
    """Return the seeds of a kind, by its place in SCENARIOS. `first`: a multiple of the number of kinds."""
    return range(first + kind, below, len(KINDS))


@pytest.mark.parametrize(
    ("first", "below"),
    [(0, SEEDS_IN_SHORT), pytest.param(SEEDS_IN_SHORT, SEEDS, marks=pytest.mark.long)],
    ids=["three seeds", "the others"],
)
@pytest.mark.parametrize("kind", range(len(KINDS)), ids=KINDS)
def test_seeds(kind: int, first: int, below: int) -> None:
    """No history of this kind violates an invariant of docs/design/faults.md, or what its kind promises."""
    failure = first_failure(seeds(kind, below, first))
    assert failure is None, str(failure)


@pytest.mark.long
@pytest.mark.parametrize("bug", BUGS, ids=[bug.name for bug in BUGS])
def test_planted_bug(bug: Bug) -> None:
    """The bug is found within 91 seeds of its kind: the invariants can fail, each for its reason."""
    with bug.planted():
        assert any(tried(Scenario.of(seed))[0] for seed in seeds(KINDS.index(bug.kind), SEEDS_FOR_A_BUG))


@pytest.mark.parametrize("seed", [10, 11, 13, 16])
def test_one_seed_is_one_history(seed: int) -> None:
    """The same seed gives the same history, line by line: a failure can be reproduced."""
    first, second = (tried(Scenario.of(seed))[1].lines for _ in range(2))
    assert first == second


@NEEDS_SOURCES
def test_failure_shows_its_command() -> None:
    """A failing seed is reported with the command that reproduces it and a history of few calls."""
    with OF_A_SOURCE.planted():
        failure = first_failure(seeds(KINDS.index(OF_A_SOURCE.kind), SEEDS_FOR_A_BUG))
        assert failure is not None
        retried = check(failure.seed)
    assert retried == failure
    assert f"make simulate SEED={failure.seed}" in str(failure)
    assert failure.calls < len(Scenario.of(failure.seed).calls)
