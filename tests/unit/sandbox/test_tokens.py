"""The sandbox's test tokens: every row answers as its words say."""

import gzip
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httpx
import pytest

from bridge.sandbox import ROWS, Sandbox, markdown, plain_text
from bridge.sandbox.answers import Reply
from bridge.sandbox.recipes import Call
from bridge.sandbox.rows import EXACT_BALANCE
from bridge.sandbox.tokens import find_row
from tests.unit.sandbox.test_sandbox import body_of, headers_for, post

Check = Callable[[httpx.Response], bool]

# The request of these tests asks for ids that differ from one another, so that no field can pass for another.
REQUEST = {"player_id": 2**64 - 1, "site_id": 22, "provider_id": 12345, "game_id": "roulette", "currency": "EUR"}
AUTHORIZATION = "Basic MTIzNDU6YWJjZGUxMjM0NQ=="
BRIDGE_ANSWER_BYTES_MAX = 65_536


def members(answer: httpx.Response) -> dict[str, Any]:
    """Return the answer's members; a number with a fraction or an exponent as its text."""
    value: dict[str, Any] = json.loads(answer.content, parse_float=str)
    return value


def success(**changes: Any) -> Check:
    """Say whether the answer is the success of REQUEST with these changes; None for a member that is left out."""

    def check(answer: httpx.Response) -> bool:
        got = members(answer)
        token = json.loads(answer.request.content)["token"]
        want = {"status": True, "code": 1, "message": "", "request_id": got.get("request_id"), "token": token}
        want |= {name: REQUEST[name] for name in ("player_id", "game_id", "provider_id")}
        want |= {"site_id": "22", "balance": "22085.75"} | changes
        return got == {name: value for name, value in want.items() if value is not None}

    return check


def failure(code: int) -> Check:
    """Say whether the answer is a failure of the wallet with this code."""
    return lambda answer: (
        list(members(answer)) == ["status", "code", "message", "request_id"]
        and (members(answer)["status"], members(answer)["code"]) == (False, code)
    )


def contradiction(*, status: bool, code: int) -> Check:
    """Say whether the answer is a success but for these two."""
    return success(status=status, code=code)


def contains(text: bytes) -> Check:
    """Say whether the body holds these bytes."""
    return lambda answer: text in answer.content


def is_page(answer: httpx.Response) -> bool:
    """Say whether the answer is an HTML page that names its status."""
    named = str(answer.status_code) in answer.text and HTTPStatus(answer.status_code).phrase in answer.text
    return named and answer.headers["content-type"] == "text/html"


def with_header(check: Check, name: str, value: str) -> Check:
    """Say whether the answer passes and has this header."""
    return lambda answer: answer.headers.get(name) == value and check(answer)


def is_long_message(answer: httpx.Response) -> bool:
    """Say whether the message is long, has line breaks and escapes, and still fits into what the bridge reads."""
    message = members(answer)["message"]
    fits = 40_000 < len(answer.content) < BRIDGE_ANSWER_BYTES_MAX
    return fits and "\n" in message and "\x1b[31m" in message and failure(78)(answer)


def is_deep(answer: httpx.Response) -> bool:
    """Say whether the body is nested deep and still fits into what the bridge reads."""
    return b"[" * 30_000 + b"]" * 30_000 in answer.content and len(answer.content) < BRIDGE_ANSWER_BYTES_MAX


def has_two_player_ids(answer: httpx.Response) -> bool:
    """Say whether player_id is there twice, with two values, the right one last."""
    pairs = json.loads(answer.content, object_pairs_hook=list)
    player_ids = [value for name, value in pairs if name == "player_id"]
    return player_ids == [2**64 - 2, 2**64 - 1]


