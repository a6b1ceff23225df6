"""Callers of the sandbox: game providers with the two secrets that the wallet shares with each of them."""

from dataclasses import dataclass, field

UINT64_MAX = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider; ValueError for one without an id or a key. No secret is in its repr."""

    provider_id: int
    """0 to 2^64-1: the user of HTTP Basic, and `provider_id` in the body."""
    access_key: str = field(repr=False)
    """The password of HTTP Basic."""
    private_key: str = field(repr=False)
    """The key of the signature: its text, dashes and all, as UTF-8."""

    def __post_init__(self) -> None:
        if not 0 <= self.provider_id <= UINT64_MAX:
            raise ValueError(f"provider_id {self.provider_id}: must be 0 to {UINT64_MAX}")
        if not self.access_key or not self.private_key:
            raise ValueError(f"provider {self.provider_id}: access_key and private_key must not be empty")


# Published in the wallet's documentation (pages security/authorization and security/request-signature): no secrets.
_SAMPLE_ACCESS_KEY = "abcde12345"
_SAMPLE_PRIVATE_KEY = "e56eb966-a55f-4087-bc7d-e66df1f377a1"

SAMPLE_PROVIDERS = (
    Provider(12345, _SAMPLE_ACCESS_KEY, _SAMPLE_PRIVATE_KEY),
    Provider(1, _SAMPLE_ACCESS_KEY, _SAMPLE_PRIVATE_KEY),
)
"""The provider of the published samples, and the one that the wallet's page for Terminate uses, with the same keys."""
