"""Values of settlement: an entry, its states, the calls that refer to it, and what a store is asked to write.

All are immutable. Those that every call makes are structs: a frozen dataclass costs many times as much to make. Times
are seconds since 1970 on the store's clock; "in" and "_s" are seconds from now, 0 or more.
"""

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

SCHEMA = 2
"""Format of the entries that this bridge writes. It leaves entries of a higher number alone. In 2 the request is
encrypted otherwise than in 1 (sealing.py).

A new format may add fields; new states, or another meaning of a field, need a new layout of the store as well, which an
older bridge refuses to open.
"""

CALLS_MAX = 32
"""Calls that one entry lists. A further one drops the oldest: a caller that retries for hours fills no store."""


class State(enum.StrEnum):
    """State of an entry. SETTLED wins over every other state."""

    PENDING = "PENDING"
    """The bridge goes on. The only state in which an entry is sent."""
    SETTLED = "SETTLED"
    """The wallet confirmed the request."""
    REJECTED = "REJECTED"
    """The wallet's no, which time does not change: a person must look."""
    UNRESOLVED = "UNRESOLVED"
    """Given up: no certain answer in the time that is allowed."""
    CLOSED = "CLOSED"
    """Closed by a person, with a reason."""


FINISHED = frozenset({State.SETTLED, State.CLOSED})
"""States in which an entry no longer holds the request, and is deleted after the time for which it is kept."""


class Last(msgspec.Struct, frozen=True, gc=False):
    """The newest failure of a request: the reason of the call or attempt, and the wallet's code where it gave one."""

    reason: str = ""
    """As in WalletError.reason; "" where there has been no failure yet."""
    code: int | None = None
    """The wallet's code, 0 to 2^64-1."""


NO_FAILURE = Last()


class Call(msgspec.Struct, frozen=True, gc=False):
    """A caller's call that refers to an entry."""

    call_id: str
    """The caller's own, so not unique (docs/callers.md, "The call's id")."""
    identities: tuple[str, ...]
    """The caller's identities, as identity.py reads them, sorted; empty without a client certificate."""


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """A request, encrypted for one entry (sealing.py)."""

    entry_id: str
    """Random UUID, bound to the ciphertext."""
    operation: str
    """Full name of the method, like wallet.v1.WalletService/Terminate."""
    provider_id: int
    ciphertext: bytes
    key_id: str
    """Public id of the key that encrypts."""
    digests: tuple[bytes, ...]
    """Digests that find the open entry of the same request: the first under the key that encrypts, then one for each
    further key, because the open entry may have been written before or after the keys changed places."""


class NewCall(msgspec.Struct, frozen=True, gc=False):
    """A call to be written: attached to the open entry of the same request, or as a new entry."""

    ticket: str
    """Random id of this call in the store, like that of its own new entry: call ids are the callers' own and may recur.
    Writing the same ticket twice is writing it once, so that a write of unclear end can be retried."""
    call: Call
    sealed: Sealed
    due_in_s: float
    """When the settler may take a new entry. For a call that is still under way: its deadline and a little more."""
    is_owed: bool
    """Whether the call has ended and is reported as PENDING. False: it is still under way, and
    the entry goes when every call that refers to it has ended for certain (`CallEnd`)."""
    fingerprint: str = ""
    """The token as the log shows it; "" for none."""
    last: Last = NO_FAILURE
    never_repeat: bool = False
    """The answer was about another player or token (WALLET_ECHO_MISMATCH): REJECTED at once and never sent again."""


class Added(msgspec.Struct, frozen=True, gc=False):
    """Result of writing a call."""

    entry_id: str
    """The entry that the call refers to; "" when the call had been ended before (`CallEnd` overtook it)."""
    is_new: bool
    """Whether the entry was made for this call."""
    state: State
    """PENDING: the bridge goes on with it. REJECTED: this request is never repeated. SETTLED: it is done."""


class CallEnd(msgspec.Struct, frozen=True, gc=False):
    """Certain end of a call that was written while under way. An UNKNOWN end is a NewCall with the same ticket."""

    ticket: str
    is_success: bool
    """The wallet confirmed it: an entry that others wait for becomes SETTLED. Else the call stops referring to it."""


class WriteOrder(msgspec.Struct, frozen=True, gc=False):
    """Position of a batch among all batches of one writer: the fence against a batch that arrives late.

    A request that timed out may still reach the store, behind later ones of the same process on other connections.
    """

    writer_id: str
    """Random id of the process's queue (`new_ticket`)."""
    number: int
    """Higher with each batch, 1 to 2^53; a batch that is written again gets a new one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request that the bridge finishes by itself, as the store holds it."""

    entry_id: str
    state: State
    operation: str
    provider_id: int
    calls: tuple[Call, ...]
    """At most CALLS_MAX, oldest first."""
    fingerprint: str
    ciphertext: bytes
    """The encrypted request; empty once SETTLED or CLOSED."""
    key_id: str
    created: float
    pending_since: float
    """When it became PENDING for the last time: at its creation, or when a person asked for a retry. The time to give
    up counts from here."""
    due: float
    """When it may be taken next; while it is leased, when the lease ends."""
    is_leased: bool
    """Whether a settler owns it or died while it did: true from `take` until it is given back or its state changes."""
    fence: int
    """Raised by each `take`: what a former owner writes is refused by it."""
    attempts: int
    """Times that it was taken and not given back unsent."""
    last: Last
    never_repeat: bool
    ended: float
    """When it became SETTLED or CLOSED; 0 before."""
    read_at: float
    """Now, on the store's clock, when this was read: what ages and times left are counted from."""
    closed_reason: str
    """Why a person closed it; "" unless that has happened."""
    schema: int


@dataclass(frozen=True, slots=True)
class Page:
    """Entries, newest first."""

    entries: tuple[Entry, ...]
    next_cursor: str
    """Token of the next page; "" on the last one."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Number of entries of each state (all five are there), and the age of the oldest that is PENDING."""

    by_state: Mapping[State, int]
    oldest_pending_s: float
    """On the store's clock; 0 where none is PENDING."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """Keys that the store knows of, by their public ids."""

    check: str
    """The key-check value: id of the key that encrypts; "" in a store that no bridge has written to."""
    in_use: frozenset[str]
    """Ids of the keys of all entries that still hold a request."""


class Change(enum.Enum):
    """Result of a person's request for a change."""

    DONE = "done"
    NOT_FOUND = "no such entry"
    FINISHED = "it is SETTLED or CLOSED"
    NEVER_REPEAT = "the wallet's answer was about another player or token: it is never retried"
    OTHER_IS_OPEN = "another entry of the same request is PENDING"


def new_ticket() -> str:
    """Return a random ticket: 32 hex digits, 128 random bits."""
    return os.urandom(16).hex()
