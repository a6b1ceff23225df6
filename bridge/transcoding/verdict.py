"""Classification of the wallet's answers: a response, or an error. Pure: no clock, no I/O.

    read      bytes -> Reading: has it a wallet body (an object with status and code), and if not, why not
    classify  200, status true, code 1 -> the response, if every echo is right
              contradiction            -> WALLET_INCONSISTENT, which no other row may override
              503 with a wallet body   -> WALLET_UNAVAILABLE
              operator's table of codes
              RULES, the first row that applies

The order is that of docs/design/contract.md's table of failures.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.protobuf.message import Message

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
from bridge.outcome import CODE_SUCCESS, CODE_UNKNOWN_ERROR, BridgeError, GrpcCode, Value, WalletFacts
from bridge.places import without_context
from bridge.transcoding.codec import Read, codec_of, read_bool, read_string, read_uint64
from bridge.transcoding.operation import Operation
from bridge.transcoding.retry_after import retry_after_s
from bridge.transcoding.strict_json import Flaw, parse_object

HTTP_OK = 200
HEADERS_LOOKED_AT = ("content-encoding", "date", "retry-after")


class Answer(Value, frozen=True):
    """The wallet's answer to one POST."""

    http_status: int
    """100 to 599, of the final answer."""
    body: bytes
    headers: Mapping[str, str]
    """Names in lower case. Only HEADERS_LOOKED_AT are ever looked at."""
    is_cut: bool = False
    """The body was longer than the client was willing to read."""
    received_at_s: float = 0.0
    """When the answer came, in seconds since 1970 by our clock."""


@dataclass(frozen=True, slots=True)
class CodeRule:
    """The operator's mapping of one wallet code: to success, or to a gRPC code with a reason."""

    grpc_code: GrpcCode
    """OK for a code that means success."""
    reason: str = ""

    @property
    def is_success(self) -> bool:
        """Whether the wallet has done what was asked, although its status says false ("already terminated")."""
        return self.grpc_code is GrpcCode.OK


class Verdict(Value, frozen=True):
    """A call that the wallet has completed."""

    response: Message
    facts: WalletFacts
    missing: tuple[str, ...]
    """Fields that a success lacks: the wallet has drifted from its page."""
    unknown_count: int
    """Members of the answer that the proto does not know."""


class Reading(Value, frozen=True):
    """An answer as far as it could be read. Without a wallet body `status` is None, and `flaw` says why."""

    facts: WalletFacts
    status: bool | None
    members: Mapping[str, Any]
    flaw: str
    retry_after_s: float | None


class Classifier:
    """Classifier of the answers to one operation. It holds no state of any call."""

    def __init__(self, operation: Operation, codes: Mapping[int, CodeRule]) -> None:
        self._operation = operation
        self._codec = codec_of(operation.response)
        # Every wallet body has this member; most protos leave it out.
        self._unread_members = int("status" not in self._codec.field_names)
        # Only a call that may be retried can have been done before: elsewhere "already done" is no success.
        self._codes = {code: rule for code, rule in codes.items() if operation.idempotent or not rule.is_success}

    def classify(self, request: Message, answer: Answer) -> Verdict:
        """Return the response that the answer means, or raise the BridgeError that it means."""
        reading = read(answer)
        facts = reading.facts
        if (facts.http_status, reading.status, facts.code) == (HTTP_OK, True, CODE_SUCCESS):
            return self._respond(request, reading, done_before=False)
        if _contradicts(reading):
            raise WalletInconsistent(wallet=facts)
        if UNAVAILABLE.applies(reading):
            raise _error(WalletUnavailable, reading)
        mapped = self._codes.get(facts.code) if facts.code is not None else None
        if mapped is None:
            raise _error(next(rule.error for rule in RULES if rule.applies(reading)), reading)
        if mapped.is_success:
            return self._respond(request, reading, done_before=True)
        raise _mapped_error(mapped, reading)

    def _respond(self, request: Message, reading: Reading, *, done_before: bool) -> Verdict:
        try:
            fields = self._codec.read_fields(reading.members)
        except Flaw as flaw:
            raise without_context(WalletResponseInvalid(wallet=reading.facts, cause=str(flaw))) from None
        # Drift is what a success lacks; a failure body has only the envelope (docs/design/wallet.md, "Codes").
        is_whole = done_before or len(fields) == len(self._codec.field_names)
        missing = () if is_whole else tuple(name for name in self._codec.field_names if name not in fields)
        unknown_count = len(reading.members) - len(fields) - self._unread_members
        self._check_echoes(request, reading, fields, done_before=done_before)
        return Verdict(self._codec.message_type(**fields), reading.facts, missing, unknown_count)

    def _check_echoes(self, request: Message, reading: Reading, fields: dict[str, Any], *, done_before: bool) -> None:
        """Check that the answer is about the request, and fill in what "already done" may leave out."""
        absent = ""
        for name in self._operation.echoes:
            asked = getattr(request, name)
            if name not in fields:
                absent = absent or name
                fields[name] = asked
            elif fields[name] != asked:
                raise WalletEchoMismatch(wallet=reading.facts, cause=name)
        # A wrong echo outranks a missing one: it may mean that another player's session has ended.
        if absent and not done_before:
            raise WalletResponseInvalid(wallet=reading.facts, cause=f"{absent}: is missing")


# --- reading ----------------------------------------------------------------------------------------------------