# What each token must do: HTTP status and what its answer must be.
CASES: dict[str, tuple[int, Check]] = {
    "test-missing-fields": (200, success(request_id=None, message=None, balance=None)),
    "test-extra-fields": (200, success(bonus={"spins": [1, 2, 3]}, vip=True)),
    "test-ids-as-text": (200, success(player_id=str(2**64 - 1), provider_id="12345")),
    "test-integer-game-id": (200, success(game_id=4711)),
    "test-exact-balance": (200, success(balance=EXACT_BALANCE)),
    "test-zero-balance": (200, success(balance=0)),
    "test-exponent-balance": (200, success(balance="1e2")),
    "test-slow-1": (200, success()),
    "test-drip-0": (200, success()),
    "test-gateway-500": (500, is_page),
    "test-gateway-502": (502, is_page),
    "test-gateway-503": (503, is_page),
    "test-gateway-504": (504, is_page),
    "test-gateway-json": (502, lambda answer: members(answer) == {"message": "Internal server error"}),
    "test-redirect": (302, with_header(is_page, "location", "/login")),
    "test-not-found-page": (404, is_page),
    "test-method-page": (405, is_page),
    "test-length-page": (411, is_page),
    "test-too-large-page": (413, is_page),
    "test-uri-page": (414, is_page),
    "test-media-type-page": (415, is_page),
    "test-expectation-page": (417, is_page),
    "test-misdirected-page": (421, is_page),
    "test-headers-page": (431, is_page),
    "test-unavailable": (503, failure(9503)),
    "test-throttled": (429, with_header(failure(9429), "retry-after", "7")),
    "test-throttled-page": (429, with_header(is_page, "retry-after", "3600")),
    "test-auth-rejected": (401, failure(9401)),
    "test-forbidden": (403, failure(9403)),
    "test-ip-rejected": (403, is_page),
    "test-unknown-error": (500, failure(2)),
    "test-rejected": (409, failure(77)),
    "test-rejected-200": (200, failure(1200)),
    "test-rejected-400": (400, failure(1400)),
    "test-rejected-402": (402, failure(1402)),
    "test-rejected-404": (404, failure(1404)),
    "test-rejected-409": (409, failure(1409)),
    "test-rejected-422": (422, failure(1422)),
    "test-rejected-500": (500, failure(1500)),
    "test-already-terminated": (409, failure(7)),
    "test-long-message": (409, is_long_message),
    "test-inconsistent-code": (200, contradiction(status=True, code=77)),
    "test-inconsistent-http": (409, contradiction(status=True, code=1)),
    "test-inconsistent-status": (200, contradiction(status=False, code=1)),
    "test-echo-token": (200, success(token="test-echo-token-of-another-session")),
    "test-echo-player": (200, success(player_id=2**64 - 2)),
    "test-echo-site": (200, success(site_id="23")),
    "test-echo-provider": (200, success(provider_id=12344)),
    "test-echo-missing": (200, success(player_id=None)),
    "test-wrong-types": (200, success(status="true", player_id=[1])),
    "test-number-too-large": (200, success(player_id=2**64)),
    "test-number-endless": (200, contains(b'"player_id":' + b"9" * 5000 + b",")),
    "test-number-negative": (200, success(player_id=-1)),
    "test-number-float": (200, success(player_id="1.0")),
    "test-negative-balance": (200, success(balance=-1)),
    "test-text-balance": (200, contains(b'"balance":"22085.75"')),
    "test-nan": (200, contains(b'"balance":NaN')),
    "test-infinity": (200, contains(b'"balance":Infinity')),
    "test-huge-balance": (200, success(balance="1E+400")),
    "test-duplicate-key": (200, has_two_player_ids),
    "test-deep": (200, is_deep),
    "test-lone-surrogate": (200, success(message="\ud800")),
    "test-invalid-utf8": (200, contains(b'"message":"\xff"')),
    "test-bom": (200, lambda answer: answer.content.startswith(b'\xef\xbb\xbf{"status":true')),
    "test-trailing-bytes": (200, lambda answer: answer.content.endswith(b":22085.75}}")),
    "test-array": (200, lambda answer: list(json.loads(answer.content)[0])[:2] == ["status", "code"]),
    "test-not-json": (200, lambda answer: answer.content == b"OK"),
    "test-empty": (200, lambda answer: answer.content == b""),
    "test-html-200": (200, is_page),
    "test-page-400": (400, is_page),
    "test-too-large": (
        200,
        lambda answer: success(padding="x" * 1_000_000)(answer) and len(answer.content) > 1_000_000,
    ),
}

