"""Times of a settlement store with many entries: a page, a take, a write, and what a purge or a count costs.

    python -m benchmarks.settlement_stores [--entries 200000] [--store sqlite|redis|both]

Both stores run on this machine: SQLite in a temporary folder, Redis on a socket of its own without persistence. Each
figure is the middle and the worst of many calls, alone on the store, in milliseconds, as the bridge sees it.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.settlement.entry import CallEnd, NewCall, State
from bridge.settlement.redis import RedisStore
from bridge.settlement.sqlite import SqliteStore
from bridge.settlement.store import Store
from tests.support.redis_server import redis_server
from tests.support.settlement_calls import FAR_S, OPERATIONS, new_call

ENTRIES = 200_000
ROUNDS = 100
PART = 200
PROVIDERS = 20
TARGET_MS = 20.0
"""For a page of 100 and a take of 10 (docs/design/settlement.md)."""


def main() -> None:
    """Fill each store and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--store", choices=["sqlite", "redis", "both"], default="both")
    arguments = parser.parse_args()
    for kind in ("sqlite", "redis") if arguments.store == "both" else (arguments.store,):
        with _store(kind) as make:
            asyncio.run(_measure(kind, make(), arguments.entries))


@contextmanager
def _store(kind: str) -> Iterator[Callable[[], Store]]:
    with tempfile.TemporaryDirectory(prefix="b") as folder:
        if kind == "sqlite":
            yield lambda: SqliteStore(Path(folder) / "settlement.db")
        else:
            with redis_server(Path(folder)) as url:
                yield lambda: RedisStore(url)


async def _measure(kind: str, store: Store, entries: int) -> None:
    started = time.monotonic()
    for first in range(0, entries, PART):
        await store.write([_call(number) for number in range(first, min(first + PART, entries))])
    print(f"{kind}: {entries} entries of {PROVIDERS} providers, written in {time.monotonic() - started:.0f} s")
    for name, ask in _questions(store, entries):
        times = [await _timed(ask) for _ in range(ROUNDS)]
        print(f"  {name:34} {statistics.median(times):8.2f} ms   worst {max(times):8.2f} ms")
    await store.close()


def _call(number: int, *, is_owed: bool = True) -> NewCall:
    provider_id = 1 + number % PROVIDERS
    return new_call(str(number), call_id=f"call-{number}", provider_id=provider_id, is_owed=is_owed)


def _questions(store: Store, entries: int) -> Iterator[tuple[str, Callable[[], Awaitable[object]]]]:
    numbers = iter(range(entries, 10 * entries))
    middle = str(entries // 2)

    async def held() -> None:
        call = _call(next(numbers), is_owed=False)
        await store.write([call])
        await store.write([CallEnd(call.ticket, is_success=True)])

    async def settled() -> None:
        await store.settle([entry.entry_id for entry in await store.take(10, FAR_S, OPERATIONS)])

    yield "page of 100, the newest", lambda: store.page(100)
    yield "page of 100, from the middle", lambda: store.page(100, middle)
    yield "page of 100 of a state", lambda: store.page(100, middle, State.PENDING)
    yield "take of 10", lambda: store.take(10, FAR_S, OPERATIONS)
    yield (
        "take of 10, half the providers paused",
        lambda: store.take(10, FAR_S, OPERATIONS, dict.fromkeys(range(1, PROVIDERS // 2), 0)),
    )
    yield "take of 10, then settle them", settled
    yield "write of one call", lambda: store.write([_call(next(numbers))])
    yield "write of one call, then its end", held
    yield "newest entry of a call id", lambda: store.of_call("call-7")
    yield "counts", store.counts
    yield "purge of 100", lambda: store.purge(0.0, 100)


async def _timed(ask: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await ask()
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    main()
