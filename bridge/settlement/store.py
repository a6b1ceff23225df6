"""The interface of a settlement store, and its errors.

Rules that every store keeps (tests/unit/settlement/ runs the same tests on each):

- Each method is atomic, also beside other processes on the same store, and lasts once it has returned.
- Now is the store's clock. No bridge's clock decides who owns an entry.
- An entry is open while it is PENDING, or REJECTED with `never_repeat`. A request has one open entry at most: `add`
  looks for it under every digest that it is given.
- A method that takes a fence does nothing and returns False unless the entry is PENDING and this is its current fence.
- The encrypted request is deleted when an entry becomes SETTLED or CLOSED, never earlier.
- A method may be called by many tasks at once. A cancelled call may or may not be carried out, like one that failed
  with Problem.TIMEOUT or UNREACHABLE. Retrying any method is safe. Each ends by itself within TIMEOUT_S.
"""

import enum
from collections.abc import Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from bridge.settlement.entry import (
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

TIMEOUT_S = 5.0
"""Longest time of any method of a store; then it fails with Problem.TIMEOUT or BUSY."""


class Problem(enum.Enum):
    """Why a store cannot be used, in fixed words: what happened and what to do."""

    UNREACHABLE = "cannot be reached; check its address and that it runs"
    TIMEOUT = "did not answer in time; it is overloaded or its disk is slow"
    BUSY = "is locked by another process for too long; find the process that holds the file"
    NOT_ALLOWED = "refuses access; check user, password and file permissions"
    READ_ONLY = "is read-only; make it writable, or name the primary instead of a replica"
    FULL = "is full; free space or raise its limit"
    DAMAGED = "is damaged or is no settlement store; restore it from a backup or move it away"
    DISK = "reports an error of its disk; check the disk"
    OLDER_LAYOUT = "was written by an older bridge; start a bridge of this version on it first"
    NEWER_LAYOUT = "was written by a newer bridge; use that version or another store"
    EVICTS = "may evict entries; set its maxmemory-policy to noeviction"
    NOT_INSTALLED = 'needs the extra "redis"; install wallet-bridge[redis]'
    OVERTAKEN = "received a write after a later one of the same process and did not carry it out; nothing to do"
    FAILED = "failed in a way that the bridge does not know; see the store's own log"


class Warn(enum.Enum):
    """A risk of a store that works, in fixed words: what may happen and what to do."""

    NO_APPEND_LOG = "keeps no append-only file: a crash loses entries; set appendonly to yes"
    APPEND_LOG_EVERY_SECOND = "may lose the last second in a crash; set appendfsync to always"
    APPEND_LOG_NOT_SHOWN = "does not show its appendfsync: a crash may lose the last second unless it is always"
    READABLE_BY_OTHERS = "can be read by every user of the machine; set the file's mode to 0600"


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of the test of a store that works."""

    warnings: tuple[Warn, ...]
    key_use: KeyUse


class StoreError(Exception):
    """A store that cannot be used now. Its text is one line without a secret: which store, what is wrong, advice."""

    def __init__(self, name: str, problem: Problem) -> None:
        super().__init__(f"settlement store {name} {problem.value}")
        self.problem = problem


class CursorError(ValueError):
    """A page's cursor that no store made."""


class Store(Protocol):
    """Entries that outlive the bridge. Every method but `close` raises StoreError."""

    @property
    def name(self) -> str:
        """Where the store is, for people; without a password."""

    async def open(self) -> None:
        """Connect and, in a new store, create what is needed. Every other method does so too where it was not possible.

        A store that has been refused (NEWER_LAYOUT, EVICTS) is looked at again each time.
        """

    async def close(self) -> None:
        """Finish what was asked for and disconnect. The store is not used afterwards."""

    # --- by calls -------------------------------------------------------------------------------------------------

    async def write(self, writes: Sequence[NewCall | CallEnd], order: WriteOrder | None = None) -> list[Added | None]:
        """Write calls and their ends in this order, in one transaction or pipeline; return the entry of each call.

        `order`: a batch whose number is not above that of every batch carried out for this writer changes nothing and
        fails with OVERTAKEN: an insert that arrives late must not come back after the call's end. None: no check.

        A call is attached to the entry that its ticket is known of, else to the one that it has made itself, which may
        list it no more, else to the open entry of its request, else it becomes a new entry. What it does to a PENDING
        entry that is there:

        - `never_repeat`: the entry becomes REJECTED, also under a lease.
        - `is_owed`: the entry becomes owed, and `last` is this call's. Where it was not owed before and is not leased,
          it is due after this call's `due_in_s`.
        - else, while the entry is neither owed nor leased: due not before this call's `due_in_s`. One that is owed
          stays as it is, so that a caller who retries does not delay the settler.

        An end takes the call from its entry. A PENDING entry that is not owed is deleted with its last call; after a
        success one that is owed, or that other calls refer to, becomes SETTLED. A ticket that is not known is kept for
        ten minutes: the call is not written if it comes late. An end has no result: None.
        """

    # --- by the settler -------------------------------------------------------------------------------------------

    async def take(
        self, limit: int, lease_s: float, operations: Collection[str], at_most: Mapping[int, int] | None = None
    ) -> list[Entry]:
        """Lease up to `limit` due entries, longest due first; return them with raised fence and attempts.

        Only entries of these operations and of no newer schema. `at_most`: provider -> how many of its entries this
        call may take, 0 for none; a provider that is not named: `limit`.
        """

    async def renew(self, entry_id: str, fence: int, lease_s: float) -> bool:
        """Lease an entry for `lease_s` from now; return whether it is still owned."""

    async def release(self, entry_id: str, fence: int) -> bool:
        """Give back an entry that was not sent: due now, and the attempt does not count."""

    async def postpone(self, entry_id: str, fence: int, due_in_s: float, last: Last) -> bool:
        """Give back an entry after an attempt without a certain answer; return whether it was still owned."""

    async def reject(self, entry_id: str, fence: int, last: Last, *, never_repeat: bool = False) -> bool:
        """Make an owned entry REJECTED. It keeps its request; `never_repeat`: no retry and no reclassify touches it."""

    async def give_up(self, entry_id: str, fence: int, last: Last) -> bool:
        """Make an owned entry UNRESOLVED. It keeps its request."""

    async def expire(self, older_than_s: float, operations: Collection[str], limit: int = 1000) -> list[str]:
        """Make up to `limit` entries UNRESOLVED that are PENDING for so long and not leased; return their ids.

        Only entries of these operations and of no newer schema, like `take`.
        """

    async def settle(self, entry_ids: Sequence[str]) -> list[str]:
        """Make entries SETTLED, whatever their state and leases; return those that were not before."""

    async def purge(self, keep_s: float, limit: int = 1000) -> int:
        """Delete up to `limit` entries that have been SETTLED or CLOSED for `keep_s`; return how many."""

    # --- by people ------------------------------------------------------------------------------------------------

    async def retry(self, entry_id: str) -> Change:
        """Make an entry PENDING and due now, with a new time to give up; a leased one keeps its owner."""

    async def close_entry(self, entry_id: str, reason: str) -> Change:
        """Make an entry CLOSED. The reason is stored as it is: clean it and limit its length before."""

    async def reclassify(self, success_codes: AbstractSet[int]) -> list[str]:
        """Make REJECTED entries with one of these codes SETTLED, unless `never_repeat`; return their ids."""

    # --- questions ------------------------------------------------------------------------------------------------

    async def get(self, entry_id: str) -> Entry | None:
        """Return an entry by its id."""

    async def of_call(self, call_id: str, identities: Collection[str] | None = None) -> tuple[Entry | None, int]:
        """Return the newest entry that a call of this id refers to, and how many there are.

        `identities`: only calls of a caller with one of these; an empty collection: only calls without any. None: all.
        """

    async def page(self, size: int, cursor: str = "", state: State | None = None) -> Page:
        """Return up to `size` entries, newest first, from where `cursor` says ("": the newest); raise CursorError."""

    async def counts(self) -> Counts:
        """Return how many entries there are of each state, and the age of the oldest PENDING one."""

    async def key_use(self) -> KeyUse:
        """Return which keys the store knows of."""

    async def set_key_check(self, key_id: str) -> None:
        """Write the key-check value."""

    async def check(self) -> Checked:
        """Test reach, write and persistence without leaving anything behind; return what is risky, and the keys.

        Creates no store: one that is not there yet passes if it could be created.
        """
