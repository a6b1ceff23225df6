"""How an error goes over the wire: its details, its trailers, and the budget that hostile texts may not exceed."""

from typing import Any

import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import (
    BridgeOverloaded,
    InvalidRequest,
    WalletFailed,
    WalletRejected,
    WalletResponseInvalid,
    WalletThrottled,
    WalletTimeout,
    WalletUnreachable,
    leaves,
)
from bridge.outcome import BridgeError, GrpcCode, Outcome, Violation, WalletFacts
from bridge.transcoding.status import DETAILS_BYTES_MAX, WireStatus, clean, rich_status, wire_status
from wallet.v1 import wallet_error_pb2
from wallet.v1.wallet_error_pb2 import WalletError

FACTS = WalletFacts(http_status=418, code=7, message="no tea", request_id="r-1")
each_leaf = pytest.mark.parametrize("leaf", leaves(), ids=lambda leaf: leaf.__name__)

# gRPC: grpc-message is percent-encoded outside printable ASCII and for "%"; a binary trailer is base64.
METADATA_BYTES_MAX = 8 * 1024


# As long as an id may be: the budget must hold with it.
CALL_ID = "c" * 64


def wire(error: BridgeError) -> WireStatus:
    """Return what ends a call with this error and CALL_ID."""
    return wire_status(error, CALL_ID)


def details_of(error: BridgeError) -> dict[type[Message], Any]:
    """Return the details of an error by their type, in their order."""
    found: dict[type[Message], Any] = {}
    for detail in rich_status(error, CALL_ID).details:
        for kind in (WalletError, ErrorInfo, RequestInfo, RetryInfo, BadRequest):
            if detail.TypeName() == kind.DESCRIPTOR.full_name:
                message = kind()
                detail.Unpack(message)
                found[kind] = message
    assert len(found) == len(rich_status(error, CALL_ID).details)
    return found


def trailers_of(error: BridgeError) -> dict[str, Any]:
    """Return the trailers of an error by their names."""
    trailers = wire(error).trailers
    assert len(dict(trailers)) == len(trailers)
    return dict(trailers)


@each_leaf
def test_every_failure_has_the_same_two_details_first(leaf: type[BridgeError]) -> None:
    """WalletError and ErrorInfo say the same, in types and in text."""
    error = leaf(wallet=FACTS)
    error.attempts = 3
    details = details_of(error)
    assert list(details)[:2] == [WalletError, ErrorInfo]
    assert details[WalletError] == WalletError(
        outcome=wallet_error_pb2.Outcome.Value(f"OUTCOME_{leaf.outcome.name}"),
        reason=leaf.reason,
        code=7,
        message="no tea",
        request_id="r-1",
        http_status=418,
        attempts=3,
        call_id=CALL_ID,
    )
    assert details[ErrorInfo] == ErrorInfo(
        reason=leaf.reason,
        domain="wallet-bridge",
        metadata={
            "outcome": leaf.outcome.name,
            "code": "7",
            "message": "no tea",
            "request_id": "r-1",
            "http_status": "418",
            "attempts": "3",
            "call_id": CALL_ID,
        },
    )


@each_leaf
def test_without_an_answer_the_wallets_facts_are_unset(leaf: type[BridgeError]) -> None:
    """Where nothing is known nothing is said: no code, which 0 could be, no empty metadata; the id is the call's."""
    details = details_of(leaf())
    assert list(details) == [WalletError, ErrorInfo, RequestInfo]
    assert details[RequestInfo].request_id == trailers_of(leaf())["wallet-call-id"] == CALL_ID
    assert not details[WalletError].HasField("code")
    assert dict(details[ErrorInfo].metadata) == {"outcome": leaf.outcome.name, "attempts": "0", "call_id": CALL_ID}


@each_leaf
def test_the_status_is_reported_three_times_alike(leaf: type[BridgeError]) -> None:
    """The gRPC code and message of the call are those inside grpc-status-details-bin."""
    sent = wire(leaf(wallet=FACTS))
    inside = Status.FromString(trailers_of(leaf(wallet=FACTS))["grpc-status-details-bin"])
    assert (sent.code, sent.message) == (inside.code, inside.message)
    assert sent.code == leaf.grpc_code
    assert sent.message == f'{leaf.reason}: {leaf.summary} Wallet: HTTP 418, code 7, "no tea".'