def read(answer: Answer) -> Reading:
    """Return the answer as far as it can be read; raise nothing, whatever the bytes are."""
    delay_s = retry_after_s(answer.headers, answer.received_at_s)
    try:
        members = _members(answer)
        facts, status = _envelope(answer.http_status, members)
    except Flaw as flaw:
        return Reading(WalletFacts(http_status=answer.http_status), None, {}, str(flaw), delay_s)
    return Reading(facts, status, members, "", delay_s)


def _members(answer: Answer) -> dict[str, Any]:
    if answer.is_cut:
        raise Flaw("over the size limit")
    # Identity was requested: decompressing anything else would mean to trust its size.
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise Flaw("content-encoding")
    return parse_object(answer.body)


def _envelope(http_status: int, members: Mapping[str, Any]) -> tuple[WalletFacts, bool]:
    facts = WalletFacts(
        http_status=http_status,
        code=_member(members, "code", read_uint64),
        message=_member(members, "message", read_string, ""),
        request_id=_member(members, "request_id", read_string, ""),
    )
    return facts, _member(members, "status", read_bool)


def _member(members: Mapping[str, Any], name: str, read_value: Read, default: Any = None) -> Any:
    if name not in members:
        if default is None:
            raise Flaw(f"{name}: is missing")
        return default
    try:
        return read_value(members[name])
    except Flaw as flaw:
        raise without_context(flaw.inside(name)) from None


# --- rules ------------------------------------------------------------------------------------------------------


class Rule(NamedTuple):
    """A row of the table of failures: which answers it is about, and what they mean."""

    http: Container[int]
    has_wallet_body: Container[bool]
    error: type[BridgeError]
    code: int | None = None

    def applies(self, reading: Reading) -> bool:
        """Say whether the row is about this answer."""
        return (
            reading.facts.http_status in self.http
            and (reading.status is not None) in self.has_wallet_body
            and self.code in (None, reading.facts.code)
        )


ANY = range(1000)
WALLET_BODY, NO_WALLET_BODY, ANY_BODY = frozenset({True}), frozenset({False}), frozenset({True, False})
HTTP_2XX, HTTP_3XX, HTTP_5XX = range(200, 300), range(300, 400), range(500, 600)

# By these a server refuses a request by its outer form, before an application sees it (RFC 9110, section 15.5, and for
# 431 RFC 6585, section 5): not found, method not allowed, length required, content too large, URI too long,
# unsupported media type, expectation failed, misdirected request, header fields too large.
HTTP_REFUSED_OUTSIDE = frozenset({404, 405, 411, 413, 414, 415, 417, 421, 431})

UNAVAILABLE = Rule({503}, WALLET_BODY, WalletUnavailable)

RULES = (
    Rule({429}, ANY_BODY, WalletThrottled),
    Rule({401, 403}, ANY_BODY, WalletAuthRejected),
    Rule(HTTP_3XX, ANY_BODY, WalletEndpoint),
    Rule(HTTP_REFUSED_OUTSIDE, NO_WALLET_BODY, WalletEndpoint),
    Rule(ANY, WALLET_BODY, WalletUnknownError, code=CODE_UNKNOWN_ERROR),
    Rule(HTTP_5XX, NO_WALLET_BODY, WalletGatewayError),
    Rule(ANY, NO_WALLET_BODY, WalletResponseInvalid),
    Rule(HTTP_5XX, WALLET_BODY, WalletFailed),
    Rule(ANY, WALLET_BODY, WalletRejected),
)

# What an unmapped code with status false means, by HTTP status; any other: FAILED_PRECONDITION.
REJECTED_AS = {
    400: GrpcCode.INVALID_ARGUMENT,
    404: GrpcCode.NOT_FOUND,
    409: GrpcCode.ABORTED,
    422: GrpcCode.INVALID_ARGUMENT,
}

THROTTLED_DEFAULT_S = 1.0
"""Delay of a 429 without a usable Retry-After."""


def _contradicts(reading: Reading) -> bool:
    """Say whether HTTP status, `status` and `code` disagree: "the HTTP status corresponds to the code" (the page)."""
    http_status, code = reading.facts.http_status, reading.facts.code
    if reading.status is True:
        return (http_status, code) != (HTTP_OK, CODE_SUCCESS)
    return reading.status is False and (code == CODE_SUCCESS or (http_status in HTTP_2XX and http_status != HTTP_OK))


def _error(kind: type[BridgeError], reading: Reading) -> BridgeError:
    facts = reading.facts
    if kind is WalletRejected:
        return WalletRejected(wallet=facts, grpc_code=REJECTED_AS.get(facts.http_status, GrpcCode.FAILED_PRECONDITION))
    delay_s = reading.retry_after_s
    if kind is WalletThrottled and delay_s is None:
        delay_s = THROTTLED_DEFAULT_S
    if kind in (WalletResponseInvalid, WalletGatewayError):
        return kind(wallet=facts, cause=reading.flaw)
    if kind is WalletEndpoint:
        return WalletEndpoint(wallet=facts, cause=str(facts.http_status))
    return kind(wallet=facts, retry_after_s=delay_s if kind in (WalletThrottled, WalletUnavailable) else None)


def _mapped_error(rule: CodeRule, reading: Reading) -> BridgeError:
    # A mapped code is the wallet's refusal, by the operator's word. Code 2 stays an unknown error, as documented.
    kind = WalletFailed if reading.facts.code == CODE_UNKNOWN_ERROR else WalletRejected
    return kind(wallet=reading.facts, grpc_code=rule.grpc_code, reason=rule.reason, retry_after_s=reading.retry_after_s)
