"""The operator's table of codes: what it may explain, and what it may not explain away."""

from dataclasses import replace
from typing import Any

import pytest

from bridge.errors import (
    WalletEchoMismatch,
    WalletFailed,
    WalletInconsistent,
    WalletRejected,
    WalletResponseInvalid,
    WalletUnavailable,
    WalletUnknownError,
)
from bridge.outcome import BridgeError, GrpcCode, Outcome
from tests.support.verdict_answers import (
    BARE,
    CODES,
    DONE,
    HTML,
    MAPPED,
    MAPPED_UNKNOWN,
    REQUEST,
    REQUEST_ID,
    TERMINATE,
    TOKEN,
    error_on,
    failure,
    success,
    verdict_on,
)

# Every HTTP status whose own row stands below WALLET_UNAVAILABLE: throttled, auth, endpoint, failed, rejected.
STATUSES = (429, 401, 403, 302, 404, 405, 415, 500, 502, 400, 409, 422, 418, 200)


@pytest.mark.parametrize("http_status", STATUSES)
def test_a_mapped_code_wins_over_the_http_status(http_status: int) -> None:
    """The operator's gRPC code and reason take the row's place; the wallet said no."""
    error = error_on(http_status, failure(MAPPED), codes=CODES)
    assert (type(error), error.grpc_code, error.reason) == (WalletRejected, GrpcCode.NOT_FOUND, "TOKEN_NOT_FOUND")
    assert error.outcome is Outcome.REJECTED
    assert error.wallet.code == MAPPED


def test_a_code_may_be_mapped_without_a_reason() -> None:
    """Then the reason stays WALLET_REJECTED."""
    error = error_on(500, failure(BARE), codes=CODES)
    assert (error.grpc_code, error.reason) == (GrpcCode.ABORTED, "WALLET_REJECTED")


@pytest.mark.parametrize("http_status", STATUSES)
def test_code_2_stays_unknown_however_it_is_mapped(http_status: int) -> None:
    """The page calls code 2 an unknown error: a mapping names it, and cannot make it certain."""
    error = error_on(http_status, failure(MAPPED_UNKNOWN), codes=CODES)
    assert (type(error), error.grpc_code, error.reason) == (WalletFailed, GrpcCode.INTERNAL, "WALLET_BROKEN")
    assert error.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("http_status", "body", "kind"),
    [
        (503, failure(MAPPED), WalletUnavailable),
        (503, failure(MAPPED_UNKNOWN), WalletUnavailable),
        (503, failure(DONE), WalletUnavailable),
        (200, success(code=MAPPED), WalletInconsistent),
        (500, success(code=MAPPED), WalletInconsistent),
        (200, success(code=DONE), WalletInconsistent),
        (201, failure(DONE), WalletInconsistent),
        (200, failure(MAPPED, message=None), WalletResponseInvalid),
        (200, failure(DONE, status=None), WalletResponseInvalid),
        (200, success(player_id=6), WalletEchoMismatch),
    ],
    ids=str,
)
def test_a_mapping_explains_nothing_away(http_status: int, body: bytes, kind: type[BridgeError]) -> None:
    """503 with a wallet body, a contradiction, an unreadable answer and a wrong echo stay what they are."""
    assert type(error_on(http_status, body, codes=CODES)) is kind


@pytest.mark.parametrize("http_status", [200, 418, 500])
def test_an_unmapped_code_is_checked_as_ever(http_status: int) -> None:
    """A table with other codes changes nothing."""
    unmapped = failure(1234)
    assert type(error_on(http_status, unmapped, codes=CODES)) is type(error_on(http_status, unmapped))


def test_a_mapped_answer_may_ask_for_a_delay() -> None:
    """Retry-After survives the mapping; where there is none, none is made up."""
    assert error_on(429, failure(MAPPED), {"retry-after": "7"}, codes=CODES).retry_after_s == 7.0
    assert error_on(429, failure(MAPPED), codes=CODES).retry_after_s is None


@pytest.mark.parametrize("http_status", STATUSES)
def test_a_code_may_mean_that_it_was_done_before(http_status: int) -> None:
    """The response has the wallet's code, message and request_id, and the request's echoes; nothing has drifted."""
    verdict = verdict_on(http_status, failure(DONE), codes=CODES)
    response: Any = verdict.response
    assert (response.code, response.message, response.request_id) == (DONE, "no", REQUEST_ID)
    assert (response.token, response.player_id, response.site_id, response.provider_id) == (TOKEN, 5, 1, 2)
    assert (response.game_id, response.HasField("balance")) == ("", False)
    assert verdict.missing == ()
    assert (verdict.facts.http_status, verdict.facts.code) == (http_status, DONE)


def test_without_idempotency_nothing_was_done_before() -> None:
    """An operation that may not be retried cannot have been done already: the mapping does not count."""
    once = replace(TERMINATE, idempotent=False)
    assert type(error_on(200, failure(DONE), codes=CODES, operation=once)) is WalletRejected
    assert type(error_on(500, failure(DONE), codes=CODES, operation=once)) is WalletFailed
    assert error_on(500, failure(MAPPED), codes=CODES, operation=once).reason == "TOKEN_NOT_FOUND"


def test_an_echo_that_is_there_must_still_be_right() -> None:
    """Only what the answer leaves out is taken from the request."""
    error = error_on(409, failure(DONE, player_id=6), codes=CODES)
    assert (type(error), error.cause) == (WalletEchoMismatch, "player_id")
    assert verdict_on(409, failure(DONE, player_id=5), codes=CODES).facts.code == DONE


def test_a_field_of_another_type_is_still_invalid() -> None:
    """A mapped success is read as strictly as any other."""
    error = error_on(409, failure(DONE, balance="much"), codes=CODES)
    assert (type(error), error.cause) == (WalletResponseInvalid, "balance: must be a number of 0 or more")


def test_the_request_is_not_touched() -> None:
    """Echoes are copied out of the request, not moved."""
    before = REQUEST.SerializeToString()
    verdict_on(409, failure(DONE), codes=CODES)
    assert REQUEST.SerializeToString() == before


def test_html_has_no_code() -> None:
    """Without a wallet body there is nothing to map."""
    assert type(error_on(500, HTML, codes=CODES)) is type(error_on(500, HTML))
    assert type(error_on(500, failure(MAPPED_UNKNOWN))) is WalletUnknownError