@each_leaf
def test_no_client_may_retry_what_is_unknown(leaf: type[BridgeError]) -> None:
    """The pushback trailer is there exactly when the outcome is UNKNOWN (gRFC A6)."""
    pushback = trailers_of(leaf()).get("grpc-retry-pushback-ms")
    assert pushback == ("-1" if leaf.outcome is Outcome.UNKNOWN else None)


@each_leaf
def test_a_mesh_may_retry_what_is_unavailable(leaf: type[BridgeError]) -> None:
    """The trailer for proxies is there exactly when the code is UNAVAILABLE, and then nothing is unknown."""
    error = leaf()
    safe = trailers_of(error).get("wallet-safe-to-repeat")
    assert safe == ("true" if error.grpc_code is GrpcCode.UNAVAILABLE else None)
    assert not (safe and leaf.outcome is Outcome.UNKNOWN)


def test_an_operator_cannot_make_unknown_safe() -> None:
    """A code of unknown outcome that is mapped to UNAVAILABLE is still not for a mesh to retry."""
    error = WalletFailed(wallet=FACTS, grpc_code=GrpcCode.UNAVAILABLE, reason="WALLET_BUSY")
    assert "wallet-safe-to-repeat" not in trailers_of(error)


@pytest.mark.parametrize("code", [0, 1, 2**64 - 1])
def test_every_code_survives_as_a_number(code: int) -> None:
    """Also 0, which is a code, and the highest there is."""
    details = details_of(WalletRejected(wallet=WalletFacts(http_status=200, code=code)))
    assert details[WalletError].HasField("code")
    assert details[WalletError].code == code
    assert details[ErrorInfo].metadata["code"] == str(code)


@pytest.mark.parametrize(("kind", "outcome"), [(WalletRejected, Outcome.REJECTED), (WalletFailed, Outcome.UNKNOWN)])
def test_an_operators_code_and_reason_go_out(kind: type[WalletRejected | WalletFailed], outcome: Outcome) -> None:
    """What the operator's table says stands everywhere; the outcome is the class's."""
    error = kind(wallet=FACTS, grpc_code=GrpcCode.NOT_FOUND, reason="TOKEN_NOT_FOUND")
    details = details_of(error)
    assert wire(error).code == GrpcCode.NOT_FOUND
    assert details[WalletError].reason == details[ErrorInfo].reason == "TOKEN_NOT_FOUND"
    assert details[WalletError].outcome == outcome


def test_an_answer_without_words_is_reported_by_its_numbers() -> None:
    """HTTP status and code, as far as there are any."""
    assert wire(WalletTimeout(wallet=WalletFacts(500))).message.endswith(" Wallet: HTTP 500.")
    assert wire(WalletTimeout(wallet=WalletFacts(500, 0))).message.endswith(" Wallet: HTTP 500, code 0.")


def test_the_cause_stands_in_metadata_and_message() -> None:
    """A cause is ours and narrows the reason down."""
    error = WalletUnreachable(cause="dns")
    assert details_of(error)[ErrorInfo].metadata["cause"] == "dns"
    assert wire(error).message.endswith("Cause: dns.")


@pytest.mark.parametrize("given", ["\0\x1b", "\u200b", "  "], ids=["controls", "zero width", "white space"])
def test_an_id_without_a_letter_is_none(given: str) -> None:
    """A request_id of which nothing is left when it is cleaned counts as none given."""
    error = WalletTimeout(wallet=WalletFacts(request_id=given))
    assert details_of(error)[RequestInfo].request_id == CALL_ID
    assert "wallet-request-id" not in trailers_of(error)


def test_request_info_has_the_wallets_id_where_it_gave_one() -> None:
    """The wallet's id stands in RequestInfo and, for logs that see trailers only, in wallet-request-id."""
    error = WalletTimeout(wallet=WalletFacts(request_id="r-2"))
    assert details_of(error)[RequestInfo] == RequestInfo(request_id="r-2")
    assert trailers_of(error)["wallet-request-id"] == "r-2"
    assert "wallet-request-id" not in trailers_of(WalletTimeout())


