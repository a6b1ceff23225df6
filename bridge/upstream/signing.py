"""Credentials and the headers that they sign. Source: docs/design/wallet.md.

When keys are changed, the wallet and the bridge switch at different moments. Until both have, the bridge holds two
versions of a provider's credentials and learns from the wallet's answers with which of them to sign.
"""

import base64
import hmac
from collections.abc import Iterable, Sequence

from bridge import __version__
from bridge.errors import ProviderNotConfigured
from bridge.headers import Headers
from bridge.outcome import BridgeError, Rejected

USER_AGENT = (b"user-agent", f"wallet-bridge/{__version__}".encode())
"""Product and version (RFC 9110, section 10.1.5). Firewalls refuse clients that do not name themselves."""

CONTENT_TYPE = (b"content-type", b"application/json")

# No compression: a compressed answer would have to be unpacked before its size is known.
ACCEPT_HEADERS: Headers = ((b"accept", b"application/json"), (b"accept-encoding", b"identity"), USER_AGENT)

HTTP_AUTH_REJECTED = frozenset({401, 403})


class Credentials:
    """One provider's access key and private key, as ready-made header parts. Its repr holds neither."""

    __slots__ = ("_constant", "_mac", "_private_key", "provider_id")

    def __init__(self, provider_id: int, access_key: str, private_key: str) -> None:
        self.provider_id = provider_id
        # RFC 7617: user-id ":" password; the wallet's page: user = provider_id, password = the access key.
        basic = base64.b64encode(f"{provider_id}:{access_key}".encode())
        self._constant: Headers = (*ACCEPT_HEADERS, (b"authorization", b"Basic " + basic))
        # By the wallet's sample the key is the UUID's text with its dashes, not the 16 bytes that it encodes.
        self._private_key = private_key.encode()
        self._mac = hmac.new(self._private_key, digestmod="sha256")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Credentials) and self._secrets() == other._secrets()

    def __hash__(self) -> int:
        return hash(self.provider_id)

    def __repr__(self) -> str:
        return f"Credentials(provider_id={self.provider_id})"

    def sign(self, body: bytes) -> str:
        """Return X-Request-Signature for exactly these bytes: HMAC-SHA256, 64 lowercase hex digits."""
        # A copy goes on from the key; `hmac.digest` would prepare the key again for each body.
        mac = self._mac.copy()
        mac.update(body)
        return mac.hexdigest()

    def headers(self, body: bytes) -> Headers:
        """Return every header that is sent with this body, in order; with tracing on, the trace context follows."""
        # HTTP/2 can do without a length (RFC 9113, section 8.1.1), but many servers cannot: some answer 411, others
        # hand the application behind them an empty body.
        length = (b"content-length", b"%d" % len(body))
        return (CONTENT_TYPE, length, *self._constant, (b"x-request-signature", self.sign(body).encode()))

    def _secrets(self) -> tuple[Headers, bytes]:
        return self._constant, self._private_key


class KeyVersions:
    """One provider's credentials: one version, and two from a replacement until the wallet has accepted the new one.

    The older one is always one that the wallet has accepted, so that no series of wrong replacements can lose it.
    """

    __slots__ = ("_accepted", "_is_older_needed", "newest", "older", "preferred")

    def __init__(self, credentials: Credentials) -> None:
        self.newest = credentials
        self.older: Credentials | None = None
        self.preferred = credentials
        """The credentials that sign the next call."""
        # Of the first ones nothing better is known than that the operator configured them.
        self._accepted = credentials
        self._is_older_needed = False

    def replace(self, credentials: Credentials) -> None:
        """Prefer these from now on, and keep beside them those that the wallet accepted last."""
        if credentials == self.newest:
            return
        self.older = None if credentials == self._accepted else self._accepted
        self.newest = self.preferred = credentials
        self._is_older_needed = True

    def instead_of(self, rejected: Sequence[Credentials]) -> Credentials | None:
        """Return what to sign a call with that the wallet has rejected with all of these, in this order; None: nothing.

        After any other comes the newest, even for a second time: the bridge may have switched since the call was first
        signed, and the wallet between two tries.
        """
        if rejected[-1] != self.newest:
            return self.newest
        return None if self.older in rejected else self.older

    def accepted(self, credentials: Credentials) -> None:
        """Take note that the wallet has carried out a call that was signed with these: it prefers them now."""
        if self.older is None or credentials not in (self.newest, self.older):
            return
        self.preferred = self._accepted = credentials
        self._is_older_needed |= credentials == self.older

    def settle(self) -> None:
        """Forget the older version if the wallet has accepted the newest, and since the last time it alone."""
        if self._accepted == self.newest and not self._is_older_needed:
            self.older = None
        self._is_older_needed = False


class Keyring:
    """The credentials of every configured provider."""

    def __init__(self, credentials: Iterable[Credentials]) -> None:
        self._by_provider = {one.provider_id: KeyVersions(one) for one in credentials}

    def __repr__(self) -> str:
        return f"Keyring(providers={sorted(self._by_provider)})"

    def __contains__(self, provider_id: int) -> bool:
        """Say whether there are credentials for a provider."""
        return provider_id in self._by_provider

    def credentials(self, provider_id: int) -> Credentials:
        """Return what the provider's next call is signed with; raise ProviderNotConfigured where there is nothing."""
        return self.key_versions(provider_id).preferred

    def key_versions(self, provider_id: int) -> KeyVersions:
        """Return the provider's credentials, old and new; raise ProviderNotConfigured where there are none."""
        found = self._by_provider.get(provider_id)
        if found is None:
            raise ProviderNotConfigured
        return found

    def replace(self, credentials: Credentials) -> None:
        """Give a provider its next key version; raise ProviderNotConfigured for one that is not there."""
        self.key_versions(credentials.provider_id).replace(credentials)

    def settle(self) -> None:
        """End each rotation that is over. To be called at an interval for which an old key shall at least be kept."""
        for key_versions in self._by_provider.values():
            key_versions.settle()


def may_be_about_keys(error: BridgeError) -> bool:
    """Say whether the wallet has refused a call, proven not to be carried out, perhaps for its keys alone.

    By HTTP status, not by class: an operator may have given the wallet's code for it another reason.
    """
    return isinstance(error, Rejected) and error.wallet.http_status in HTTP_AUTH_REJECTED
