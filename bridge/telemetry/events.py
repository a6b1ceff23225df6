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


Event = CallEnded | Serving | Draining | Stopped
Emit = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Listen to nothing."""
