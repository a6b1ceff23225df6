"""The bridge before the sandbox: two pieces of code that share nothing agree on every byte and on every test token."""

from decimal import Decimal

import pytest

from bridge import __version__
from bridge.sandbox import ROWS, TokenRow, serve
from tests.support.engines import on_both_engines
from tests.support.whole_path import NO_SETTINGS, PATIENCE_S, TOKEN, bridge_to

pytestmark = on_both_engines

EXAMPLE_BODY = (
    b'{"token":"3dc8fe01-2018-486e-9632-35aef21028a5","player_id":1,"site_id":1,"provider_id":1,'
    b'"game_id":"example","currency":"EUR"}'
)
# HMAC-SHA256 of these 127 bytes with the sample key: docs/design/wallet.md, "X-Request-Signature".
EXAMPLE_SIGNATURE = "9e8526e3091242bffff60bede3e76807f44ec299e251aba7da7d43272628a135"


async def test_example_of_the_wallets_page() -> None:
    """The page's example leaves as 127 exact bytes with the known signature, and its answer comes back typed."""
    async with serve() as sandbox, bridge_to(sandbox.url) as caller:
        end = await caller.terminate()
        (request,) = [received.request for received in sandbox.received]
        (received,) = sandbox.received
    assert (request.body, len(request.body)) == (EXAMPLE_BODY, 127)
    assert request.header("x-request-signature") == EXAMPLE_SIGNATURE
    assert received.authorised
    response = end.response
    assert response is not None
    assert (response.code, response.token, response.player_id, response.site_id) == (1, TOKEN, 1, 1)
    assert (response.game_id, response.provider_id) == ("example", 1)
    assert Decimal(response.balance.value) == Decimal("22085.75")


async def test_headers_are_exactly_the_contract() -> None:
    """Seven headers are sent (the host as HTTP/2's authority), whatever metadata the caller sends."""
    hostile = (
        ("authorization", "Basic Y2FsbGVy"),
        ("x-request-signature", "0" * 64),
        ("content-length", "1"),
        ("x-forwarded-for", "192.0.2.1"),
    )
    async with serve() as sandbox, bridge_to(sandbox.url) as caller:
        assert (await caller.terminate(metadata=hostile)).code == "OK"
        (request,) = [received.request for received in sandbox.received]
    assert sorted(name for name, _ in request.headers) == [
        ":authority",
        ":method",
        ":path",
        ":scheme",
        "accept",
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "user-agent",
        "x-request-signature",
    ]
    assert request.header("authorization") == "Basic MTphYmNkZTEyMzQ1"
    assert request.header("accept-encoding") == "identity"
    assert request.header("content-length") == str(len(request.body))
    assert request.header("user-agent") == f"wallet-bridge/{__version__}"


async def test_credentials_follow_the_provider() -> None:
    """The request's provider_id chooses the credentials: the published sample goes out for 12345."""
    async with serve() as sandbox, bridge_to(sandbox.url) as caller:
        assert (await caller.terminate(provider_id=12345)).code == "OK"
        (request,) = [received.request for received in sandbox.received]
    assert request.header("authorization") == "Basic MTIzNDU6YWJjZGUxMjM0NQ=="


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.token)
@pytest.mark.short("grpcio")
async def test_test_token(row: TokenRow) -> None:
    """Each of the sandbox's test tokens gives the caller exactly what its row promises."""
    token = row.token.replace("<ms>", "1")
    # Tokens that wait are waited for so long, by a caller who waits longer, once the bridge has its connection.
    settings = {"WALLET__DEADLINE_DEFAULT_S": "0.6"} if row.seen.reason == "WALLET_TIMEOUT" else NO_SETTINGS
    async with serve() as sandbox, bridge_to(sandbox.url, settings) as caller:
        assert (await caller.terminate(timeout_s=PATIENCE_S)).code == "OK"
        end = await caller.terminate(token)
    assert end.code == row.seen.grpc_code
    if row.seen.grpc_code != "OK":
        assert end.error_info.reason == row.seen.reason
        assert end.error_info.metadata["outcome"] == row.seen.outcome


async def test_operator_maps_a_code_to_success() -> None:
    """With success = true for "already terminated" the call is OK: the wallet's code, the request's echoes."""
    async with serve() as sandbox, bridge_to(sandbox.url, {"WALLET__CODES__7__SUCCESS": "true"}) as caller:
        end = await caller.terminate("test-already-terminated", player_id=2**64 - 1)
    assert end.response is not None
    assert (end.response.code, end.response.token) == (7, "test-already-terminated")
    assert end.response.player_id == 2**64 - 1
    assert end.response.message


async def test_operator_maps_a_code_to_a_reason() -> None:
    """The operator's gRPC code and reason for a wallet code reach the caller; the outcome stays REJECTED."""
    settings = {"WALLET__CODES__7__GRPC": "NOT_FOUND", "WALLET__CODES__7__REASON": "TOKEN_NOT_FOUND"}
    async with serve() as sandbox, bridge_to(sandbox.url, settings) as caller:
        end = await caller.terminate("test-already-terminated")
    assert (end.code, end.error_info.reason) == ("NOT_FOUND", "TOKEN_NOT_FOUND")
    assert end.error_info.metadata["outcome"] == "REJECTED"
