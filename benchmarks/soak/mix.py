"""What can happen to a soak's calls: the plans that they carry in their tokens, and the wallet's behaviour for each.

A token names what the wallet does at each attempt, so that the wallet needs no list of plans that grows.
"""

import asyncio
import itertools
import random
from collections.abc import Iterable
from weakref import WeakSet

from h2.errors import ErrorCodes
from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from bridge.sandbox.answers import JSON
from bridge.sandbox.behaviours import answer, drip, endless, flood, success_body
from bridge.sandbox.stream import Behaviour, Stream
from tests.support.random_wallet import AFTER_PROCESSING, FAULTS, GOOD, success_with

GOOD_SHARE = 0.85
"""Of the calls that meet nothing but the weather: a daily business, which faults disturb."""
ATTEMPTS_MAX = 3
LATE_S_MAX = 0.6
DRIP_INTERVAL_S = 0.001
FLOOD_FRAMES = 100


async def _late(stream: Stream) -> None:
    # Not to keep time, but to lose it: this is the fault.
    await asyncio.sleep(random.uniform(0.0, LATE_S_MAX))  # noqa: S311 - no secret
    await success_with()(stream)


async def _in_small_pieces(stream: Stream) -> None:
    await drip(success_body(stream.request), DRIP_INTERVAL_S)(stream)


async def _with_everything_around(stream: Stream) -> None:
    stream.informational(103)
    await stream.respond(200, success_body(stream.request), JSON, end=False)
    stream.trailers((("x-checksum", "1"),))


def _after_headers(then: Behaviour, *flags: str) -> Behaviour:
    async def behaviour(stream: Stream) -> None:
        block = stream.connection.encode([(":status", "200")])
        stream.connection.frame(HeadersFrame(stream.id, data=block, flags=flags))
        await then(stream)

    return behaviour


UNCOUNTED: WeakSet[object] = WeakSet()
"""Connections with SETTINGS that the server's own HTTP/2 does not know of: it would mistake their ACKs."""


async def _flood_of_settings(stream: Stream) -> None:
    UNCOUNTED.add(stream.connection)
    await flood(lambda _: SettingsFrame(0).serialize() * FLOOD_FRAMES)(stream)


async def _flood_of_resets(stream: Stream) -> None:
    # The first one by the server's own HTTP/2: it would count the stream as open, and the next one as one too many.
    stream.reset(ErrorCodes.NO_ERROR)
    await flood(lambda _: RstStreamFrame(stream.id).serialize() * FLOOD_FRAMES)(stream)


SUCCESSES: dict[str, Behaviour] = {
    "late": _late,
    "in small pieces": _in_small_pieces,
    "103 before, trailers after": _with_everything_around,
    "fields missing": success_with(message=None, balance=None, surprise=1),
}
"""Said only of what was processed."""

# As in random_wallet.py, each of them with and without having processed the request before.
BREAKAGES: dict[str, Behaviour] = {
    "flood of PING": flood(lambda _: PingFrame(0, b"12345678").serialize() * FLOOD_FRAMES),
    "flood of SETTINGS": _flood_of_settings,
    "flood of resets": _flood_of_resets,
    "flood of empty DATA": _after_headers(
        flood(lambda stream: DataFrame(stream.id).serialize() * FLOOD_FRAMES), "END_HEADERS"
    ),
    "flood of CONTINUATION": _after_headers(
        flood(lambda stream: ContinuationFrame(stream.id, bytes(16_384)).serialize())
    ),
    "endless body": endless(b" " * 16_384),
    "compressed": answer(200, b"\x1f\x8b", (*JSON, ("content-encoding", "gzip"))),
    "nested deep": answer(200, b"[" * 60_000, JSON),
    "not UTF-8": answer(200, b'{"status": "\xff"}', JSON),
    "balance NaN": success_with(balance=float("nan")),
    "message of 20 kB": success_with(status=False, code=2, message="\x1b[31m" * 4000),
}

BEHAVIOURS = SUCCESSES | BREAKAGES
"""Beside those of random_wallet.py."""

NAMES: tuple[str, ...] = (
    *FAULTS,
    *BREAKAGES,
    *(f"{name}{AFTER_PROCESSING}" for name in BEHAVIOURS),
)

_numbers = itertools.count(1)


def any_plan(chance: random.Random) -> list[str]:
    """Return a random plan: what the wallet does at 1 to 3 attempts."""
    if chance.random() < GOOD_SHARE:
        return [GOOD]
    return chance.choices(NAMES, k=chance.randint(1, ATTEMPTS_MAX))


def new_token(plan: Iterable[str]) -> str:
    """Return a token that is new, with this plan in it."""
    return f"soak-{next(_numbers)}-{'.'.join(str(NAMES.index(fault)) for fault in plan)}"


def plan_of(token: str) -> tuple[str, ...]:
    """Return what the wallet does at each attempt; the last one stays. ValueError for a token that is none."""
    return tuple(NAMES[int(index)] for index in token.rpartition("-")[2].split("."))
