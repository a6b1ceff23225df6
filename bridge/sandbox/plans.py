"""How an answer is given: at once, late, slowly, in part, without end or never. Values; `app.py` carries them out."""

from dataclasses import dataclass

from bridge.sandbox.answers import Answer


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole answer, after a wait."""

    answer: Answer
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Drip:
    """Headers at once, then the body one byte at a time."""

    answer: Answer
    interval_s: float


@dataclass(frozen=True, slots=True)
class Endless:
    """Headers at once, then the body over and over, as fast as the client reads, until it goes."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Cut:
    """Headers and a part of the body; then the whole connection ends."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Silence:
    """Nothing at all, until the client goes."""


Plan = Reply | Drip | Endless | Cut | Silence


def status_of(plan: Plan) -> int | None:
    """Return the HTTP status that the client is to see; None when it sees none."""
    return None if isinstance(plan, Silence) else plan.answer.status
