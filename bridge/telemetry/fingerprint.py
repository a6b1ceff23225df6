"""Keyed fingerprint: log lines about the same text can be found together, and the text cannot be recovered.

Without a key it would be no secret: a reader of the log could hash a guess and compare.
"""

import hmac
import secrets

KEY_BYTES_MIN = 16
"""128 bits: too many to try them all."""

DIGITS = 16
"""64 bits: two of a billion texts share a fingerprint with a probability of some 3 %."""


class Fingerprint:
    """Makes fingerprints with one key. Processes that share a key make the same ones. Its repr holds no key."""

    __slots__ = ("_mac",)

    def __init__(self, key: bytes | None) -> None:
        """Take a key of at least 16 bytes, or None for a random one of this process; raise ValueError for less."""
        if key is None:
            key = secrets.token_bytes(32)
        if len(key) < KEY_BYTES_MIN:
            raise ValueError(f"a fingerprint's key must be at least {KEY_BYTES_MIN} bytes")
        self._mac = hmac.new(key, digestmod="sha256")

    def __repr__(self) -> str:
        return "Fingerprint()"

    def __call__(self, text: str, /) -> str:
        """Return the first 16 hex digits of HMAC-SHA256 over the text's UTF-8 bytes; "" for an empty text."""
        if not text:
            return ""
        mac = self._mac.copy()
        mac.update(text.encode())
        return mac.hexdigest()[:DIGITS]
