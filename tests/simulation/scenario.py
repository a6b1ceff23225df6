"""Which faults a seed has, and what must hold although it has them. A seed's kind is its place in SCENARIOS."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, HEADER_TABLE_SIZE = 3, 4, 5, 1

CROWD, CROWD_LISTED = 6, 1
CROWD_S = 1.0
"""Calls about one token, how many of them an entry lists, and the time in which they begin."""

KEYS = (("abcde12345", "e56eb966-a55f-4087-bc7d-e66df1f377a1"), ("fghij67890", "0b1f5b6c-2f57-4b8e-9a3e-3f0c7f6f5a11"))
"""Access and private keys: what both sides begin with, and what they change to."""

HONEST: Mapping[str, int] = {"success": 1}

ANYTHING: Mapping[str, int] = {
    "success": 50,
    "another's success": 2,
    "slow success": 8,
    "drip": 2,
    "never": 3,
    "cut": 5,
    "cut in the body": 3,
    "reset": 6,
    "refuse": 6,
    "disown": 3,
    "interim, then success": 2,
    "interim, then refuse": 3,
    "interim, then GOAWAY below": 3,
    "gateway error": 4,
    "code 2": 3,
    "rejected": 4,
    "unavailable": 2,
    "throttled": 2,
    "17 kB of headers": 1,
    "a length of 5000 digits": 1,
    "not JSON": 1,
    "100 kB": 1,
    "garbage": 1,
}


@dataclass(frozen=True, slots=True)
class Settled:
    """Settlement in a family of seeds: bridges that share one store."""

    bridges: Sequence[int] = (1, 2, 3)
    """How many, one of these."""
    is_before: bool = False
    """durability = "before"."""
    settles_failed: bool = False
    """settle = "failed"."""
    is_redis: bool = False
    """A store beyond a network: a write that failed may have been carried out, or be carried out late."""
    store_faults: Mapping[str, float] = field(default_factory=dict)
    """By what happens to the store: the chance for each seed."""
    crashes: tuple[int, ...] = (0, 1, 1, 2, 3)
    """How many bridges are killed, one of these."""
    give_up_after_s: Sequence[float] = (86_400.0,)
    crowds: float = 0.0
    """The share of seeds in which CROWD calls are about each token, and an entry lists CROWD_LISTED of them."""
    healed_after_s: float = 10.0
    """When nothing fails any more; after the first call."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A family of seeds."""

    name: str
    promise: str = "anything"
    """What must hold beyond the invariants: a key of `invariants.PROMISES`."""
    answers: Mapping[str, int] = field(default_factory=lambda: HONEST)
    calls: int = 30
    span_s: float = 6.0
    """The time in which the calls begin."""
    deadlines_s: Sequence[float | None] = (3.0, 5.0, None)
    cancels: float = 0.0
    """The share of calls whose client cancels."""
    streams_max: Sequence[int] = (100,)
    odd_settings: bool = False
    connection_faults: Mapping[str, float] = field(default_factory=dict)
    """By what happens: the chance for each connection, some time after it was opened."""
    faults: Mapping[str, float] = field(default_factory=dict)
    """By what happens to the wallet, the network or the bridge: the chance for each seed."""
    retry_unknown: bool = False
    has_reset_guard: bool = True
    admitted: tuple[int, int] = (100, 50)
    """How many calls may be in flight, and how many may wait."""
    settled: Settled | None = None
    """None: settlement is off, and there is one bridge."""


MUCH: Mapping[str, float] = {
    "dns fails": 0.1,
    "refused": 0.15,
    "restart": 0.3,
    "recycle": 0.3,
    "new keys": 0.1,
    "stall": 0.15,
    "drain": 0.1,
    "dead address": 0.15,
}

UNCERTAIN: Mapping[str, int] = {
    "success": 30,
    "another's success": 4,
    "slow success": 8,
    "never": 12,
    "cut": 10,
    "reset": 8,
    "refuse": 4,
    "gateway error": 6,
    "code 2": 6,
    "rejected": 4,
    "unavailable": 4,
    "throttled": 4,
    "wrong signature": 3,
    "not JSON": 3,
}

