"""The wallet's answers to one Terminate, for the tests of what they mean."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from bridge.outcome import BridgeError, GrpcCode
from bridge.transcoding.operation import Operation, operations
from bridge.transcoding.verdict import Answer, Classifier, CodeRule, Verdict
from wallet.v1 import wallet_service_pb2
from wallet.v1.wallet_service_pb2 import TerminateRequest

TERMINATE = operations(wallet_service_pb2.DESCRIPTOR.services_by_name["WalletService"])[0]
TOKEN = "3dc8fe01-2018-486e-9632-35aef21028a5"
REQUEST = TerminateRequest(token=TOKEN, player_id=5, site_id=1, provider_id=2, game_id="example", currency="EUR")
REQUEST_ID = "89aac521-7a56-4ad1-8310-1ed2bbf9e55d"

# The wallet's page, "Success Response", for the ids of this request.
SUCCESS: dict[str, Any] = {
    "status": True,
    "code": 1,
    "message": "",
    "request_id": REQUEST_ID,
    "token": TOKEN,
    "player_id": 5,
    "game_id": "example",
    "site_id": "1",
    "provider_id": 2,
    "balance": 22085.75,
}
HTML = b"<html><h1>502 Bad Gateway</h1></html>"


def body_of(fields: Mapping[str, Any], **changes: Any) -> bytes:
    """Return a body with these members, some of them changed."""
    return json.dumps({**fields, **changes}).encode()


def success(**changes: Any) -> bytes:
    """Return the body of a success, some members changed."""
    return body_of(SUCCESS, **changes)


def failure(code: Any, *, status: Any = False, **more: Any) -> bytes:
    """Return a body as the wallet fails: the envelope only (docs/design/wallet.md, "Codes")."""
    return body_of({"status": status, "code": code, "message": "no", "request_id": REQUEST_ID}, **more)


NO_CODES: Mapping[int, CodeRule] = {}
# What an operator may know about the wallet's codes.
MAPPED, BARE, DONE, MAPPED_UNKNOWN = 7, 8, 9, 2
CODES = {
    MAPPED: CodeRule(GrpcCode.NOT_FOUND, "TOKEN_NOT_FOUND"),
    BARE: CodeRule(GrpcCode.ABORTED),
    DONE: CodeRule(GrpcCode.OK),
    MAPPED_UNKNOWN: CodeRule(GrpcCode.INTERNAL, "WALLET_BROKEN"),
}


def verdict_on(
    http_status: int,
    body: bytes,
    headers: Mapping[str, str] | None = None,
    *,
    codes: Mapping[int, CodeRule] = NO_CODES,
    operation: Operation = TERMINATE,
) -> Verdict:
    """Return the verdict on an answer to REQUEST, or raise the error that it means."""
    return Classifier(operation, codes).classify(REQUEST, Answer(http_status, body, headers or {}))


def error_on(http_status: int, body: bytes, headers: Mapping[str, str] | None = None, **more: Any) -> BridgeError:
    """Return the error that an answer to REQUEST means."""
    with pytest.raises(BridgeError) as raised:
        verdict_on(http_status, body, headers, **more)
    return raised.value
