"""What was measured, as values, and the little arithmetic over them."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Round:
    """One row, loaded once with 64 calls in flight."""

    calls: int
    ok: int
    reached: int
    """POSTs that the wallet counted; retries too."""
    wrong: int
    """Calls of a real gRPC client, out of a sample, that did not end OK with the right message."""
    cpu_us: float
    """CPU time of the row's processes for one call that was made, in microseconds."""
    system_us: float
    """Of that, in the kernel."""
    calls_per_s: float
    p50_ms: float
    p99_ms: float
    memory_mb: float

    @property
    def errors(self) -> int:
        """Calls that did not end OK."""
        return self.calls - self.ok + self.wrong


@dataclass(frozen=True)
class LoadPoint:
    """One row under calls that come at their own times."""

    share: float
    """Of what the row can carry with 64 calls in flight."""
    offered_per_s: float
    errors: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class InFlightPoint:
    """A bridge with so many calls in flight, before a wallet that takes so long (0: at once)."""

    in_flight: int
    wallet_ms: int
    cpu_us: float
    calls_per_s: float
    p99_ms: float
    memory_mb: float
    memory_before_mb: float
    """When so many calls had been in flight for a moment, before the measured load."""
    errors: int
    rounds_cpu_us: Sequence[float] = ()
    """The CPU time of each round, of which `cpu_us` is the median; () where it was one round."""


@dataclass(frozen=True)
class WorkersPoint:
    """A bridge with so many workers."""

    workers: int
    calls_per_s: float
    cpu_us: float
    memory_mb: float
    errors: int
    rounds_per_s: Sequence[float] = ()
    """The throughput of each round, of which `calls_per_s` is the median; () where it was one round."""


@dataclass(frozen=True)
class Added:
    """What a bridge adds to the wallet's own latency at half of what it can carry."""

    calls_per_s: float
    wallet_p50_ms: float
    wallet_p99_ms: float
    bridge_p50_ms: float
    bridge_p99_ms: float
    errors: int

    @property
    def p99_ms(self) -> float:
        """The bridge's p99 less the wallet's."""
        return self.bridge_p99_ms - self.wallet_p99_ms


@dataclass(frozen=True)
class Scaling:
    """One bridge under the questions of scaling."""

    workers: Sequence[WorkersPoint]
    in_flight: Sequence[InFlightPoint]
    """Before a wallet that answers at once."""
    wallet: Sequence[InFlightPoint]
    """With always the same number in flight, before ever slower wallets."""
    added: Added


@dataclass(frozen=True)
class StepCost:
    """A step of a call."""

    name: str
    cpu_us: float


@dataclass(frozen=True)
class Profile:
    """Where the CPU time of a call of the bridge goes."""

    cpu_us: float
    system_us: float
    """Of that, in the kernel."""
    floor_us: float
    """What the floor costs, which has no step of these."""
    steps: Sequence[StepCost]
    """They add up to the whole."""


@dataclass(frozen=True)
class PolicyRound:
    """One bridge under one scheduling policy: with 64 calls in flight, then under a third of what it carries."""

    row: str
    situation: str
    policy: str
    cpu_us: float
    calls_per_s: float
    third_cpu_us: float
    third_p50_ms: float
    third_p99_ms: float
    errors: int
    """Under both loads."""


@dataclass(frozen=True)
class Policies:
    """The bridge under each scheduling policy."""

    taken: str
    """The day, ISO 8601."""
    load_average: float
    """As in Results; of the moment before this part."""
    python: str
    """Its version, and how it was built."""
    rounds: Sequence[PolicyRound]
    """Both policies took turns."""


@dataclass(frozen=True)
class FormRounds:
    """The bridge in both forms."""

    taken: str
    """The day, ISO 8601."""
    load_average: float
    """As in Results; of the moment before this part."""
    python: str
    """Its version, and how it was built."""
    rounds: Mapping[str, Mapping[str, Sequence[Round]]]
    """By the row's name, then by form; both forms took turns."""


@dataclass(frozen=True)
class Results:
    """Everything that a run has measured."""

    taken: str
    """The day, ISO 8601."""
    machine: str
    load_average: float
    """Of the last minute before the run: how many processes of others wanted a core."""
    versions: Mapping[str, str]
    rounds: Mapping[str, Sequence[Round]]
    """By the row's name; the rounds of all rows took turns."""
    curves: Mapping[str, Sequence[LoadPoint]]
    scaling: Mapping[str, Scaling]
    """By the name of a row of ours."""
    profile: Profile | None
    policy: str
    """The scheduling policy that all rows ran under, but for `policies`: "batch" or "other"."""
    policies: Policies | None
    form: str = "pure"
    """The form that our rows were measured in, but for `profile`, which is pure, and `forms`."""
    forms: FormRounds | None = None


@dataclass(frozen=True)
class Spread:
    """A figure of several rounds."""

    median: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}-{self.most:.2f})"


def spread(values: Sequence[float]) -> Spread:
    """Return median, least and most."""
    return Spread(statistics.median(values), min(values), max(values))


def cost_ratio(rounds: Sequence[Round], others: Sequence[Round]) -> Spread:
    """Return how much more CPU time a call costs here than there: round by round, as they took turns."""
    return spread([one.cpu_us / other.cpu_us for one, other in zip(rounds, others, strict=True)])


def median_ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Return the median of how many times the other each value is: round by round, as they took turns."""
    return statistics.median(value / other for value, other in zip(values, others, strict=True))


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the least of these values, shortest first, that at least this share (0 to 1) of them does not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
