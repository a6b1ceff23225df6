"""What the wallet's answers mean: each row of docs/design/contract.md, "Failures", from WALLET_UNAVAILABLE down."""

from collections.abc import Mapping
from typing import Any

import pytest

from bridge.errors import (
    WalletAuthRejected,
    WalletEchoMismatch,
    WalletEndpoint,
    WalletFailed,
    WalletGatewayError,
    WalletInconsistent,
    WalletRejected,
    WalletResponseInvalid,
    WalletThrottled,
    WalletUnavailable,
    WalletUnknownError,
)
from bridge.outcome import BridgeError, WalletFacts
from bridge.transcoding.verdict import Answer, Classifier
from tests.support.verdict_answers import (
    HTML,
    REQUEST,
    REQUEST_ID,
    SUCCESS,
    TERMINATE,
    body_of,
    error_on,
    failure,
    success,
    verdict_on,
)

# Error class -> reason, outcome, and the gRPC code unless the case says another.
ROWS: dict[type[BridgeError], tuple[str, str, str]] = {
    WalletUnavailable: ("WALLET_UNAVAILABLE", "REJECTED", "UNAVAILABLE"),
    WalletThrottled: ("WALLET_THROTTLED", "REJECTED", "RESOURCE_EXHAUSTED"),
    WalletAuthRejected: ("WALLET_AUTH_REJECTED", "REJECTED", "INTERNAL"),
    WalletEndpoint: ("WALLET_ENDPOINT", "REJECTED", "INTERNAL"),
    WalletUnknownError: ("WALLET_UNKNOWN_ERROR", "UNKNOWN", "UNKNOWN"),
    WalletGatewayError: ("WALLET_GATEWAY_ERROR", "UNKNOWN", "UNKNOWN"),
    WalletRejected: ("WALLET_REJECTED", "REJECTED", "FAILED_PRECONDITION"),
    WalletFailed: ("WALLET_REJECTED", "UNKNOWN", "UNKNOWN"),
    WalletInconsistent: ("WALLET_INCONSISTENT", "UNKNOWN", "INTERNAL"),
    WalletEchoMismatch: ("WALLET_ECHO_MISMATCH", "UNKNOWN", "DATA_LOSS"),
    WalletResponseInvalid: ("WALLET_RESPONSE_INVALID", "UNKNOWN", "INTERNAL"),
}

# (HTTP status, body) -> error class and, where they are not the class's own, cause and gRPC code.
Case = tuple[int, bytes, type[BridgeError], str, str]


def row(error: type[BridgeError], http_status: int, body: bytes, cause: str = "", grpc_code: str = "") -> Case:
    """Return a case."""
    return http_status, body, error, cause, grpc_code


def without_wallet_body(error: type[BridgeError], *statuses: int, cause: str = "") -> dict[str, Case]:
    """Return cases of a page that is not the wallet's."""
    return {f"{status} HTML: {error.reason}": row(error, status, HTML, cause) for status in statuses}


def success_without(*names: str) -> bytes:
    """Return the body of a success that lacks these members."""
    return body_of({each: value for each, value in SUCCESS.items() if each not in names})


def with_code(error: type[BridgeError], code: int, *statuses: int, grpc_code: str = "") -> dict[str, Case]:
    """Return cases of status false with this code."""
    return {
        f"{status} code {code}: {error.reason}": row(error, status, failure(code), grpc_code=grpc_code)
        for status in statuses
    }


def contradictions(*answers: tuple[int, int], status: bool) -> dict[str, Case]:
    """Return cases of answers that disagree with themselves: (HTTP status, code) of each."""
    return {
        f"{http_status} {status} {code}: disagree": row(
            WalletInconsistent, http_status, success(code=code) if status else failure(code)
        )
        for http_status, code in answers
    }


NOT_JSON = (200, 201, 204, 400, 402, 406, 408, 409, 410, 412, 416, 418, 422, 426, 499)

