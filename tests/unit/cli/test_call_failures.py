"""How `bridge call` prints a failure: every detail decoded, whatever a peer sends."""

import json

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.error_details_pb2 import Help
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import BridgeDraining, InvalidRequest, WalletThrottled, WalletUnknownError
from bridge.outcome import Violation, WalletFacts
from bridge.transcoding.status import wire_status
from tests.support.fake_channel import CALL_ID, Terminated, failed
from wallet.v1.wallet_service_pb2 import TerminateResponse

DETAILS = "grpc-status-details-bin"


def failed_with_details(*details: Message) -> Terminated:
    """Call something that fails with INTERNAL and these details."""
    status = Status(code=13)
    for detail in details:
        status.details.add().Pack(detail)
    trailers = ((DETAILS, status.SerializeToString()),)
    return Terminated(code=grpc.StatusCode.INTERNAL, message="No.", trailers=trailers)


THROTTLED = WalletThrottled(wallet=WalletFacts(429, 9429, "Too many requests.", "4d5a42b3"), retry_after_s=7.5)


def test_failure_is_printed_with_all_details() -> None:
    """A failure is its code, message, every detail with its fields, the trailers that matter, and exit code 1."""
    call = failed(THROTTLED)
    assert call.exit_code == 1
    assert call.text == (
        "code: RESOURCE_EXHAUSTED\n"
        f"message: {wire_status(THROTTLED, CALL_ID).message}\n"
        "wallet.v1.WalletError:\n"
        "  outcome: OUTCOME_REJECTED\n"
        "  reason: WALLET_THROTTLED\n"
        "  code: 9429\n"
        "  message: Too many requests.\n"
        "  request_id: 4d5a42b3\n"
        "  http_status: 429\n"
        "  call_id: call-7\n"
        "google.rpc.ErrorInfo:\n"
        "  reason: WALLET_THROTTLED\n"
        "  domain: wallet-bridge\n"
        "  metadata.attempts: 0\n"
        "  metadata.call_id: call-7\n"
        "  metadata.code: 9429\n"
        "  metadata.http_status: 429\n"
        "  metadata.message: Too many requests.\n"
        "  metadata.outcome: REJECTED\n"
        "  metadata.request_id: 4d5a42b3\n"
        "google.rpc.RequestInfo:\n"
        "  request_id: 4d5a42b3\n"
        "google.rpc.RetryInfo:\n"
        "  retry_delay.seconds: 7\n"
        "  retry_delay.nanos: 500000000\n"
        "wallet-call-id: call-7\n"
        "wallet-request-id: 4d5a42b3\n"
    )


def test_violations_are_printed_one_by_one() -> None:
    """BadRequest shows each field at fault with what it must be."""
    violations = (Violation("token", "is required"), Violation("player_id", "is required"))
    assert failed(InvalidRequest(violations=violations)).text.endswith(
        "google.rpc.BadRequest:\n"
        "  field_violations[0].field: token\n"
        "  field_violations[0].description: is required\n"
        "  field_violations[1].field: player_id\n"
        "  field_violations[1].description: is required\n"
        "wallet-call-id: call-7\n"
    )


def test_the_words_to_clients_and_meshes_are_printed() -> None:
    """The trailers that forbid a blind retry, and by which a mesh knows the bridge's own UNAVAILABLE, are shown."""
    assert failed(WalletUnknownError()).text.endswith("\ngrpc-retry-pushback-ms: -1\n")
    assert failed(BridgeDraining()).text.endswith("\nwallet-safe-to-repeat: true\n")


def test_failure_as_json() -> None:
    """With --json a failure is one object, its details in protobuf's JSON form of Any, 64-bit numbers bare."""
    failure = json.loads(failed(THROTTLED, "--json").text)
    assert (failure["code"], failure["message"]) == ("RESOURCE_EXHAUSTED", wire_status(THROTTLED, CALL_ID).message)
    assert failure["details"][0] == {
        "@type": "type.googleapis.com/wallet.v1.WalletError",
        "outcome": "OUTCOME_REJECTED",
        "reason": "WALLET_THROTTLED",
        "code": 9429,
        "message": "Too many requests.",
        "request_id": "4d5a42b3",
        "http_status": 429,
        "call_id": "call-7",
    }
    assert failure["details"][1]["metadata"]["outcome"] == "REJECTED"
    assert failure["trailers"] == {"wallet-call-id": "call-7", "wallet-request-id": "4d5a42b3"}


