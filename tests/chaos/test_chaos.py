"""Settlement under SIGKILL, in its short form: `make chaos` runs the same for minutes."""

from pathlib import Path

import pytest

from tests.chaos.callers import Callers
from tests.chaos.killer import Killer
from tests.chaos.run import run
from tests.support.redis_server import needs_redis

SECONDS_MAX = 60.0
KILLS, PENDING = 4, 4
"""What must have happened before the run is long enough, unless SECONDS_MAX have passed."""


def _is_enough(seconds: float, killer: Killer, callers: Callers) -> bool:
    return seconds > SECONDS_MAX or (killer.kills.total() >= KILLS and len(callers.pending) >= PENDING)


@pytest.mark.long
@pytest.mark.alone
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("store", ["sqlite", pytest.param("redis", marks=needs_redis)])
async def test_nothing_is_lost_and_nothing_owned_twice(store: str, short_path: Path) -> None:
    """Bridges, one of them with two workers, the wallet and Redis are killed at random moments while calls come in.

    Afterwards every token of a call that was answered PENDING is terminated at the wallet, or its entry is REJECTED or
    UNRESOLVED and listed; no entry stays PENDING, none was sent by two at once, none after it was SETTLED.
    """
    report = await run(store, 1, short_path, is_enough=_is_enough)
    assert not report.violations, str(report)
    assert report.kills, str(report)
