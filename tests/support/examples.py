"""How many examples Hypothesis tries: all of a test's own number, or a quarter, as `make test` asks for.

`make check` and `make coverage` try all of them, and so does pytest without `--hypothesis-profile=quick`.
"""

from typing import Final

from hypothesis import HealthCheck, settings

ALL: Final = 100
"""Of a test that names no number: Hypothesis' own default."""
QUICK: Final = ALL // 4


def register() -> None:
    """Make the profiles known, and "house" the default; `--hypothesis-profile` may choose the other one.

    No time limit for an example or for making it: a busy machine is no bug, and our proofs have no timed assertions.
    """
    for name, count in (("house", ALL), ("quick", QUICK)):
        settings.register_profile(name, max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("house")


def examples(count: int) -> int:
    """Return how many of so many examples the chosen profile tries. The plugin chooses it before it imports tests."""
    chosen: int = settings().max_examples
    return max(1, count * chosen // ALL)