# Those that do not end by themselves in good time: each has a test of its own below.
OPEN_ENDED = {"test-slow", "test-never", "test-drip", "test-endless", "test-connection-lost"}
GZIPPED = {"test-gzip", "test-gzip-bomb"}


def request_for(client: httpx.AsyncClient, token: str) -> httpx.Request:
    """Return the request for a stream that is read step by step."""
    body = body_of(**REQUEST, token=token)
    headers = headers_for(body, authorization=AUTHORIZATION)
    return client.build_request("POST", "/api/wallet/terminate", content=body, headers=headers)


async def collect(answer: httpx.Response, chunks: list[bytes]) -> None:
    """Add the body's parts to `chunks` as they come, so that what came before an error is kept."""
    async for chunk in answer.aiter_raw():
        chunks.append(chunk)  # noqa: PERF401 -- a comprehension would lose them at the error


@pytest.mark.parametrize("token", CASES)
async def test_token_answers_as_its_row_says(client: httpx.AsyncClient, sandbox: Sandbox, token: str) -> None:
    """The answer has the status and the content of the row, and the record names the row."""
    status, check = CASES[token]
    answer = await post(client, body_of(**REQUEST, token=token), authorization=AUTHORIZATION)
    row = find_row(token)
    (received,) = sandbox.received
    assert row is not None
    assert answer.status_code == status
    assert check(answer)
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert (received.test_token, received.token, received.status) == (row.token, token, status)


def test_every_row_is_tested() -> None:
    """No row is without a case, and no two rows have one token."""
    tested = [row.token if (row := find_row(token)) else token for token in (*CASES, *OPEN_ENDED, *GZIPPED)]
    assert sorted(tested) == sorted(row.token for row in ROWS)


@pytest.mark.parametrize(("token", "size"), [("test-gzip", 0), ("test-gzip-bomb", 10_000_000)], ids=sorted(GZIPPED))
async def test_gzip(client: httpx.AsyncClient, token: str, size: int) -> None:
    """The body is gzip that says so, and small whatever comes out of it."""
    answer = await client.send(request_for(client, token), stream=True)
    packed = b"".join([chunk async for chunk in answer.aiter_raw()])
    await answer.aclose()
    unpacked = gzip.decompress(packed)
    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(unpacked)["status"] is True
    assert len(unpacked) > size
    assert len(packed) < BRIDGE_ANSWER_BYTES_MAX


@pytest.mark.parametrize(
    ("token", "delay_s"),
    [("test-slow", 10.0), ("test-slow-0", 0.0), ("test-slow-250", 0.25), ("test-slow-999999", 999.999)],
)
def test_slow_waits_as_long_as_it_says(token: str, delay_s: float) -> None:
    """The wait is ten seconds, or the number of milliseconds in the token."""
    row = find_row(token)
    assert row is not None
    plan = row.plan(Call(token, {}))
    assert isinstance(plan, Reply)
    assert plan.delay_s == delay_s


@pytest.mark.parametrize(
    "token", ["test-slow-", "test-slow-1000000", "test-slow-1.5", "test-slow-<ms>x", "test-", "TEST-NEVER"]
)
async def test_what_is_no_test_token_succeeds(client: httpx.AsyncClient, token: str) -> None:
    """A token that only looks like a row is like any other token."""
    answer = await post(client, body_of(**REQUEST, token=token), authorization=AUTHORIZATION)
    assert answer.status_code == 200
    assert success()(answer)


