"""The sandbox wallet: what it checks, what it answers, what it remembers."""

import base64
import hashlib
import hmac
import json
import ssl
import uuid
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sandbox import OPERATIONS, SAMPLE_PROVIDERS, TEXT, UINT64, FieldRule, Operation, Provider, Sandbox, serve
from bridge.sandbox.answers import Reply, json_text
from bridge.sandbox.checks import BODY_BYTES_MAX, signature_of
from bridge.sandbox.record import Request
from bridge.sandbox.wallet import Received, Wallet

PATIENCE_S = 60.0
"""Long enough for a busy machine, where httpx's default of 5 s is not."""

# For plain HTTP/2: to load the certificates that httpx trusts by default would take longer than the test.
NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

PATH = "/api/wallet/terminate"
ACCESS_KEY = "abcde12345"
PRIVATE_KEY = "e56eb966-a55f-4087-bc7d-e66df1f377a1"
TOKEN = "3dc8fe01-2018-486e-9632-35aef21028a5"
UINT64_MAX = 2**64 - 1

# docs/design/wallet.md: the request of the wallet's page as compact JSON, 127 bytes, and its signature.
EXAMPLE_BODY = (
    b'{"token":"3dc8fe01-2018-486e-9632-35aef21028a5","player_id":1,"site_id":1,"provider_id":1,'
    b'"game_id":"example","currency":"EUR"}'
)
EXAMPLE_SIGNATURE = "9e8526e3091242bffff60bede3e76807f44ec299e251aba7da7d43272628a135"


def body_of(**changes: object) -> bytes:
    """Return the body of the page's example with other fields; None leaves a field out."""
    fields = {**json.loads(EXAMPLE_BODY), **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not None}).encode()


def headers_for(body: bytes, **changes: str | None) -> dict[str, str]:
    """Return what the wallet must see with this body: names with _ for -; None leaves a header out."""
    headers = {
        "authorization": "Basic " + base64.b64encode(f"1:{ACCESS_KEY}".encode()).decode(),
        "x-request-signature": hmac.new(PRIVATE_KEY.encode(), body, hashlib.sha256).hexdigest(),
        "content-type": "application/json",
        "accept": "application/json",
        "content-length": str(len(body)),
        "user-agent": "a-client/1",
    }
    changed = {**headers, **{name.replace("_", "-"): value for name, value in changes.items()}}
    return {name: value for name, value in changed.items() if value is not None}


def request_of(body: bytes, **changes: str | None) -> Request:
    """Return a terminate with this body and headers as it comes off the wire."""
    pseudo_headers = {":method": "POST", ":scheme": "http", ":authority": "wallet", ":path": PATH}
    return Request(1, 1, [*pseudo_headers.items(), *headers_for(body, **changes).items()], body)


async def post(client: httpx.AsyncClient, body: bytes, **changes: str | None) -> httpx.Response:
    """Send a terminate with this body."""
    return await client.post(PATH, content=body, headers=headers_for(body, **changes))


def http2_client(sandbox: Sandbox, trust: ssl.SSLContext = NO_TRUST) -> httpx.AsyncClient:
    """Return a client that speaks HTTP/2 only: with prior knowledge, or by ALPN where the sandbox has TLS."""
    return client_of(sandbox, trust, http1=False, http2=True)


def client_of(sandbox: Sandbox, trust: ssl.SSLContext = NO_TRUST, *, http1: bool, http2: bool) -> httpx.AsyncClient:
    """Return a client that speaks these versions of HTTP."""
    return httpx.AsyncClient(
        base_url=sandbox.url, http1=http1, http2=http2, verify=trust, trust_env=False, timeout=PATIENCE_S
    )


def basic(credentials: str) -> str:
    """Return the value of an Authorization header."""
    return "Basic " + base64.b64encode(credentials.encode()).decode()