STORE_FAILS: Mapping[str, float] = {
    "store down": 0.3,
    "store slow": 0.3,
    "store full": 0.2,
    "store refuses a call": 0.3,
    "store refuses an end": 0.3,
}


def _settled(name: str, settled: Settled) -> Kind:
    return Kind(
        name,
        answers=UNCERTAIN,
        calls=24,
        deadlines_s=(0.08, 0.3, 1.0, 3.0),
        cancels=0.1,
        streams_max=(2, 100),
        faults={"restart": 0.3, "refused": 0.1, "stall": 0.1, "leave": 0.3},
        settled=settled,
    )


SCENARIOS: tuple[Kind, ...] = (
    Kind(
        "anything",
        answers=ANYTHING,
        calls=40,
        deadlines_s=(0.06, 0.08, 0.1, 0.3, 1.0, 3.0, None),
        cancels=0.15,
        streams_max=(1, 2, 10, 100),
        odd_settings=True,
        connection_faults={"goaway": 0.2, "reset": 0.05, "finish": 0.05, "silence": 0.05, "settings": 0.2},
        faults=MUCH,
        admitted=(8, 4),
    ),
    Kind("recycling", "all OK", connection_faults={"goaway": 0.9}, faults={"recycle": 0.5}, streams_max=(1, 10, 100)),
    Kind("GOAWAY after each", "all OK", calls=12, span_s=4.0, answers={"GOAWAY, then success": 1}),
    Kind("GOAWAY storm", calls=50, span_s=4.0, answers={"GOAWAY, then success": 1}),
    Kind("dead addresses", "addresses", faults={"dead addresses": 1.0}, deadlines_s=(3.0, 5.0)),
    Kind("silence", "silence", calls=150, faults={"silence": 1.0}, deadlines_s=(2.0,)),
    Kind("expiring", "healthy", calls=90, answers={"five seconds": 1}, deadlines_s=(0.3, 0.5)),
    Kind("new keys", "all OK", calls=40, faults={"new keys": 1.0}),
    Kind("drain", "drain", faults={"drain": 1.0}, connection_faults={"goaway": 0.3}),
    Kind("slow", "slow", answers={"five seconds": 1}, calls=30, deadlines_s=(10.0,), streams_max=(10, 100)),
    Kind(
        "retry unknown",
        answers=ANYTHING,
        calls=30,
        deadlines_s=(0.3, 1.0, 3.0, None),
        cancels=0.1,
        streams_max=(2, 100),
        connection_faults={"goaway": 0.2, "reset": 0.1, "silence": 0.05},
        faults=MUCH,
        retry_unknown=True,
    ),
    _settled("settled", Settled(store_faults=STORE_FAILS)),
    _settled("settled before", Settled(is_before=True, crashes=(1, 2, 3), crowds=0.5)),
    _settled("settled on Redis", Settled(is_redis=True, store_faults={**STORE_FAILS, "store loses a second": 0.5})),
    _settled(
        "settled before on Redis",
        Settled(is_redis=True, is_before=True, store_faults={**STORE_FAILS, "store loses a second": 0.3}),
    ),
    _settled(
        "settled by many",
        Settled(bridges=(3,), store_faults={"stall of one": 1.0}, crashes=(0, 1), healed_after_s=80.0),
    ),
    _settled(
        "settled failures", Settled(settles_failed=True, store_faults=STORE_FAILS, give_up_after_s=(20.0, 86_400.0))
    ),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One caller's call."""

    token: str
    at_s: float
    """When it begins."""
    deadline_s: float | None
    cancel_after_s: float | None
    is_healthy: bool = True
    """The wallet answers it at once."""
    number: int = 0
    """Its place among the calls of the seed: several may be about one token."""

    @property
    def call_id(self) -> str:
        """Its name."""
        return f"{self.token}/{self.number}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One seed's faults and calls. All chance comes from the seed, each thing by a source of its own."""

    seed: int
    kind: Kind
    calls: tuple[Call, ...]

    @classmethod
    def of(cls, seed: int, only: frozenset[str] | None = None) -> "Scenario":
        """Return a seed's scenario; `only`: with these calls and no other."""
        kind = SCENARIOS[seed % len(SCENARIOS)]
        calls = (_call(seed, number, kind) for number in range(kind.calls))
        return cls(seed, kind, tuple(call for call in calls if only is None or call.token in only))

    @property
    def keys(self) -> tuple[tuple[str, str], ...]:
        """Access and private keys, first those from the start."""
        return KEYS

    @property
    def has_reset_guard(self) -> bool:
        """Whether the wallet closes a connection on which too many streams are reset."""
        return self.kind.has_reset_guard

    def settings(self, chance: random.Random) -> dict[int, int]:
        """Return what a connection's SETTINGS say."""
        values = {MAX_CONCURRENT_STREAMS: chance.choice(self.kind.streams_max)}
        if self.kind.odd_settings:
            values[INITIAL_WINDOW_SIZE] = chance.choice((1, 10, 100, 65_535, 2**20))
            values[MAX_FRAME_SIZE] = chance.choice((16_384, 100_000))
            values[HEADER_TABLE_SIZE] = chance.choice((0, 100, 4096))
        return values

    def connection_faults(self, chance: random.Random) -> list[tuple[float, str]]:
        """Return what happens to a connection and how many seconds after it was opened."""
        return [
            (round(chance.uniform(0, 3), 3), what)
            for what, share in self.kind.connection_faults.items()
            if chance.random() < share
        ]

    def faults(self) -> list[tuple[float, str]]:
        """Return what happens to the whole, and when."""
        chance = random.Random(f"{self.seed}/faults")
        return [
            (chance.uniform(0, self.kind.span_s), what)
            for what, share in self.kind.faults.items()
            if chance.random() < share
        ]

    def answer(self, token: str, chance: random.Random) -> str:
        """Return what the wallet does with a request: a key of `answers.ANSWERS`."""
        if token.startswith(HEALTHY):
            return "success"
        return chance.choices(list(self.kind.answers), list(self.kind.answers.values()))[0]


CANCELS_S = (0.0, 0.001, 0.003, 0.005, 0.03, 0.1, 0.4, 1.0)
HEALTHY = "healthy"
"""How the tokens begin that the wallet always answers at once."""


def _call(seed: int, number: int, kind: Kind) -> Call:
    chance = random.Random(f"{seed}/call/{number}")
    is_healthy = kind.promise == "healthy" and number % 3 == 0
    return Call(
        token=f"{HEALTHY if is_healthy else 't'}{_about(seed, number, kind)}",
        # In whole milliseconds, like deadlines and delays: what happens in one turn of the loop is the hardest case.
        at_s=round(_at_s(seed, number, kind, chance), 3),
        deadline_s=3.0 if is_healthy else chance.choice(kind.deadlines_s),
        cancel_after_s=chance.choice(CANCELS_S) if chance.random() < kind.cancels else None,
        is_healthy=is_healthy,
        number=number,
    )


def is_crowded(seed: int, kind: Kind) -> bool:
    """Say whether many calls of a seed are about one token."""
    return kind.settled is not None and random.Random(f"{seed}/crowd").random() < kind.settled.crowds


def _about(seed: int, number: int, kind: Kind) -> int:
    """Return the number of the first call with this token: with settlement, some send a request again."""
    if kind.settled is None:
        return number
    if is_crowded(seed, kind):
        return number - number % CROWD
    return number - 1 if number % 3 == 2 else number


def _at_s(seed: int, number: int, kind: Kind, chance: random.Random) -> float:
    """Return when a call begins: those of a crowd together."""
    if not is_crowded(seed, kind):
        return chance.uniform(0, kind.span_s)
    return kind.span_s * (number // CROWD) * CROWD / kind.calls + chance.uniform(0, CROWD_S)