async def test_drip_comes_byte_by_byte(client: httpx.AsyncClient) -> None:
    """The headers promise the whole success; its first byte comes alone."""
    answer = await client.send(request_for(client, "test-drip"), stream=True)
    first = await anext(answer.aiter_raw())
    await answer.aclose()
    assert (answer.status_code, first) == (200, b"{")
    assert int(answer.headers["content-length"]) > 100


async def test_endless_goes_on_beyond_any_limit(client: httpx.AsyncClient) -> None:
    """The body goes on for as long as it is read, and stops being sent when it is not."""
    answer = await client.send(request_for(client, "test-endless"), stream=True)
    size = 0
    async for chunk in answer.aiter_raw():
        size += len(chunk)
        if size > 200_000:
            break
    await answer.aclose()
    assert "content-length" not in answer.headers
    assert (await post(client, body_of(token="next"))).status_code == 200


async def test_connection_lost_in_mid_body(client: httpx.AsyncClient) -> None:
    """Headers and a part of the body arrive, then the connection is gone; the next call gets a new one."""
    answer = await client.send(request_for(client, "test-connection-lost"), stream=True)
    chunks: list[bytes] = []
    with pytest.raises(httpx.TransportError):
        await collect(answer, chunks)
    await answer.aclose()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert 0 < sum(map(len, chunks)) < int(answer.headers["content-length"])
    assert (await post(client, body_of(token="next"))).status_code == 200


# docs/design/contract.md, "Failures": every row that a wallet's answer, or its silence, can cause; gRPC code, outcome.
CONTRACT_ROWS = {
    "WALLET_TIMEOUT": {("DEADLINE_EXCEEDED", "UNKNOWN")},
    "WALLET_CONNECTION_LOST": {("UNKNOWN", "UNKNOWN")},
    "WALLET_GATEWAY_ERROR": {("UNKNOWN", "UNKNOWN")},
    "WALLET_UNAVAILABLE": {("UNAVAILABLE", "REJECTED")},
    "WALLET_THROTTLED": {("RESOURCE_EXHAUSTED", "REJECTED")},
    "WALLET_AUTH_REJECTED": {("INTERNAL", "REJECTED")},
    "WALLET_ENDPOINT": {("INTERNAL", "REJECTED")},
    "WALLET_UNKNOWN_ERROR": {("UNKNOWN", "UNKNOWN")},
    "WALLET_REJECTED": {
        ("INVALID_ARGUMENT", "REJECTED"),
        ("NOT_FOUND", "REJECTED"),
        ("ABORTED", "REJECTED"),
        ("FAILED_PRECONDITION", "REJECTED"),
        ("UNKNOWN", "UNKNOWN"),
    },
    "WALLET_INCONSISTENT": {("INTERNAL", "UNKNOWN")},
    "WALLET_ECHO_MISMATCH": {("DATA_LOSS", "UNKNOWN")},
    "WALLET_RESPONSE_INVALID": {("INTERNAL", "UNKNOWN")},
}


def test_rows_cover_the_contract() -> None:
    """Every failure that a wallet can cause has a token, and no row promises one that is not in the contract."""
    seen: dict[str, set[tuple[str, str]]] = {}
    for row in ROWS:
        if row.seen.grpc_code != "OK":
            seen.setdefault(row.seen.reason, set()).add((row.seen.grpc_code, row.seen.outcome))
    assert seen == CONTRACT_ROWS


def test_plain_text() -> None:
    """A terminal gets one line a token with aligned columns."""
    heading, *lines = plain_text().splitlines()
    column = heading.index("the sandbox answers")
    assert [line.split()[0] for line in lines] == [row.token for row in ROWS]
    assert [line[column:] for line in lines] == [row.does for row in ROWS]


def test_markdown() -> None:
    """The table in docs/sandbox.md gets one row a token, each with the same number of cells."""
    lines = markdown().splitlines()
    assert len(lines) == len(ROWS) + 2
    assert {line.count("|") for line in lines} == {6}
    assert lines[2].startswith(f"| `{ROWS[0].token}` | OK | - | - | ")
