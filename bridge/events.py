"""Events, as values. They are emitted without knowledge of the listeners; none holds a token, a key or a signature."""

from collections.abc import Callable

import msgspec


# Structs of msgspec: made, and written as JSON, at a fraction of a dataclass's cost, for every call. They hold nothing
# that could form a cycle, so the garbage collector need not look at them.
class Happening(msgspec.Struct, frozen=True, omit_defaults=True, gc=False, tag_field="event"):
    """Something that happened. Its tag names it in the log, where a field at its default is left out."""


class CallStarted(Happening, frozen=True, tag="call started"):
    """One call of a game service has arrived, before anything is known of it but its name. It ends in a CallEnded."""

    service: str
    method: str


class CallEnded(Happening, frozen=True, tag="call ended"):
    """One call of a game service has ended, one way or another."""

    service: str
    method: str
    provider_id: int
    """0 where the request could not be read."""
    grpc_code: str
    """The name of the gRPC status code: OK, UNAVAILABLE and so on."""
    duration_s: float
    call_id: str = ""
    """The id that caller and operator share: 1 to 64 characters of A-Za-z0-9._- (call_id.py)."""
    trace_id: str = ""
    """Of the call's span, 32 hex digits; "" without tracing."""
    span_id: str = ""
    """Of the call's span, 16 hex digits; "" without tracing."""
    reason: str = ""
    """The reason of a failure; "" for OK."""
    outcome: str = ""
    """Certainty about the wallet after a failure; "" for OK."""
    cause: str = ""
    detail: str = ""
    """Fixed words that narrow the cause down: the reason of a TLS failure, an HTTP/2 error. Callers do not get it."""
    attempts: int = 0
    http_status: int = 0
    """Of the wallet's answer; 0 without one."""
    wallet_code: int | None = None
    request_id: str = ""
    """The wallet's, as received: clean it before it is shown."""
    missing_fields: tuple[str, ...] = ()
    """Drift: fields that the wallet's page promises and a successful answer lacked."""
    unknown_count: int = 0
    """Drift: members of a successful answer that the proto does not know."""
    fault: str = ""
    """For BRIDGE_FAULT: the exception's type and places in the code, without its text."""
    queue_s: float = 0.0
    """Time of waiting for admission."""
    is_pending: bool = False
    """The bridge goes on with the request by itself (settlement)."""
    is_detached: bool = False
    """The client had cancelled after the call was sent; this end was not sent to it."""
    token_fingerprint: str = ""
    """A keyed hash of the token: the same for calls about the same token, and no way back to it."""


class AttemptEnded(Happening, frozen=True, tag="attempt ended"):
    """One POST to the wallet has ended."""

    method: str
    """The rpc's name."""
    number: int
    """1 for a call's first attempt."""
    duration_s: float
    http_status: int = 0
    """Of the wallet's answer; 0 without one."""
    reason: str = ""
    """Of the failure that it was without an answer; "" where the wallet answered."""
    cause: str = ""
    detail: str = ""


class Serving(Happening, frozen=True, tag="serving"):
    """The bridge takes calls."""

    address: str
    wallet_url: str


class Draining(Happening, frozen=True, tag="draining"):
    """The bridge begins to drain. Calls are still served for `drain_s`; health says NOT_SERVING from now on."""

    drain_s: float


class Stopped(Happening, frozen=True, tag="stopped"):
    """The bridge has ended every call and closed every connection."""


class StateSampled(Happening, frozen=True, tag="state sampled"):
    """Load of the process, emitted about once a second."""

    in_flight: int
    """Calls that are admitted and have not ended."""
    queued: int
    """Calls that wait for admission."""
    detached: int
    """Calls that go on although the client has cancelled them."""
    connections: int
    """Open connections to the wallet."""
    streams: int
    """Requests under way on them."""


class Reloaded(Happening, frozen=True, tag="reloaded"):
    """A secret or certificate file had changed, and its new content is in use."""

    key: str
    """The setting that names it: wallet.providers.1.private_key_file."""


class ReloadFailed(Happening, frozen=True, tag="reload failed"):
    """A secret or certificate file has changed and cannot be used; the old content stays in use."""

    key: str
    problem: str
    """The rule for the file; nothing of its content."""


