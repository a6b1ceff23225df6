"""Every answer of docs/design/contract.md, "Failures", and docs/design/faults.md, "Answer", over a real socket."""

import gzip
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from bridge.sandbox.behaviours import answer, terminated_with
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour
from tests.support.engines import on_both_engines
from tests.support.whole_path import TOKEN, Failure, bridge_to

pytestmark = [on_both_engines, pytest.mark.short("grpcio")]

REQUEST_ID = "4d5a42b3-62ec-40cb-b5e9-b338f194ce60"
PAGE = b"<html><body>Bad gateway</body></html>"
JSON_TYPE = ("content-type", "application/json")


def says(http_status: int, *headers: tuple[str, str], **members: Any) -> Behaviour:
    """Answer with the wallet's failure body, changed by these members."""
    body = {"status": False, "code": 77, "message": "No.", "request_id": REQUEST_ID} | members
    return answer(http_status, json.dumps(body).encode(), (JSON_TYPE, *headers))


def page(http_status: int, *headers: tuple[str, str]) -> Behaviour:
    """Answer as something in front of the wallet does."""
    return answer(http_status, PAGE, (("content-type", "text/html"), *headers))


def reported(grpc_code: str, reason: str, outcome: str, http_status: int, **facts: Any) -> Failure:
    """Return the failure of a wallet that answered with its code, message and request_id."""
    said = Failure(grpc_code, reason, outcome, http_status, code=77, message="No.", request_id=REQUEST_ID)
    return replace(said, **facts)


def throttled(retry_after_s: int, *headers: tuple[str, str]) -> tuple[Behaviour, Failure]:
    """Return an answer 429, and the failure that asks for the delay."""
    failure = reported("RESOURCE_EXHAUSTED", "WALLET_THROTTLED", "REJECTED", 429, retry_after_s=retry_after_s)
    return says(429, *headers), failure


NOT_JSON = "not JSON"
DAY = "Sun, 22 Nov 2026"
UNKNOWN_ERROR = {"code": 2, "message": "An unknown error has occurred."}

ROWS: dict[str, tuple[Behaviour, Failure]] = {
    "unavailable": (says(503), reported("UNAVAILABLE", "WALLET_UNAVAILABLE", "REJECTED", 503)),
    "unavailable, retry after": (
        says(503, ("retry-after", "3")),
        reported("UNAVAILABLE", "WALLET_UNAVAILABLE", "REJECTED", 503, retry_after_s=3),
    ),
    "throttled": throttled(7, ("retry-after", "7")),
    "throttled for too long": (
        page(429, ("retry-after", "3600")),
        Failure("RESOURCE_EXHAUSTED", "WALLET_THROTTLED", "REJECTED", 429, retry_after_s=60),
    ),
    "throttled until a date": throttled(9, ("date", f"{DAY} 10:00:00 GMT"), ("retry-after", f"{DAY} 10:00:09 GMT")),
    "throttled until a date, without Date": throttled(60, ("retry-after", "Fri, 01 Jan 2100 00:00:00 GMT")),
    "throttled until a past date, without Date": throttled(0, ("retry-after", "Sun, 22 Nov 2015 10:00:00 GMT")),
    "throttled, two delays named": throttled(1, ("retry-after", "7"), ("retry-after", "8")),
    "throttled, no delay named": throttled(1),
    "401": (says(401), reported("INTERNAL", "WALLET_AUTH_REJECTED", "REJECTED", 401)),
    "403 page, as for an IP": (page(403), Failure("INTERNAL", "WALLET_AUTH_REJECTED", "REJECTED", 403)),
    **{
        f"{status} page": (
            page(status, ("location", "/elsewhere")),
            Failure("INTERNAL", "WALLET_ENDPOINT", "REJECTED", status, cause=str(status)),
        )
        for status in (302, 308, 404, 405, 411, 413, 414, 415, 417, 421, 431)
    },
    "code 2": (
        says(500, **UNKNOWN_ERROR),
        reported("UNKNOWN", "WALLET_UNKNOWN_ERROR", "UNKNOWN", 500, **UNKNOWN_ERROR),
    ),
    **{
        f"{status} page": (page(status), Failure("UNKNOWN", "WALLET_GATEWAY_ERROR", "UNKNOWN", status, cause=NOT_JSON))
        for status in (500, 502, 503, 504)
    },
    **{
        f"rejected with {status}": (says(status), reported(grpc_code, "WALLET_REJECTED", "REJECTED", status))
        for status, grpc_code in {
            200: "FAILED_PRECONDITION",
            400: "INVALID_ARGUMENT",
            402: "FAILED_PRECONDITION",
            404: "NOT_FOUND",
            409: "ABORTED",
            410: "FAILED_PRECONDITION",
            422: "INVALID_ARGUMENT",
        }.items()
    },
    "failed with 500": (says(500), reported("UNKNOWN", "WALLET_REJECTED", "UNKNOWN", 500)),
    "a huge code": (says(409, code=2**64 - 1), reported("ABORTED", "WALLET_REJECTED", "REJECTED", 409, code=2**64 - 1)),
    "200, true, not code 1": (says(200, status=True), reported("INTERNAL", "WALLET_INCONSISTENT", "UNKNOWN", 200)),
    "409, true": (says(409, status=True, code=1), reported("INTERNAL", "WALLET_INCONSISTENT", "UNKNOWN", 409, code=1)),
    "503, true": (says(503, status=True, code=1), reported("INTERNAL", "WALLET_INCONSISTENT", "UNKNOWN", 503, code=1)),
    "200, false, code 1": (says(200, code=1), reported("INTERNAL", "WALLET_INCONSISTENT", "UNKNOWN", 200, code=1)),
    "400 page": (page(400), Failure("INTERNAL", "WALLET_RESPONSE_INVALID", "UNKNOWN", 400, cause=NOT_JSON)),
}


