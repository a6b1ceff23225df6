"""The headers that prove who asks: the published samples, and nothing else on the wire."""

import json
from pathlib import Path
from typing import Any

import pytest

from bridge import __version__
from bridge.errors import ProviderNotConfigured
from bridge.transcoding.operation import operations
from bridge.upstream.client import Post
from bridge.upstream.signing import Credentials, Keyring, KeyVersions
from wallet.v1 import wallet_service_pb2

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    Path(__file__).parents[2].joinpath("vectors").joinpath("signing.json").read_text()
)
TERMINATE = operations(wallet_service_pb2.DESCRIPTOR.services_by_name["WalletService"])[0]

ACCESS_KEY, PRIVATE_KEY = "the-access-key", "the-private-key"
# Every form in which a secret could stand in a text: as it is, as header, as signature.
TOKEN = "the-token"
CREDENTIALS = Credentials(7, ACCESS_KEY, PRIVATE_KEY)
BODY = f'{{"token":"{TOKEN}"}}'.encode()
SECRETS = (ACCESS_KEY, PRIVATE_KEY, TOKEN, CREDENTIALS.sign(BODY), "Nzp0aGUtYWNjZXNzLWtleQ==")


def ids(name: str) -> list[str]:
    """Return the names of the cases under this key of the vectors."""
    return [vector["id"] for vector in VECTORS[name]]


@pytest.mark.parametrize("vector", VECTORS["basic"], ids=ids("basic"))
def test_authorization_is_the_published_sample(vector: dict[str, Any]) -> None:
    """Authorization is HTTP Basic of provider_id and access key, as the wallet's page shows it."""
    credentials = Credentials(vector["provider_id"], vector["access_key"], PRIVATE_KEY)
    assert dict(credentials.headers(b"{}"))[b"authorization"].decode() == vector["authorization"]


@pytest.mark.parametrize("vector", VECTORS["signatures"], ids=ids("signatures"))
def test_signature_is_the_vector(vector: dict[str, Any]) -> None:
    """X-Request-Signature is HMAC-SHA256 over the raw body under the private key's text, in lowercase hex."""
    credentials = Credentials(1, ACCESS_KEY, vector["private_key"])
    assert credentials.sign(vector["body"].encode()) == vector["signature"]
    assert dict(credentials.headers(vector["body"].encode()))[b"x-request-signature"].decode() == vector["signature"]


def test_headers_are_exactly_those_of_the_contract() -> None:
    """Seven headers are sent, in this order, and nothing else; content-length counts the bytes of exactly this body."""
    assert CREDENTIALS.headers(BODY) == (
        (b"content-type", b"application/json"),
        (b"content-length", b"21"),
        (b"accept", b"application/json"),
        (b"accept-encoding", b"identity"),
        (b"user-agent", f"wallet-bridge/{__version__}".encode()),
        (b"authorization", b"Basic Nzp0aGUtYWNjZXNzLWtleQ=="),
        (b"x-request-signature", CREDENTIALS.sign(BODY).encode()),
    )


@pytest.mark.parametrize(
    "secretive",
    [CREDENTIALS, KeyVersions(CREDENTIALS), Keyring([CREDENTIALS]), Post(TERMINATE, BODY, KeyVersions(CREDENTIALS))],
    ids=["Credentials", "KeyVersions", "Keyring", "Post"],
)
def test_no_repr_holds_a_secret(secretive: object) -> None:
    """What lands in a log or a traceback by its repr gives away no key, no token and no signature."""
    for text in (repr(secretive), str(secretive), f"{[secretive]}"):
        assert not [secret for secret in SECRETS if secret in text]


def test_a_provider_is_reported_by_the_repr() -> None:
    """The repr names the providers, so that an operator can see which are there."""
    assert repr(CREDENTIALS) == "Credentials(provider_id=7)"
    assert repr(Keyring([Credentials(9, "a", "b"), CREDENTIALS])) == "Keyring(providers=[7, 9])"


def test_the_keyring_finds_each_providers_own_credentials() -> None:
    """A call goes out with the credentials of its provider_id."""
    other = Credentials(2**64 - 1, "a", "b")
    keyring = Keyring([CREDENTIALS, other])
    assert keyring.credentials(7) is CREDENTIALS
    assert keyring.credentials(2**64 - 1) is other


def test_an_unknown_provider_is_not_configured() -> None:
    """Without credentials nothing is sent."""
    with pytest.raises(ProviderNotConfigured):
        Keyring([CREDENTIALS]).credentials(8)