CASES: dict[str, Case] = {
    **with_code(WalletUnavailable, 7, 503),
    **with_code(WalletUnavailable, 2, 503),
    **with_code(WalletThrottled, 7, 429),
    **with_code(WalletThrottled, 2, 429),
    **without_wallet_body(WalletThrottled, 429),
    **with_code(WalletAuthRejected, 7, 401, 403),
    **with_code(WalletAuthRejected, 2, 401, 403),
    **without_wallet_body(WalletAuthRejected, 401, 403),
    **{
        f"{status} code 7: WALLET_ENDPOINT": row(WalletEndpoint, status, failure(7), str(status))
        for status in (300, 302, 399)
    },
    **{
        f"{status} HTML: WALLET_ENDPOINT": row(WalletEndpoint, status, HTML, str(status))
        for status in (300, 301, 302, 304, 307, 308, 399, 404, 405, 411, 413, 414, 415, 417, 421, 431)
    },
    **with_code(WalletUnknownError, 2, 500, 200, 400, 404, 409, 502, 599),
    **without_wallet_body(WalletGatewayError, 500, 501, 502, 503, 504, 599, cause="not JSON"),
    **with_code(WalletRejected, 7, 400, 422, grpc_code="INVALID_ARGUMENT"),
    **with_code(WalletRejected, 7, 404, grpc_code="NOT_FOUND"),
    **with_code(WalletRejected, 7, 409, grpc_code="ABORTED"),
    **with_code(WalletRejected, 7, 200, 402, 405, 411, 413, 414, 415, 417, 418, 421, 431, 451, 499),
    **with_code(WalletRejected, 0, 200, 418),
    **with_code(WalletRejected, 2**64 - 1, 200),
    **with_code(WalletFailed, 7, 500, 501, 502, 504, 599),
    **contradictions((200, 0), (200, 2), (200, 7), (201, 1), (302, 1), (400, 1), (401, 7), (429, 7), status=True),
    **contradictions((500, 1), (503, 7), status=True),
    **contradictions((200, 1), (201, 7), (404, 1), (500, 1), (503, 1), status=False),
    **without_wallet_body(WalletResponseInvalid, *NOT_JSON, cause="not JSON"),
    **{
        f"200 {name}: WALLET_RESPONSE_INVALID": row(WalletResponseInvalid, 200, body, cause)
        for name, body, cause in (
            ("empty", b"", "not JSON"),
            ("array", b"[]", "not a JSON object"),
            ("duplicate key", b'{"status":true,"status":true}', "duplicate key"),
            ("not UTF-8", b'{"a":"\xff"}', "not UTF-8"),
            ("too deep", b'{"a":' * 100_000, "nested too deep"),
            ("NaN", success(balance=float("nan")), "not JSON"),
            ("lone surrogate", success(message="\ud800"), "lone surrogate"),
            ("no status", success_without("status"), "status: is missing"),
            ("status as text", success(status="true"), "status: must be true or false"),
            ("status as number", success(status=1), "status: must be true or false"),
            ("status null", success(status=None), "status: must be true or false"),
            ("no code", success_without("code"), "code: is missing"),
            ("code as fraction", success(code=1.0), "code: must be a whole number"),
            ("code too big", success(code=2**64), "code: number out of range"),
            ("code null", success(code=None), "code: must be a whole number"),
            ("message null", success(message=None), "message: must be a string"),
            ("request_id as object", success(request_id={}), "request_id: must be a string"),
            ("player_id negative", success(player_id=-5), "player_id: number out of range"),
            ("player_id as object", success(player_id={}), "player_id: must be a whole number"),
            ("token null", success(token=None), "token: must be a string"),
            ("balance as text", success(balance="1"), "balance: must be a number of 0 or more"),
            ("balance negative", success(balance=-1), "balance: must be a number of 0 or more"),
            ("failure without code", failure(None), "code: must be a whole number"),
        )
    },
    "500 without code: WALLET_GATEWAY_ERROR": row(WalletGatewayError, 500, b'{"error":"upstream"}', "code: is missing"),
    "503 without status: GATEWAY_ERROR": row(WalletGatewayError, 503, success_without("status"), "status: is missing"),
    "404 without status: WALLET_ENDPOINT": row(WalletEndpoint, 404, b'{"message":"Not Found"}', "404"),
    "413 not read to its end: WALLET_ENDPOINT": row(WalletEndpoint, 413, b"x" * 100_000, "413"),
    "code as text: WALLET_REJECTED": row(WalletRejected, 200, failure("7")),
    **{
        f"without {name}: WALLET_RESPONSE_INVALID": row(
            WalletResponseInvalid, 200, success_without(name), f"{name}: is missing"
        )
        for name in ("token", "player_id", "site_id", "provider_id")
    },
    **{
        f"another {name}: WALLET_ECHO_MISMATCH": row(WalletEchoMismatch, 200, success(**{name: other}), name)
        for name, other in (("token", ""), ("token", "else"), ("player_id", 6), ("site_id", "2"), ("provider_id", 0))
    },
}


@pytest.mark.parametrize(("http_status", "body", "kind", "cause", "grpc_code"), CASES.values(), ids=CASES)
def test_each_row_of_the_table(
    http_status: int, body: bytes, kind: type[BridgeError], cause: str, grpc_code: str
) -> None:
    """HTTP status and body decide class, reason, outcome, gRPC code and cause."""
    error = error_on(http_status, body)
    reason, outcome, usual_code = ROWS[kind]
    assert (type(error), error.reason, error.outcome.name) == (kind, reason, outcome)
    assert (error.grpc_code.name, error.cause) == (grpc_code or usual_code, cause)
    assert error.wallet.http_status == http_status


def test_every_class_of_the_table_has_a_case() -> None:
    """No row is left out."""
    assert {kind for _, _, kind, _, _ in CASES.values()} == set(ROWS)


