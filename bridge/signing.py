"""Whose credentials a call goes out with, and the headers that prove it. Source: NOTES.md, both security pages."""

import base64
import hmac
from collections.abc import Iterable

from bridge.errors import ProviderNotConfigured

Headers = tuple[tuple[bytes, bytes], ...]

# Every answer is wanted as it is: a compressed one would have to be unpacked before its size is known.
CONTENT_HEADERS: Headers = (
    (b"content-type", b"application/json"),
    (b"accept", b"application/json"),
    (b"accept-encoding", b"identity"),
)


class Credentials:
    """One provider's access key and private key, as ready-made header parts. Its repr holds neither."""

    __slots__ = ("_constant", "_private_key", "provider_id")

    def __init__(self, provider_id: int, access_key: str, private_key: str) -> None:
        self.provider_id = provider_id
        # RFC 7617: user-id ":" password; the wallet's page: user = provider_id, password = the access key.
        basic = base64.b64encode(f"{provider_id}:{access_key}".encode())
        self._constant: Headers = (*CONTENT_HEADERS, (b"authorization", b"Basic " + basic))
        # The wallet's sample proves it: the key is the UUID's text with its dashes, not the 16 bytes that it means.
        self._private_key = private_key.encode()

    def __repr__(self) -> str:
        return f"Credentials(provider_id={self.provider_id})"

    def sign(self, body: bytes) -> str:
        """Return X-Request-Signature for exactly these bytes: HMAC-SHA256, 64 lowercase hex digits."""
        return hmac.digest(self._private_key, body, "sha256").hex()

    def headers(self, body: bytes) -> Headers:
        """Return every header that goes out with this body. Nothing else is sent (CONTRACT.md, "What is sent")."""
        return (*self._constant, (b"x-request-signature", self.sign(body).encode()))


class Keyring:
    """The credentials of every configured provider."""

    def __init__(self, credentials: Iterable[Credentials]) -> None:
        self._by_provider = {one.provider_id: one for one in credentials}

    def __repr__(self) -> str:
        return f"Keyring(providers={sorted(self._by_provider)})"

    def credentials(self, provider_id: int) -> Credentials:
        """Return the provider's credentials; raise ProviderNotConfigured where there are none."""
        found = self._by_provider.get(provider_id)
        if found is None:
            raise ProviderNotConfigured
        return found
