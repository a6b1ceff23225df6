"""What happened, as values. Who emits them knows nobody who listens; no event holds a token, a key or a signature."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallEnded:
    """One call of a game service has ended, one way or another."""

    service: str
    method: str
    provider_id: int
    """0 where the request could not be read."""
    grpc_code: str
    """The name of the gRPC status code: OK, UNAVAILABLE and so on."""
    duration_s: float
    reason: str = ""
    """The reason of a failure; "" for OK."""
    outcome: str = ""
    """What is certain about the wallet after a failure; "" for OK."""
    cause: str = ""
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
    """How long it waited for admission."""
    is_detached: bool = False
    """The caller had left after the call was sent; nobody was told this end."""
    token_fingerprint: str = ""
    """A keyed hash of the token: the same for calls about the same token, and no way back to it."""


@dataclass(frozen=True, slots=True)
class AttemptEnded:
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


@dataclass(frozen=True, slots=True)
class Serving:
    """The bridge takes calls."""

    address: str
    wallet_url: str


@dataclass(frozen=True, slots=True)
class Draining:
    """The bridge has been told to stop. Calls are still served for `drain_s`; health says NOT_SERVING from now on."""

    drain_s: float


@dataclass(frozen=True, slots=True)
class Stopped:
    """The bridge has ended every call and closed every connection."""


@dataclass(frozen=True, slots=True)
class StateSampled:
    """How busy the process is, told about once a second."""

    in_flight: int
    """Calls that are admitted and have not ended."""
    queued: int
    """Calls that wait for admission."""
    detached: int
    """Calls that go on although their caller has left."""
    connections: int
    """Open connections to the wallet."""
    streams: int
    """Requests under way on them."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """A secret or certificate file had changed, and its new content is in use."""

    key: str
    """The setting that names it: wallet.providers.1.private_key_file."""


@dataclass(frozen=True, slots=True)
class ReloadFailed:
    """A secret or certificate file has changed and cannot be used; the old content stays in use."""

    key: str
    problem: str
    """What the file should be; nothing of its content."""


@dataclass(frozen=True, slots=True)
class WorkerStarted:
    """The supervisor has started a worker process."""

    worker: int
    """Its place, from 1 to server.workers; a successor takes the same place."""
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerEnded:
    """A worker process has ended without having been told to."""

    worker: int
    pid: int
    exit_code: int
    """Negative: the number of the signal that ended it."""
    restart_s: float
    """In how many seconds its successor starts."""


Event = (
    CallEnded
    | AttemptEnded
    | StateSampled
    | Serving
    | Draining
    | Stopped
    | Reloaded
    | ReloadFailed
    | WorkerStarted
    | WorkerEnded
)
Emit = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Listen to nothing."""