@pytest.mark.parametrize(("delay_s", "seconds", "nanos"), [(0.0, 0, 0), (1.5, 1, 500_000_000), (60.0, 60, 0)])
def test_retry_info_is_there_where_there_is_a_delay(delay_s: float, seconds: int, nanos: int) -> None:
    """A delay of 0 is one; none is none."""
    delay = details_of(WalletThrottled(retry_after_s=delay_s))[RetryInfo].retry_delay
    assert (delay.seconds, delay.nanos) == (seconds, nanos)
    assert RetryInfo not in details_of(BridgeOverloaded())


def test_bad_request_lists_the_fields() -> None:
    """Every violation with its path; the message names the first three."""
    violations = tuple(Violation(f"field{index}", "is required") for index in range(4))
    error = InvalidRequest(violations=violations)
    listed = details_of(error)[BadRequest].field_violations
    assert [(one.field, one.description) for one in listed] == [(one.field, one.description) for one in violations]
    assert wire(error).message.endswith("field0 is required. field1 is required. field2 is required.")


def test_a_violation_of_the_whole_request_has_no_path() -> None:
    """What is wrong with the request as such is reported without a field."""
    message = wire(InvalidRequest(violations=(Violation("", "the request is none"),))).message
    assert message == f"INVALID_REQUEST: {InvalidRequest.summary} the request is none."


def test_a_long_list_of_fields_says_how_many_are_left_out() -> None:
    """No more than a few dozen are listed; the last entry counts the rest."""
    for count, last in ((64, "is required"), (65, "and 1 more"), (1000, "and 936 more")):
        violations = (Violation("a", "is required"),) * count
        listed = details_of(InvalidRequest(violations=violations))[BadRequest].field_violations
        assert len(listed) == min(count, 65)
        assert listed[-1].description == last


HOSTILE = {
    "100 kB": "x" * 100_000,
    "4-byte characters": "\U0001f600" * 25_000,
    "percent signs": "%" * 100_000,
    "quotes": '"' * 100_000,
    "newlines": "a\r\nlevel=error forged\n" * 5000,
    "white space": "\u2028\u00a0\t\x85" * 25_000,
    "NUL": "\0" * 100_000,
    "control characters": "".join(map(chr, [*range(32), *range(127, 160)])) * 1000,
    "ANSI": "\x1b[31mred\x1b]0;title\x07" * 5000,
    "right-to-left marks": "\u202ereversed\u2066\u200f" * 5000,
    "zero width": "a\u200b\ufeff\u00ad" * 20_000,
    "combining": "e\u0301" * 50_000,
    "private use and unassigned": "\ue000\U000e0001\U0010ffff\u0378" * 20_000,
    "lone surrogates": "\ud800" * 100_000,
}
WIDE = "\U0001f600" * 1000


def budget_is_kept(error: BridgeError) -> None:
    """Check sizes, and that nothing in texts or trailers is anything but printable."""
    sent = wire(error)
    trailers = dict(sent.trailers)
    serialized = trailers["grpc-status-details-bin"]
    assert isinstance(serialized, bytes)
    assert len(serialized) < DETAILS_BYTES_MAX == 4096
    message_bytes = sum(3 if character == "%" or not " " <= character <= "~" else 1 for character in sent.message)
    # As HTTP/2 counts a header list: name, value and 32 bytes each (RFC 9113, section 6.5.2).
    sizes = [len(serialized) * 4 / 3, message_bytes, *(len(value) for name, value in sent.trailers[1:])]
    names = ["grpc-message", "grpc-status", *trailers]
    assert sum(sizes) + sum(len(name) + 32 for name in names) < METADATA_BYTES_MAX
    request_id = trailers.get("wallet-request-id", "-")
    assert isinstance(request_id, str)
    assert request_id.isascii()
    for text in (sent.message, request_id, details_of(error)[WalletError].message):
        assert text.isprintable()


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_stay_within_the_budget(text: str) -> None:
    """Whatever the wallet writes in both of its texts: details below 4 KiB, all trailers below 8 KiB."""
    budget_is_kept(WalletRejected(wallet=WalletFacts(599, 2**64 - 1, text, text), reason="R" * 63))
    budget_is_kept(WalletThrottled(wallet=WalletFacts(429, 2**64 - 1, text, text), retry_after_s=59.9))


