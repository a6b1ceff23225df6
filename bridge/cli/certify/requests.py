"""Requests of the probes, as a table: each differs from a right one in one thing."""

import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bridge.headers import Headers
from bridge.settings.model import Settings
from bridge.transcoding.route import Route
from bridge.upstream.signing import Credentials
from wallet.v1.wallet_service_pb2 import TerminateRequest

UINT64_MAX = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Session:
    """The session that the live token belongs to, and how its requests are made."""

    settings: Settings
    route: Route
    fields: Mapping[str, int | str]
    """All fields of a request but the token."""

    @property
    def provider_id(self) -> int:
        """The provider whose credentials sign."""
        return int(self.fields["provider_id"])

    @property
    def secrets(self) -> tuple[str, str]:
        """The provider's access key and private key."""
        provider = self.settings.wallet.providers[self.provider_id]
        return provider.access_key.get_secret_value(), provider.private_key.get_secret_value()

    def request(self, token: str, **changes: int) -> TerminateRequest:
        """Return the request for this token, some fields changed."""
        return TerminateRequest(**{**self.fields, **changes, "token": token})  # type: ignore[arg-type] # fields by name


class Prepared(NamedTuple):
    """A request, ready to be sent."""

    request: TerminateRequest
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Probe:
    """One thing to find out."""

    name: str
    sends: str
    """Description of the request."""
    prepare: Callable[[Session, str], Prepared] = field(repr=False)
    is_http1: bool = False


def _right(session: Session, token: str) -> Prepared:
    return _signed(session, session.request(token), Credentials(session.provider_id, *session.secrets))


def _wrong_signature(session: Session, token: str) -> Prepared:
    access_key, _ = session.secrets
    credentials = Credentials(session.provider_id, access_key, str(uuid.uuid4()))
    return _signed(session, session.request(token), credentials)


def _unknown_provider(session: Session, token: str) -> Prepared:
    """Sign as a provider that is made up with its keys: no real credentials are sent."""
    provider_id = 10**9 + secrets.randbelow(10**9)
    while provider_id in session.settings.wallet.providers:
        provider_id += 1
    credentials = Credentials(provider_id, secrets.token_hex(16), str(uuid.uuid4()))
    return _signed(session, session.request(token, provider_id=provider_id), credentials)


def _without(name: bytes) -> Callable[[Session, str], Prepared]:
    def prepare(session: Session, token: str) -> Prepared:
        right = _right(session, token)
        return right._replace(headers=tuple(header for header in right.headers if header[0] != name))

    return prepare


def _wrong_player(session: Session, token: str) -> Prepared:
    player_id = int(session.fields["player_id"])
    request = session.request(token, player_id=player_id - 1 if player_id == UINT64_MAX else player_id + 1)
    return _signed(session, request, Credentials(session.provider_id, *session.secrets))


def _signed(session: Session, request: TerminateRequest, credentials: Credentials) -> Prepared:
    body = session.route.encode(request)
    return Prepared(request, credentials.headers(body), body)


UNKNOWN_TOKEN = Probe("unknown-token", "a made-up token, everything else right", _right)

SAFE = (
    Probe("wrong-signature", "a made-up token, signed with a made-up key", _wrong_signature),
    Probe("unknown-provider", "a made-up token, provider and keys", _unknown_provider),
    UNKNOWN_TOKEN,
    Probe("no-signature", "a made-up token, no x-request-signature", _without(b"x-request-signature")),
    Probe("no-authorization", "a made-up token, no authorization", _without(b"authorization")),
    Probe("http1", "a made-up token, over HTTP/1.1", _right, is_http1=True),
)
"""Probes that cannot touch the live token, because they do not send it; in this order."""

WRONG_PLAYER = Probe("wrong-player", "the live token with another player_id", _wrong_player)
TERMINATE = Probe("terminate", "the live token, everything right", _right)
AGAIN = Probe("terminate-again", "the same once more", _right)
AT_ONCE = tuple(Probe(f"at-once-{number}", "two at the same time", _right) for number in (1, 2))
"""With the second token where there is one, else with the one that the probes before have terminated."""