async def test_success_of_the_page(client: httpx.AsyncClient) -> None:
    """The page's example is answered as on the page: its members in its order, site_id a string, balance a number."""
    answer = await client.post(
        PATH, content=EXAMPLE_BODY, headers=headers_for(EXAMPLE_BODY, x_request_signature=EXAMPLE_SIGNATURE)
    )
    request_id = answer.json()["request_id"]
    assert (answer.http_version, answer.status_code) == ("HTTP/2", 200)
    assert answer.headers["content-type"] == "application/json"
    assert uuid.UUID(request_id).version == 4
    assert answer.text == (
        f'{{"status":true,"code":1,"message":"","request_id":"{request_id}","token":"{TOKEN}","player_id":1,'
        '"game_id":"example","site_id":"1","provider_id":1,"balance":22085.75}'
    )


async def test_failure_of_the_page(client: httpx.AsyncClient) -> None:
    """A failure has the four members of the page's example and no more."""
    answer = await post(client, body_of(token="test-unknown-error"))
    request_id = answer.json()["request_id"]
    assert answer.status_code == 500
    assert answer.text == (
        '{"status":false,"code":2,"message":"An unknown error has occurred.",' + f'"request_id":"{request_id}"}}'
    )


async def test_retried_terminate_succeeds(client: httpx.AsyncClient) -> None:
    """A token can be terminated again; every answer has a request_id of its own."""
    answers = [await post(client, EXAMPLE_BODY) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].json()["request_id"] != answers[1].json()["request_id"]


async def test_published_authorization(client: httpx.AsyncClient) -> None:
    """The published sample of Authorization lets provider 12345 in."""
    answer = await post(client, body_of(provider_id=12345), authorization="Basic MTIzNDU6YWJjZGUxMjM0NQ==")
    assert answer.status_code == 200
    assert answer.json()["provider_id"] == 12345


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (b'{"message":"Hello, world!"}', "3798e973f62692d1c5ab8175aafbd6d9743ef56f0a989bd1d025e646e64c1036"),
        (EXAMPLE_BODY, EXAMPLE_SIGNATURE),
    ],
    ids=["published", "ours"],
)
def test_signature_vectors(body: bytes, signature: str) -> None:
    """The sandbox's own signature reproduces the vectors of docs/design/wallet.md."""
    assert signature_of(body, SAMPLE_PROVIDERS[0]) == signature


async def test_signature_is_over_the_bytes_as_sent(client: httpx.AsyncClient) -> None:
    """White space and escapes do not matter to the checks, only the bytes that were sent."""
    body = json.dumps(json.loads(EXAMPLE_BODY) | {"token": "žeton"}, indent=2).encode()
    answer = await post(client, body)
    assert answer.status_code == 200
    assert '"token":"žeton"' in answer.text


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({"content_type": None}, 415, id="no content-type"),
        pytest.param({"content_type": "text/plain"}, 415, id="content-type text"),
        pytest.param({"content_type": "application/json; charset=utf-8"}, 415, id="content-type with charset"),
        pytest.param({"accept": None}, 415, id="no accept"),
        pytest.param({"accept": "*/*"}, 415, id="accept anything"),
        pytest.param({"authorization": None}, 401, id="no authorization"),
        pytest.param({"authorization": "Basic"}, 401, id="authorization without credentials"),
        pytest.param({"authorization": "Basic %%%"}, 401, id="authorization not base64"),
        pytest.param({"authorization": basic("1")}, 401, id="authorization without colon"),
        pytest.param({"authorization": basic(f"1:{ACCESS_KEY}").replace("Basic", "Bearer")}, 401, id="bearer"),
        pytest.param({"authorization": basic(f"1:{ACCESS_KEY}x")}, 401, id="wrong access key"),
        pytest.param({"authorization": basic(f"2:{ACCESS_KEY}")}, 401, id="unknown provider"),
        pytest.param({"authorization": basic(f"01:{ACCESS_KEY}")}, 401, id="provider with a leading zero"),
        pytest.param({"authorization": basic(f"12345:{ACCESS_KEY}")}, 403, id="another provider than in the body"),
        pytest.param({"x_request_signature": None}, 403, id="no signature"),
        pytest.param({"x_request_signature": "0" * 64}, 403, id="wrong signature"),
        pytest.param({"x_request_signature": EXAMPLE_SIGNATURE.upper()}, 403, id="signature in upper case"),
        pytest.param({"x_request_signature": "sha256=" + EXAMPLE_SIGNATURE}, 403, id="signature with a prefix"),
    ],
)
async def test_wrong_header_is_refused(client: httpx.AsyncClient, changes: dict[str, str | None], status: int) -> None:
    """A header that is missing or wrong is refused: 415 by a page, 401 and 403 in the wallet's words."""
    answer = await post(client, EXAMPLE_BODY, **changes)
    assert answer.status_code == status
    assert answer.headers["content-type"] == ("text/html" if status == 415 else "application/json")
    if status != 415:
        assert list(answer.json()) == ["status", "code", "message", "request_id"]
        assert answer.json()["status"] is False