def test_texts_are_cut_no_shorter_than_they_must_be() -> None:
    """256 characters of each text, 128 of the message inside the status; half where wide characters need the room."""
    narrow, wide = (WalletRejected(wallet=WalletFacts(200, 7, text, text)) for text in ("x" * 1000, WIDE))
    facts = details_of(narrow)[WalletError]
    assert (len(facts.message), len(facts.request_id)) == (256, 256)
    assert wire(narrow).message.endswith(f' Wallet: HTTP 200, code 7, "{"x" * 128}".')
    assert len(trailers_of(narrow)["wallet-request-id"]) == 256
    facts = details_of(wide)[WalletError]
    assert (len(facts.message), len(facts.request_id)) == (128, 128)


def test_paths_are_cut() -> None:
    """A path, or a cause, has 128 characters at most."""
    violated = InvalidRequest(violations=(Violation("x" * 1000, "is required"),))
    assert details_of(violated)[BadRequest].field_violations[0].field == "x" * 128
    assert wire(violated).message.endswith(f" {'x' * 128} is required.")
    caused = WalletResponseInvalid(cause="x" * 1000)
    assert details_of(caused)[ErrorInfo].metadata["cause"] == "x" * 128
    assert wire(caused).message.endswith(f"Cause: {'x' * 128}.")


def test_long_paths_stay_within_the_budget() -> None:
    """A thousand violations deep inside a request are cut, and so is the path in a cause, which a wallet makes."""
    violations = tuple(Violation("field." * 100 + str(index), "is required" * 5) for index in range(1000))
    budget_is_kept(InvalidRequest(violations=violations))
    path = ".".join(["a_field_with_a_long_name"] * 64)
    budget_is_kept(WalletResponseInvalid(wallet=WalletFacts(200, 1, WIDE, WIDE), cause=f"{path}: must be a string"))


TEXTS = st.text(max_size=2000) | st.text(st.characters(categories=["C", "Z", "M"]))


@given(message=TEXTS, request_id=TEXTS, code=st.none() | st.integers(0, 2**64 - 1), leaf=st.sampled_from(leaves()))
def test_any_texts_stay_within_the_budget(*, message: str, request_id: str, code: int | None, leaf: Any) -> None:
    """Every leaf, with arbitrary words of the wallet's."""
    budget_is_kept(leaf(wallet=WalletFacts(599, code, message, request_id)))


CLEANED = {
    "plain": ("An unknown error has occurred.", "An unknown error has occurred."),
    "letters of the world": ("żółć 玩家 игрок", "żółć 玩家 игрок"),
    "emoji": ("\U0001f600", "\U0001f600"),
    "newline": ("a\nb\r\nc", "a b  c"),
    "tab and no-break space": ("a\tb\u00a0c", "a b c"),
    "separators that count as space": ("a\x1cb\x85c\u2029d", "a b c d"),
    "ANSI": ("\x1b[31mred", "[31mred"),
    "right-to-left mark": ("a\u202eb", "ab"),
    "around": ("  \n a \0 ", "a"),
    "nothing left": ("\0\x1b\u200b", ""),
    "256 characters, not bytes": ("\U0001f600" * 300, "\U0001f600" * 256),
}


@pytest.mark.parametrize(("text", "cleaned"), CLEANED.values(), ids=CLEANED)
def test_clean(text: str, cleaned: str) -> None:
    """Control characters go, white space becomes a plain space, the rest stays as it is."""
    assert clean(text, 256) == cleaned


def test_clean_looks_only_as_far_as_it_must() -> None:
    """What follows more rubbish than four times the wanted length is not looked for."""
    assert clean("\0" * 30 + "x" * 100, 10) == "x" * 10
    assert clean("\0" * 39 + "x" * 100, 10) == "x"
    assert clean("\0" * 40 + "x" * 100, 10) == ""


@given(st.text(), st.integers(1, 300))
def test_cleaned_text_is_printable_and_short(text: str, characters_max: int) -> None:
    """For any text at all; and clean text stays as it is."""
    cleaned = clean(text, characters_max)
    assert len(cleaned) <= characters_max
    assert cleaned.isprintable()
    assert clean(cleaned, characters_max) == cleaned