@pytest.mark.parametrize(("behaviour", "failure"), ROWS.values(), ids=ROWS)
@pytest.mark.short(
    "grpcio", "native-throttled", "native-401", "native-code 2", "native-502 page", "native-rejected with 409"
)
async def test_failure_is_reported_in_every_place(behaviour: Behaviour, failure: Failure) -> None:
    """A failing answer gives the code, details and trailers of its row, after one POST."""
    async with FaultServer(behaviour) as wallet, bridge_to(wallet.url) as caller:
        failure.check(await caller.terminate())
        assert len(wallet.requests) == 1


async def test_throttled_until_a_date_of_an_answer_without_date() -> None:
    """Retry-After as a date counts from the receipt of the answer where that has no Date, by this machine's clock."""
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=50), usegmt=True)
    async with FaultServer(page(429, ("retry-after", until))) as wallet, bridge_to(wallet.url) as caller:
        end = await caller.terminate()
    assert 5 < end.details["RetryInfo"].retry_delay.ToTimedelta().total_seconds() <= 50


def success(**changes: str) -> bytes:
    """Return the page's success with these members as JSON texts; an empty text leaves the member out."""
    members = {
        "status": "true",
        "code": "1",
        "message": '""',
        "request_id": json.dumps(REQUEST_ID),
        "token": json.dumps(TOKEN),
        "player_id": "1",
        "game_id": '"example"',
        "site_id": '"1"',
        "provider_id": "1",
        "balance": "22085.75",
    }
    return ("{" + ",".join(f'"{name}":{text}' for name, text in (members | changes).items() if text) + "}").encode()


DEEP = "[" * 30_000 + "]" * 30_000
WHOLE, RANGE, DECIMAL = "must be a whole number", "number out of range", "must be a number of 0 or more"
OWN_FIELDS = ("player_id: ", "balance: ")
INVALID: dict[str, tuple[bytes, str]] = {
    "uint64 2^64": (success(player_id=str(2**64)), f"player_id: {RANGE}"),
    "uint64 -1": (success(player_id="-1"), f"player_id: {RANGE}"),
    "uint64 1.0": (success(player_id="1.0"), f"player_id: {WHOLE}"),
    "uint64 1e3": (success(player_id="1e3"), f"player_id: {WHOLE}"),
    "uint64 true": (success(player_id="true"), f"player_id: {WHOLE}"),
    "uint64 null": (success(player_id="null"), f"player_id: {WHOLE}"),
    "echo missing": (success(player_id=""), "player_id: is missing"),
    "uint64 5000 digits": (success(player_id="1" * 5000), f"player_id: {WHOLE}"),
    "balance NaN": (success(balance="NaN"), NOT_JSON),
    'balance "NaN"': (success(balance='"NaN"'), f"balance: {DECIMAL}"),
    "balance Infinity": (success(balance="Infinity"), NOT_JSON),
    "balance -1": (success(balance="-1"), f"balance: {DECIMAL}"),
    "balance 1E+400": (success(balance="1E+400"), f"balance: {DECIMAL}"),
    "BOM": (b"\xef\xbb\xbf" + success(), NOT_JSON),
    "invalid UTF-8": (success(message='"\xff"').replace("\xff".encode(), b"\xff"), "not UTF-8"),
    "lone surrogate": (success(message='"\\ud800"'), "lone surrogate"),
    "nested too deep": (success(more=DEEP), "nested too deep"),
    "duplicate key": (success(more='1,"player_id":2'), "duplicate key"),
    "trailing bytes": (success() + b"}", NOT_JSON),
    "empty body": (b"", NOT_JSON),
    "not an object": (b"[" + success() + b"]", "not a JSON object"),
    "status no boolean": (success(status='"true"'), "status: must be true or false"),
    "status missing": (success(status=""), "status: is missing"),
    "code missing": (success(code=""), "code: is missing"),
    "message no string": (success(message="null"), "message: must be a string"),
    "1 MB": (success(more=json.dumps("x" * 1_000_000)), "over the size limit"),
    "one byte over 64 KiB": (success().ljust(64 * 1024 + 1), "over the size limit"),
}


