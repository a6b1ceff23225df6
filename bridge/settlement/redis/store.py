"""The Redis store: each method is one run of store.lua on the server; where there may be many entries, several."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from bridge.settlement.cursor import cursor_of, position_of
from bridge.settlement.entry import (
    CALLS_MAX,
    SCHEMA,
    Added,
    CallEnd,
    Change,
    Counts,
    Entry,
    KeyUse,
    Last,
    NewCall,
    Page,
    State,
    WriteOrder,
)
from bridge.settlement.redis import script
from bridge.settlement.redis.address import connection_arguments, shown
from bridge.settlement.redis.errors import problem_of
from bridge.settlement.redis.health import Refused, examine, probe
from bridge.settlement.store import TIMEOUT_S, Checked, Problem, StoreError

PREFIX = "wallet-bridge:{settlement}:"
CONNECTIONS_MAX = 16
CONNECT_TIMEOUT_S = 2.0
PART = 200
"""Entries that one run of the script goes through where there may be many: the server does nothing else meanwhile."""
STATES = tuple(State)


class RedisStore:
    """Entries in a Redis or Valkey (store.py has the rules)."""

    def __init__(self, url: str, *, creates: bool = True) -> None:
        """Take the server's URL (address.py); raise RedisUrlError for one that names none.

        `creates`: note the layout in a store that is new.
        """
        self._creates = creates
        self._name = shown(url)
        # One try: whether a write is retried is for the caller to decide, which knows the time left.
        self._client = Redis(
            **connection_arguments(url),
            protocol=2,
            socket_connect_timeout=CONNECT_TIMEOUT_S,
            # `_bounded` bounds all of it. The client's own bound is an asyncio.wait_for, which before Python 3.12 may
            # swallow a cancellation: settlement would not end.
            socket_timeout=None,
            retry=Retry(NoBackoff(), 0),
            max_connections=CONNECTIONS_MAX,
        )
        self._script = self._client.register_script(script.TEXT)
        self._places = asyncio.Semaphore(CONNECTIONS_MAX)
        self._is_examined = False

    @property
    def name(self) -> str:
        """The server's URL without user and password."""
        return self._name

    async def open(self) -> None:
        """Connect, and see that the server may be trusted with entries."""
        async with self._bounded():
            await self._examine()

    async def close(self) -> None:
        """Disconnect."""
        await self._client.aclose()

    async def write(self, writes: Sequence[NewCall | CallEnd], order: WriteOrder | None = None) -> list[Added | None]:
        """Write calls and their ends."""
        arguments, ciphertexts = script.write_arguments(writes)
        place = {} if order is None else {"writer_id": order.writer_id, "number": order.number}
        reply = await self._run("write", ciphertexts, writes=arguments, calls_max=CALLS_MAX, **place)
        if reply is None:
            raise StoreError(self._name, Problem.OVERTAKEN)
        return script.results(writes, reply)

    async def take(
        self, limit: int, lease_s: float, operations: Collection[str], at_most: Mapping[int, int] | None = None
    ) -> list[Entry]:
        """Lease due entries."""
        shares = {str(provider_id): share for provider_id, share in (at_most or {}).items()}
        known = {"operations": list(operations), "schema": SCHEMA}
        return script.entries(await self._run("take", limit=limit, lease_s=lease_s, at_most=shares, **known))

    async def renew(self, entry_id: str, fence: int, lease_s: float) -> bool:
        """Lease an owned entry again."""
        return bool(await self._run("renew", entry_id=entry_id, fence=fence, due_in_s=lease_s))

    async def release(self, entry_id: str, fence: int) -> bool:
        """Give back an owned entry that was not sent."""
        return bool(await self._run("release", entry_id=entry_id, fence=fence))

    async def postpone(self, entry_id: str, fence: int, due_in_s: float, last: Last) -> bool:
        """Give back an owned entry after an attempt."""
        owned = {"entry_id": entry_id, "fence": fence}
        return bool(await self._run("postpone", due_in_s=due_in_s, **owned, **script.failure(last)))

    async def reject(self, entry_id: str, fence: int, last: Last, *, never_repeat: bool = False) -> bool:
        """Make an owned entry REJECTED."""
        return await self._end_unsettled(entry_id, fence, State.REJECTED, last, never_repeat=never_repeat)

    async def give_up(self, entry_id: str, fence: int, last: Last) -> bool:
        """Make an owned entry UNRESOLVED."""
        return await self._end_unsettled(entry_id, fence, State.UNRESOLVED, last, never_repeat=False)

    async def expire(self, older_than_s: float, operations: Collection[str], limit: int = 1000) -> list[str]:
        """Make entries UNRESOLVED that are PENDING for too long."""
        expired: list[str] = []
        known = {"operations": list(operations), "schema": SCHEMA}
        while len(expired) < limit:
            asked = min(PART, limit - len(expired))
            part = await self._run("expire", older_than_s=older_than_s, limit=asked, **known)
            expired += map(bytes.decode, part)
            if len(part) < asked:
                break
        return expired

    async def settle(self, entry_ids: Sequence[str]) -> list[str]:
        """Make entries SETTLED."""
        return [one.decode() for one in await self._run("settle", entry_ids=list(entry_ids))]

    async def purge(self, keep_s: float, limit: int = 1000) -> int:
        """Delete entries that have been kept for long enough."""
        purged = 0
        while purged < limit:
            asked = min(PART, limit - purged)
            part = await self._run("purge", keep_s=keep_s, limit=asked)
            purged += part
            if part < asked:
                break
        return purged

    async def retry(self, entry_id: str) -> Change:
        """Make an entry PENDING and due."""
        return Change[(await self._run("retry", entry_id=entry_id)).decode()]

    async def close_entry(self, entry_id: str, reason: str) -> Change:
        """Make an entry CLOSED."""
        return Change[(await self._run("close_entry", entry_id=entry_id, reason=reason)).decode()]

    async def reclassify(self, success_codes: AbstractSet[int]) -> list[str]:
        """Make REJECTED entries with one of these codes SETTLED."""
        settled: list[str] = []
        after, codes = "-inf", [str(code) for code in success_codes]
        while after:
            last, part = await self._run("reclassify", codes=codes, after=after, limit=PART)
            after = last.decode()
            settled += map(bytes.decode, part)
        return settled

    async def get(self, entry_id: str) -> Entry | None:
        """Return an entry."""
        return next(iter(script.entries(await self._run("get", entry_id=entry_id))), None)

    async def of_call(self, call_id: str, identities: Collection[str] | None = None) -> tuple[Entry | None, int]:
        """Return the newest entry of a call id, and how many there are."""
        asked = {} if identities is None else {"identities": script.identities(tuple(identities))}
        count, newest = await self._run("of_call", call_id=call_id, **asked)
        return next(iter(script.entries(newest)), None), count

    async def page(self, size: int, cursor: str = "", state: State | None = None) -> Page:
        """Return a page of entries, newest first."""
        # One more than is shown: whether there is a next page. The position as text: it may be above 2^53.
        reply = await self._run("page", below=str(position_of(cursor)), limit=size + 1, state=state or "")
        positions = script.positions(reply)
        next_cursor = cursor_of(positions[size - 1]) if len(positions) > size else ""
        return Page(tuple(script.entries(reply)[:size]), next_cursor)

    async def counts(self) -> Counts:
        """Return how many entries there are of each state."""
        counts, oldest_pending_s = await self._run("counts", states=list(STATES))
        return Counts(dict(zip(STATES, counts, strict=True)), max(0.0, float(oldest_pending_s)))

    async def key_use(self) -> KeyUse:
        """Return which keys the store knows of."""
        return _key_use(await self._run("key_use"))

    async def set_key_check(self, key_id: str) -> None:
        """Write the key-check value."""
        await self._run("set_key_check", key_id=key_id)

    async def check(self) -> Checked:
        """Test that the server takes writes, and how it keeps them."""
        async with self._bounded():
            await examine(self._client, PREFIX, writes=False)
            warnings = await probe(self._client, PREFIX)
            return Checked(tuple(warnings), _key_use(await self._call("key_use")))

    # --- parts ----------------------------------------------------------------------------------------------------

    async def _end_unsettled(self, entry_id: str, fence: int, state: State, last: Last, *, never_repeat: bool) -> bool:
        owned = {"entry_id": entry_id, "fence": fence, "never_repeat": never_repeat}
        return bool(await self._run("end_unsettled", state=state, **owned, **script.failure(last)))

    async def _run(self, method: str, *ciphertexts: bytes, **arguments: Any) -> Any:
        async with self._bounded():
            if not self._is_examined:
                await self._examine()
            return await self._call(method, *ciphertexts, **arguments)

    async def _call(self, method: str, *ciphertexts: bytes, **arguments: Any) -> Any:
        return await self._script(keys=[PREFIX], args=[method, script.encoded(arguments), *ciphertexts])

    async def _examine(self) -> None:
        await examine(self._client, PREFIX, writes=self._creates)
        self._is_examined = True

    @asynccontextmanager
    async def _bounded(self) -> AsyncIterator[None]:
        """Bound how long a method lasts and how many connections there are; turn errors into StoreError."""
        try:
            async with asyncio.timeout(TIMEOUT_S), self._places:
                yield
        except Refused as error:
            raise StoreError(self._name, error.problem) from None
        except TimeoutError:
            raise StoreError(self._name, Problem.TIMEOUT) from None
        except (RedisError, OSError) as error:
            # After a lost connection another server may answer, like the new primary after a failover.
            self._is_examined = False
            # Without the chain: the client's text may hold what was sent.
            raise StoreError(self._name, problem_of(error)) from None


def _key_use(reply: Sequence[Any]) -> KeyUse:
    check, in_use = reply
    return KeyUse(check.decode(), frozenset(one.decode() for one in in_use))