@pytest.mark.parametrize("name", ["authorization", "x-request-signature", "content-type", "accept"])
async def test_header_given_twice_is_refused(client: httpx.AsyncClient, name: str) -> None:
    """A header that is there twice counts as none: no one could say which one is meant."""
    headers = headers_for(EXAMPLE_BODY)
    answer = await client.post(PATH, content=EXAMPLE_BODY, headers=[*headers.items(), (name, headers[name])])
    assert answer.status_code in {401, 403, 415}


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        pytest.param({}, 200, id="as an ordinary client sends it"),
        pytest.param({"content_length": None}, 411, id="no length"),
        pytest.param({"content_length": "126"}, 400, id="shorter than the body"),
        pytest.param({"content_length": "0"}, 400, id="zero"),
        pytest.param({"content_length": "+127"}, 400, id="a sign"),
        pytest.param({"content_length": ""}, 400, id="empty"),
        pytest.param({"user_agent": None}, 403, id="no name"),
    ],
)
def test_client_that_leaves_out_what_others_send(changes: dict[str, str | None], status: int) -> None:
    """A page refuses a body without its exact length, as lighttpd does, and a client without a name, as firewalls do.

    By hand: every library adds both, and h2 ends a stream whose length is wrong before the sandbox sees it.
    """
    _, plan = Wallet(SAMPLE_PROVIDERS, OPERATIONS).decide(request_of(EXAMPLE_BODY, **changes))
    assert isinstance(plan, Reply)
    assert plan.answer.status == status
    assert dict(plan.answer.headers)["content-type"] == ("application/json" if status == 200 else "text/html")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", PATH, 405),
        ("PUT", PATH, 405),
        ("POST", "/api/wallet/debit", 404),
        ("POST", PATH + "/", 404),
        ("POST", "/api/wallet/%74erminate", 404),
    ],
)
async def test_wrong_place_gets_a_page(client: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    """Another method or path gets an HTML page, nothing that a wallet would say."""
    answer = await client.request(method, path, content=EXAMPLE_BODY, headers=headers_for(EXAMPLE_BODY))
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)


async def test_http_1_is_refused(sandbox: Sandbox) -> None:
    """HTTP/1.1 gets 505 and a line that says what is needed, whatever else is right; HTTP/2 is served beside it."""
    async with client_of(sandbox, http1=True, http2=False) as old, http2_client(sandbox) as client:
        answer = await post(old, EXAMPLE_BODY)
        assert (await post(client, EXAMPLE_BODY)).status_code == 200
    assert (answer.status_code, answer.headers["content-type"]) == (505, "text/plain")
    assert answer.text.startswith("This wallet speaks HTTP/2 only")


@pytest.mark.parametrize(("size", "status"), [(BODY_BYTES_MAX, 400), (BODY_BYTES_MAX + 1, 413), (300_000, 413)])
async def test_long_body(client: httpx.AsyncClient, sandbox: Sandbox, size: int, status: int) -> None:
    """A body over the limit gets 413, and the connection serves the next call."""
    assert (await post(client, b" " * size)).status_code == status
    assert (await post(client, EXAMPLE_BODY)).status_code == 200
    assert len(sandbox.received[0].request.body) <= BODY_BYTES_MAX + 1


