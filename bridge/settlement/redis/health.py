"""Questions to a Redis before entries are trusted to it: layout, eviction, persistence, whether it takes writes."""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from bridge.settlement.store import Problem, Warn

LAYOUT = 1
"""Number of the layout that store.lua describes, kept under the key "layout"."""
PROBE_MS = 1000


class Refused(Exception):
    """A Redis that must not be used as it is."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.value)
        self.problem = problem


async def examine(client: Redis, prefix: str, *, writes: bool) -> None:
    """Raise Refused for a Redis that may evict entries or that a newer bridge has written to.

    `writes`: note the layout in a store that is new.
    """
    info = await client.info("memory")
    if info.get("maxmemory_policy", "noeviction") != "noeviction":
        raise Refused(Problem.EVICTS)
    key = f"{prefix}layout"
    if writes:
        await client.set(key, LAYOUT, nx=True)
    found = await client.get(key)
    if found is not None and not (found.isdigit() and int(found) <= LAYOUT):
        raise Refused(Problem.NEWER_LAYOUT)


async def probe(client: Redis, prefix: str) -> list[Warn]:
    """Write a key that is gone after a second; return what is risky about how the server keeps what is written."""
    await client.set(f"{prefix}probe", "", px=PROBE_MS)
    info: Mapping[str, Any] = await client.info("persistence")
    if not info.get("aof_enabled"):
        return [Warn.NO_APPEND_LOG]
    try:
        shown = await client.config_get("appendfsync")
    except RedisError:
        # Many that are run by a provider do not allow CONFIG.
        return [Warn.APPEND_LOG_NOT_SHOWN]
    return [] if shown.get("appendfsync") == "always" else [Warn.APPEND_LOG_EVERY_SECOND]