def test_detail_of_another_type_is_decoded() -> None:
    """A detail that the bridge never sends, but something in front of it may, is shown by its fields too."""
    call = failed_with_details(Help(links=[{"description": "why", "url": "https://x.example"}]), Duration(seconds=1))
    assert "google.rpc.Help:\n  links[0].description: why\n  links[0].url: https://x.example\n" in call.text
    assert "google.protobuf.Duration:\n  seconds: 1\n" in call.text


UNKNOWN_TYPE, MALFORMED = Status(), Status()
UNKNOWN_TYPE.details.add(type_url="types.example/other.v1.Thing", value=b"abc")
MALFORMED.details.add(type_url="type.googleapis.com/wallet.v1.WalletError", value=b"\xff")
MALFORMED.details.add().Pack(StringValue(value="next"))
STRANGE: dict[str, tuple[bytes | None, str]] = {
    "a detail of an unknown type is reported by its type URL and its length": (
        UNKNOWN_TYPE.SerializeToString(),
        "types.example/other.v1.Thing: 3 bytes of a type that is not known here\n",
    ),
    "a detail that is not of its type is one line, and the others are still shown": (
        MALFORMED.SerializeToString(),
        "wallet.v1.WalletError: malformed\ngoogle.protobuf.StringValue:\n  value: next\n",
    ),
    "details that are no status": (b"\xff", "google.rpc.Status: grpc-status-details-bin is malformed\n"),
    "no details": (None, "details: none, so this status is not of the bridge's making\n"),
}


@pytest.mark.parametrize(("details", "text"), STRANGE.values(), ids=STRANGE)
def test_strange_details(details: bytes | None, text: str) -> None:
    """Details that the bridge does not send are reported as what they are, after the code and the message."""
    trailers = () if details is None else ((DETAILS, details),)
    call = Terminated(code=grpc.StatusCode.ABORTED, message="No.", trailers=trailers)
    assert call.text == f"code: ABORTED\nmessage: No.\n{text}"


@given(serialized=st.binary(), value=st.binary())
def test_no_details_break_the_command(serialized: bytes, value: bytes) -> None:
    """Whatever bytes come as details, the result is printable lines and exit code 1."""
    status = Status()
    status.details.add(type_url="type.googleapis.com/google.rpc.BadRequest", value=value)
    for details in (serialized, status.SerializeToString()):
        call = Terminated(code=grpc.StatusCode.UNKNOWN, trailers=((DETAILS, details),))
        assert call.exit_code == 1
        assert all(line.isprintable() for line in call.text.split("\n"))


HOSTILE = "\x1b[31mred\r\nOK\x7f\x9b\u202eleft\U000e0001"


def test_control_characters_are_escaped() -> None:
    """Escape sequences, line breaks and direction marks reach no terminal, by an answer or by a failure."""
    escaped = r"\u001b[31mred\u000d\u000aOK\u007f\u009b\u202eleft\udb40\udc01"
    answered = Terminated(response=TerminateResponse(message=HOSTILE), trailers=(("wallet-call-id", HOSTILE),))
    assert answered.text == f"message: {escaped}\nwallet-call-id: {escaped}\n"
    failure = failed_with_details(StringValue(value=HOSTILE))
    assert failure.text.endswith(f"\n  value: {escaped}\n")


def test_control_characters_in_json() -> None:
    """JSON carries the same text as escapes."""
    trailers = (("wallet-call-id", HOSTILE),)
    text = Terminated("--json", response=TerminateResponse(message=HOSTILE), trailers=trailers).text
    assert text.removesuffix("\n").isprintable()
    assert json.loads(text) == {"message": HOSTILE, "@call_id": HOSTILE}