def test_the_wallets_own_success_is_one() -> None:
    """200, status true and code 1 with every echo equal: the page's sample becomes the response."""
    verdict = verdict_on(200, success())
    response: Any = verdict.response
    assert {name: getattr(response, name) for name in ("code", "message", "request_id", "token")} == {
        name: SUCCESS[name] for name in ("code", "message", "request_id", "token")
    }
    assert (response.player_id, response.site_id, response.provider_id, response.game_id) == (5, 1, 2, "example")
    assert response.balance.value == "22085.75"
    assert verdict.facts == WalletFacts(http_status=200, code=1, message="", request_id=REQUEST_ID)
    assert (verdict.missing, verdict.unknown_count) == ((), 0)


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"game_id": 77}, "game_id", "77"),
        ({"site_id": 1}, "site_id", 1),
        ({"code": "1"}, "code", 1),
        ({"message": "line\n\x1b[31m"}, "message", "line\n\x1b[31m"),
    ],
    ids=["game_id as number", "site_id as number", "code as text", "message as it is"],
)
def test_the_page_is_read_tolerantly_where_it_contradicts_itself(
    changes: dict[str, Any], name: str, value: Any
) -> None:
    """A number or its text, for the fields of which the page says both (docs/design/wallet.md)."""
    assert getattr(verdict_on(200, success(**changes)).response, name) == value


@pytest.mark.parametrize(
    ("body", "missing", "unknown_count"),
    [
        (success_without("balance", "request_id", "message"), ("message", "request_id", "balance"), 0),
        (success_without("game_id"), ("game_id",), 0),
        (success(new=1, other={"a": []}), (), 2),
    ],
    ids=["three missing", "one missing", "two unknown"],
)
def test_drift_is_counted_and_harmless(body: bytes, missing: tuple[str, ...], unknown_count: int) -> None:
    """Fields that the page promises and the answer lacks, and those that is unknown, do not fail a terminate."""
    verdict = verdict_on(200, body)
    assert (verdict.missing, verdict.unknown_count) == (missing, unknown_count)
    assert not [name for name in missing if getattr(verdict.response, name) not in ("", 0) and name != "balance"]


@pytest.mark.parametrize("coding", ["gzip", "br", "gzip, identity", "x"])
def test_an_encoded_answer_is_not_read(coding: str) -> None:
    """We asked for identity: nothing is unpacked, whatever the body says."""
    error = error_on(200, success(), {"content-encoding": coding})
    assert (type(error), error.cause) == (WalletResponseInvalid, "content-encoding")


def test_identity_is_no_encoding() -> None:
    """An answer may say that it is as it is."""
    assert verdict_on(200, success(), {"content-encoding": "identity"}).facts.code == 1


@pytest.mark.parametrize(("http_status", "kind"), [(200, WalletResponseInvalid), (500, WalletGatewayError)])
def test_an_answer_over_the_limit_is_not_read(http_status: int, kind: type[BridgeError]) -> None:
    """What was cut is not classified by its beginning, even where that is a whole answer."""
    with pytest.raises(kind) as raised:
        Classifier(TERMINATE, {}).classify(REQUEST, Answer(http_status, success(), {}, is_cut=True))
    assert raised.value.cause == "over the size limit"


@pytest.mark.parametrize(
    ("http_status", "body", "headers", "delay_s"),
    [
        (429, HTML, {"retry-after": "7"}, 7.0),
        (429, failure(7), {"retry-after": "3600"}, 60.0),
        (429, HTML, {}, 1.0),
        (429, HTML, {"retry-after": "soon"}, 1.0),
        (429, HTML, {"retry-after": "0"}, 0.0),
        (503, failure(7), {"retry-after": "7"}, 7.0),
        (503, failure(7), {}, None),
        (503, HTML, {"retry-after": "7"}, None),
        (500, failure(7), {"retry-after": "7"}, None),
        (400, failure(7), {"retry-after": "7"}, None),
        (302, HTML, {"retry-after": "7"}, None),
    ],
    ids=str,
)
def test_the_delay_to_keep(http_status: int, body: bytes, headers: Mapping[str, str], delay_s: float | None) -> None:
    """Retry-After counts where the wallet itself says "later": 429, and 503 with a wallet body."""
    assert error_on(http_status, body, headers).retry_after_s == delay_s


def test_an_error_carries_what_the_wallet_said() -> None:
    """Code, message and request_id come as received; without a wallet body there is only the HTTP status."""
    said = WalletFacts(http_status=418, code=7, message="no", request_id=REQUEST_ID)
    assert error_on(418, failure(7)).wallet == said
    assert error_on(418, HTML).wallet == WalletFacts(http_status=418)


def test_a_failure_needs_neither_message_nor_request_id() -> None:
    """Status and code alone are a wallet body."""
    error = error_on(409, b'{"status":false,"code":7}')
    assert (type(error), error.wallet) == (WalletRejected, WalletFacts(http_status=409, code=7))