@pytest.mark.parametrize(("body", "cause"), INVALID.values(), ids=INVALID)
async def test_invalid_answer(body: bytes, cause: str) -> None:
    """A 200 that cannot be read is WALLET_RESPONSE_INVALID with outcome UNKNOWN, and its cause is named."""
    async with FaultServer(answer(200, body)) as wallet, bridge_to(wallet.url) as caller:
        end = await caller.terminate()
    # Where the envelope could be read, its code and request_id are passed on.
    facts: dict[str, Any] = {"code": 1, "request_id": REQUEST_ID} if cause.startswith(OWN_FIELDS) else {}
    Failure("INTERNAL", "WALLET_RESPONSE_INVALID", "UNKNOWN", 200, cause=cause, **facts).check(end)


@pytest.mark.parametrize("encoding", ["gzip", "br", "x-made-up"])
async def test_encoded_answer_is_never_decoded(encoding: str) -> None:
    """An answer with a content-encoding is invalid, whatever it holds: also the first 32 KiB of a bomb, of 7 MB."""
    body = gzip.compress(bytes(10_000_000), compresslevel=1)[: 32 * 1024]
    behaviour = answer(200, body, (JSON_TYPE, ("content-encoding", encoding)))
    async with FaultServer(behaviour) as wallet, bridge_to(wallet.url) as caller:
        end = await caller.terminate()
    Failure("INTERNAL", "WALLET_RESPONSE_INVALID", "UNKNOWN", 200, cause="content-encoding").check(end)


ECHOES: dict[str, Any] = {"token": "another", "player_id": 2, "site_id": "2", "provider_id": 12345}


@pytest.mark.parametrize(("name", "value"), ECHOES.items(), ids=ECHOES)
async def test_echo_of_another(name: str, value: Any) -> None:
    """A success that is about something else is WALLET_ECHO_MISMATCH, and the field is named."""
    async with FaultServer(terminated_with(**{name: value})) as wallet, bridge_to(wallet.url) as caller:
        end = await caller.terminate()
    request_id = end.wallet_error.request_id
    Failure("DATA_LOSS", "WALLET_ECHO_MISMATCH", "UNKNOWN", 200, code=1, request_id=request_id, cause=name).check(end)
    assert request_id


async def test_echo_of_another_is_worse_than_one_missing() -> None:
    """An answer that lacks one echo and differs in another is about another player: that is what its caller learns."""
    body = success(token="", provider_id="12345")
    async with FaultServer(answer(200, body)) as wallet, bridge_to(wallet.url) as caller:
        end = await caller.terminate()
    assert (end.error_info.reason, end.error_info.metadata["cause"]) == ("WALLET_ECHO_MISMATCH", "provider_id")


HOSTILE = "line\nbreak \x1b[31mred\x1b[0m \u202egnol \U0001f4a5" + "\U0001f4a5" * 12_000


async def test_hostile_message_is_cut_and_cleaned() -> None:
    """A message of 48 kB with line breaks and escapes loses them, keeps 256 characters and stays within the budget."""
    behaviour = answer(409, json.dumps({"status": False, "code": 77, "message": HOSTILE}, ensure_ascii=False).encode())
    async with FaultServer(behaviour) as wallet, bridge_to(wallet.url) as caller:
        end = await caller.terminate()
    cleaned = "line break [31mred[0m gnol \U0001f4a5" + "\U0001f4a5" * 300
    Failure("ABORTED", "WALLET_REJECTED", "REJECTED", 409, code=77, message=cleaned[:256]).check(end)


EXACT = "123456789012345678901234567.891"
ACCEPTED: dict[str, tuple[bytes, dict[str, Any]]] = {
    "the page's own": (success(), {"site_id": 1, "game_id": "example", "balance": "22085.75"}),
    "site_id as a number": (success(site_id="1"), {"site_id": 1}),
    "game_id as a number": (success(game_id="4711"), {"game_id": "4711"}),
    "balance 0": (success(balance="0"), {"balance": "0"}),
    "balance 1e2": (success(balance="1e2"), {"balance": "1e2"}),
    "balance 0.10": (success(balance="0.10"), {"balance": "0.10"}),
    "balance": (success(balance="123456789012345678901234567.891"), {"balance": "123456789012345678901234567.891"}),
    "exactly 64 KiB": (success().ljust(64 * 1024), {"code": 1}),
    "unknown members": (success(more='{"deep":[1,2.5,null]}'), {"code": 1}),
    "empty texts": (success(request_id="", message="", balance=""), {"request_id": "", "balance": ""}),
}


@pytest.mark.parametrize(("body", "fields"), ACCEPTED.values(), ids=ACCEPTED)
async def test_accepted_answer(body: bytes, fields: dict[str, Any]) -> None:
    """A success in any form that the wallet is known to use is OK, exact to the last digit."""
    async with FaultServer(answer(200, body)) as wallet, bridge_to(wallet.url) as caller:
        end = await caller.terminate()
    assert end.code == "OK"
    assert end.response is not None
    found = {name: getattr(end.response, name) for name in fields}
    if "balance" in found:
        found["balance"] = found["balance"].value
    assert found == fields
    assert end.response.token == TOKEN