INTEGERS = ("player_id", "site_id", "provider_id")
TEXTS = ("token", "game_id", "currency")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        *(pytest.param(body_of(**{name: None}), 422, id=f"no {name}") for name in INTEGERS + TEXTS),
        *(pytest.param(body_of(**{name: "1"}), 422, id=f"{name} a string") for name in INTEGERS),
        *(pytest.param(body_of(**{name: True}), 422, id=f"{name} true") for name in INTEGERS),
        *(pytest.param(body_of(**{name: 1.0}), 422, id=f"{name} 1.0") for name in INTEGERS),
        *(pytest.param(body_of(**{name: -1}), 422, id=f"{name} -1") for name in INTEGERS),
        *(pytest.param(body_of(**{name: UINT64_MAX + 1}), 422, id=f"{name} 2^64") for name in INTEGERS),
        *(pytest.param(body_of(**{name: 1}), 422, id=f"{name} a number") for name in TEXTS),
        *(pytest.param(EXAMPLE_BODY.replace(b'"EUR"', value), 422, id=f"{value!r}") for value in (b"null", b"[]")),
        pytest.param(body_of(extra=1), 422, id="a seventh field"),
        pytest.param(b"[1]", 422, id="an array"),
        pytest.param(b"1", 422, id="a number"),
        pytest.param(b"", 400, id="empty"),
        pytest.param(b"{", 400, id="not JSON"),
        pytest.param(EXAMPLE_BODY + b"}", 400, id="trailing bytes"),
        pytest.param(b"\xef\xbb\xbf" + EXAMPLE_BODY, 400, id="byte order mark"),
        pytest.param(EXAMPLE_BODY.replace(b"EUR", b"\xff"), 400, id="not UTF-8"),
        pytest.param(EXAMPLE_BODY.replace(b"EUR", rb"\ud800"), 400, id="lone surrogate"),
        pytest.param(EXAMPLE_BODY.replace(b'"EUR"', b"NaN"), 400, id="NaN"),
        pytest.param(EXAMPLE_BODY.replace(b'"EUR"', b"9" * 5000), 400, id="5000 digits"),
        pytest.param(b'{"token":"other",' + EXAMPLE_BODY[1:], 400, id="duplicate name"),
        pytest.param(b"[" * 60_000, 400, id="nested deep"),
        pytest.param(body_of(provider_id=12345), 403, id="provider_id of another"),
    ],
)
async def test_wrong_body_is_refused(client: httpx.AsyncClient, body: bytes, status: int) -> None:
    """A body that is signed but not exactly the six fields in the page's types is a failure of the wallet."""
    answer = await post(client, body)
    assert (answer.status_code, answer.json()["code"]) == (status, 9000 + status)
    assert answer.json()["status"] is False