class CertificateInUse(Happening, frozen=True, tag="certificate in use"):
    """A certificate or an authority has come into use, at the start or by a changed file."""

    key: str
    """The setting that names its file."""
    not_after: str
    """Its end, as ISO 8601 in UTC."""
    not_after_s: float
    """Its end, in seconds since 1970."""
    problem: str = ""
    """That it is not valid now, or not for long; "" where all is well."""


class SchedulingSet(Happening, frozen=True, tag="scheduling"):
    """The scheduling policy of the process's threads has been decided, before it serves."""

    policy: str
    """"batch" or "other", as server.scheduling has it."""
    threads: int = 0
    """Number of entries under the other of the two before."""
    problem: str = ""
    """Why the policy is not in force; "" where it is."""


class WorkerStarted(Happening, frozen=True, tag="worker started"):
    """The supervisor has started a worker process."""

    worker: int
    """Its place, from 1 to server.workers; a successor takes the same place."""
    pid: int


class WorkerEnded(Happening, frozen=True, tag="worker ended"):
    """A worker process has ended without an order to stop."""

    worker: int
    pid: int
    exit_code: int
    """Negative: the number of the signal that ended it."""
    restart_s: float
    """In how many seconds its successor starts."""


class CannotStart(Happening, frozen=True, tag="cannot start"):
    """The bridge, or one of its workers, ends before it has served."""

    problem: str
    """One line that names the thing, what is wrong with it and what to do."""


class LogLinesDropped(Happening, frozen=True, tag="log lines dropped"):
    """Number of log lines dropped since the previous event: standard error is not read fast enough."""

    count: int


class SettlementChanged(Happening, frozen=True, tag="settlement changed"):
    """A request of unknown outcome that the bridge settles by itself has come into a state."""

    entry_id: str
    call_id: str
    """Of the call that ended, or of the entry's newest call."""
    operation: str
    """The full name of the rpc: wallet.v1.WalletService/Terminate."""
    provider_id: int
    state: str
    """PENDING, SETTLED, REJECTED or UNRESOLVED. What people change they see where they change it."""
    reason: str = ""
    """Of the last failure; "" for SETTLED."""
    wallet_code: int | None = None
    attempts: int = 0
    """Of the settler; 0 for PENDING."""
    duration_s: float = 0.0
    """Since the entry was made; 0 for PENDING."""
    token_fingerprint: str = ""


class SettlementNotWritten(Happening, frozen=True, tag="settlement not written"):
    """A call was to be settled and could not be stored. It was not reported as PENDING."""

    call_id: str
    operation: str
    provider_id: int
    reason: str
    """Why the call failed."""
    cause: str
    """Why it is not written, in fixed words."""
    token_fingerprint: str = ""


class SettlementPaused(Happening, frozen=True, tag="settlement paused"):
    """A provider's entries wait for an operator: what keeps them is the same for all."""

    provider_id: int
    reason: str
    cause: str = ""


class SettlementStore(Happening, frozen=True, tag="settlement store"):
    """The store of settlements fails, or works again."""

    is_failing: bool
    problem: str = ""
    """One line that names the store, what is wrong and what to do; "" where it works again."""


class SettlementStoreFailed(Happening, frozen=True, tag="settlement store failed"):
    """One request to the store of settlements has failed."""


class SettlementOff(Happening, frozen=True, tag="settlement off"):
    """Settlement is switched off in this process: its key does not fit the store."""

    problem: str


class SettlementSampled(Happening, frozen=True, tag="settlement sampled"):
    """Content of the settlement store, emitted every few seconds."""

    entries: dict[str, int]
    """By state; all states are there."""
    oldest_pending_s: float
    """Age of the oldest entry that is PENDING; 0 without one."""
    paused: tuple[int, ...]
    """Providers whose entries wait for an operator."""
    queued: int
    """Writes that wait in memory."""


Event = (
    CallStarted
    | CallEnded
    | AttemptEnded
    | StateSampled
    | Serving
    | Draining
    | Stopped
    | Reloaded
    | ReloadFailed
    | CertificateInUse
    | SchedulingSet
    | WorkerStarted
    | WorkerEnded
    | CannotStart
    | LogLinesDropped
    | SettlementChanged
    | SettlementNotWritten
    | SettlementPaused
    | SettlementStore
    | SettlementStoreFailed
    | SettlementOff
    | SettlementSampled
)
Emit = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Listen to nothing."""