@given(
    st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_any_body_gets_an_answer(body: bytes) -> None:
    """Whatever is signed and sent, the sandbox decides: it never fails itself."""
    received, _ = Wallet(SAMPLE_PROVIDERS, OPERATIONS).decide(request_of(body))
    assert received.status in {200, 400, 403, 422}


@given(st.binary(), st.binary())
def test_any_credentials_get_an_answer(authorization: bytes, signature: bytes) -> None:
    """Whatever stands in the headers, the sandbox decides."""
    request = request_of(
        EXAMPLE_BODY, authorization=authorization.decode("latin-1"), x_request_signature=signature.decode("latin-1")
    )
    received, _ = Wallet(SAMPLE_PROVIDERS, OPERATIONS).decide(request)
    assert received.status == 401


async def test_received_has_the_request_as_sent(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """The record holds the exact body, the headers, the token and what was decided."""
    await post(client, EXAMPLE_BODY)
    (received,) = sandbox.received
    assert (received.request.method, received.request.path) == ("POST", PATH)
    assert received.request.body == EXAMPLE_BODY
    assert ("x-request-signature", EXAMPLE_SIGNATURE) in received.request.headers
    assert (received.token, received.test_token) == (TOKEN, "")
    assert (received.authorised, received.status, received.refusal) == (True, 200, "")


@pytest.mark.parametrize(
    ("body", "changes", "expected"),
    [
        (EXAMPLE_BODY, {"accept": None}, (False, 415, "accept must be application/json, once")),
        (EXAMPLE_BODY, {"authorization": None}, (False, 401, "authorization names no known provider")),
        (EXAMPLE_BODY, {"x_request_signature": None}, (False, 403, "x-request-signature is not that of this body")),
        (body_of(provider_id=12345), {}, (False, 403, "provider_id is not the provider")),
        (b"{", {}, (True, 400, "the body is not JSON")),
        (body_of(player_id="1"), {}, (True, 422, "player_id must be an integer")),
        (body_of(extra=1), {}, (True, 422, "1 fields are not the operation's")),
        (body_of(token=None, currency=None), {}, (True, 422, "missing: currency, token")),
    ],
    ids=["accept", "authorization", "signature", "provider", "json", "type", "extra", "missing"],
)
async def test_received_says_why_it_was_refused(
    client: httpx.AsyncClient, sandbox: Sandbox, body: bytes, changes: dict[str, None], expected: tuple[bool, int, str]
) -> None:
    """The record of a refused request names the check and processes no token."""
    authorised, status, refusal = expected
    await post(client, body, **changes)
    (received,) = sandbox.received
    assert (received.authorised, received.status, received.token) == (authorised, status, None)
    assert received.refusal.startswith(refusal)


async def test_on_call_gets_what_received_has() -> None:
    """The caller's hook gets the same values as `received`, each before its answer begins."""
    calls: list[Received] = []
    async with serve(on_call=calls.append) as sandbox, http2_client(sandbox) as client:
        await post(client, EXAMPLE_BODY)
        assert len(calls) == 1
        await post(client, body_of(token="test-rejected"))
    assert [call.test_token for call in calls] == ["", "test-rejected"]
    assert tuple(calls) == sandbox.received


async def test_reprs_show_no_secret(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    """No credential, signature, token or body is in a repr."""
    await post(client, EXAMPLE_BODY)
    await post(client, EXAMPLE_BODY, authorization="Basic canary")
    shown = repr(sandbox.received) + repr(SAMPLE_PROVIDERS)
    for secret in (TOKEN, EXAMPLE_SIGNATURE, basic(f"1:{ACCESS_KEY}"), ACCESS_KEY, PRIVATE_KEY, "canary", "EUR"):
        assert secret not in shown


OTHER = Operation(
    fields={"provider_id": UINT64, "player_id": UINT64, "note": TEXT, "tags": FieldRule("a list", bool)},
    success=lambda fields: {"echoed": json_text(fields["player_id"]), "note": json_text(fields.get("note", ""))},
    optional_fields=frozenset({"note"}),
)


@pytest.mark.parametrize(
    ("fields", "status"),
    [({"note": "hello", "tags": [1]}, 200), ({"tags": [1]}, 200), ({"note": "hello"}, 422), ({"tags": []}, 422)],
    ids=["all", "optional left out", "required left out", "own rule"],
)
async def test_another_operation_is_one_row(fields: dict[str, Any], status: int) -> None:
    """An operation of a test's own needs a row in the table and nothing else."""
    body = json.dumps({"provider_id": 1, "player_id": 7, **fields}).encode()
    async with serve(operations={**OPERATIONS, "/api/wallet/other": OTHER}) as sandbox, http2_client(sandbox) as client:
        answer = await client.post("/api/wallet/other", content=body, headers=headers_for(body))
    assert answer.status_code == status
    assert answer.json().get("echoed") == (7 if status == 200 else None)


@pytest.mark.parametrize(
    ("provider_id", "access_key", "private_key"),
    [(-1, "a", "p"), (UINT64_MAX + 1, "a", "p"), (1, "", "p"), (1, "a", "")],
)
def test_impossible_provider(provider_id: int, access_key: str, private_key: str) -> None:
    """A provider without an id or a key cannot be made."""
    with pytest.raises(ValueError, match="provider"):
        Provider(provider_id, access_key, private_key)


async def test_provider_given_twice() -> None:
    """Two providers with one id stop the start."""
    with pytest.raises(ValueError, match="provider 1 is given twice"):
        async with serve(providers=[Provider(1, "a", "b"), Provider(1, "c", "d")]):
            raise AssertionError
