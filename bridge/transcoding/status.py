"""BridgeError -> google.rpc.Status with details, and trailers, within a size budget.

    google.rpc.Status         code, message; in the trailer grpc-status-details-bin
      wallet.v1.WalletError     outcome, reason, code, message, request_id, http_status, attempts, call_id, settlement
      google.rpc.ErrorInfo      reason, domain, the same facts as metadata, cause
      google.rpc.RequestInfo    the wallet's request_id, or the call_id where the wallet gave none
      google.rpc.RetryInfo      where there is a delay to keep
      google.rpc.BadRequest     where fields are at fault
    wallet-request-id         the wallet's request_id, for logs that see trailers only
    wallet-call-id            the call_id, with every end, OK included (call_id.py)
    grpc-retry-pushback-ms    -1 whenever the outcome is UNKNOWN: no client may retry it blindly (gRFC A6); and whenever
                              the bridge goes on with the request by itself: no client need retry it
    wallet-safe-to-repeat     whenever the code is UNAVAILABLE and the bridge does not go on by itself: its own word
                              that nothing was done. Libraries and proxies say UNAVAILABLE too, of calls that broke in
                              the middle, but never this

This is the one place where errors are translated. Everything that the wallet wrote is cleaned and cut here.
"""

import functools
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from bridge.call_id import TRAILER as CALL_ID_TRAILER
from bridge.errors import BridgeDraining, BridgeOverloaded
from bridge.outcome import NO_ANSWER, BridgeError, GrpcCode, Outcome
from wallet.v1.wallet_error_pb2 import Outcome as ProtoOutcome
from wallet.v1.wallet_error_pb2 import Settlement
from wallet.v1.wallet_error_pb2 import WalletError as Facts

DOMAIN = "wallet-bridge"
DETAILS_BYTES_MAX = 4096
"""Of the serialized Status. As base64 it stays below the 8 KiB of metadata that Java's client accepts by default."""
TEXT_CHARACTERS_MAX = 256
SAID_CHARACTERS_MAX = 128
"""Of the wallet's message inside the status message, which is percent-encoded: hence short, and ASCII only."""
VIOLATIONS_MAX = 64
PATH_CHARACTERS_MAX = 128
"""Of a field's path, and of a cause, which names one where an answer is at fault: nesting makes both long."""

DETAILS_TRAILER = "grpc-status-details-bin"
"""The trailer of google.rpc.Status (gRPC's "richer error model")."""

SAFE_TO_REPEAT = "wallet-safe-to-repeat"
"""The trailer on which a mesh may retry a call, in any topology: for Envoy's `retriable-headers` (deploy/mesh)."""

PENDING = "PENDING"
"""Of ErrorInfo's metadata: the value of `settlement`, without the enum's prefix, as `outcome` is written."""

REFUSALS = frozenset({BridgeOverloaded, BridgeDraining})
"""Errors that a flood causes by the thousand. They differ in the call's id alone, so each is built once."""

STAND_IN, STAND_IN_CHARACTERS_MIN = "~", 16
"""No id has this character (call_id.py), and no serialized message so many of it in a row but for an id."""

Trailers = tuple[tuple[str, str | bytes], ...]


class WireStatus(NamedTuple):
    """Status and trailers with which a server ends a call."""

    code: int
    message: str
    trailers: Trailers


def ok_trailers(call_id: str) -> Trailers:
    """Return the trailers of a call that ends with OK."""
    return ((CALL_ID_TRAILER, call_id),)


def wire_status(error: BridgeError, call_id: str) -> WireStatus:
    """Return the code, message and trailers that this error of the call with this id means."""
    if not _is_refusal(error) or len(call_id) < STAND_IN_CHARACTERS_MIN:
        return _wire_status(error, call_id)
    kind: Any = type(error)  # mypy takes the __hash__ of a class for that of its instances
    code, message, trailers = _refusal(kind, error.cause, error.retry_after_s, len(call_id))
    return WireStatus(code, message, tuple((name, _with_id(value, call_id)) for name, value in trailers))


def _is_refusal(error: BridgeError) -> bool:
    is_bare = error.wallet is NO_ANSWER and not (error.attempts or error.violations or error.is_pending)
    return is_bare and type(error) in REFUSALS


@functools.lru_cache(maxsize=256)
def _refusal(kind: type[BridgeError], cause: str, retry_after_s: float | None, id_characters: int) -> WireStatus:
    """Return the status of a refusal with a stand-in where the call's id belongs: of its length, so that it fits."""
    return _wire_status(kind(cause=cause, retry_after_s=retry_after_s), STAND_IN * id_characters)


def _with_id(value: str | bytes, call_id: str) -> str | bytes:
    stand_in = STAND_IN * len(call_id)
    if isinstance(value, bytes):
        return value.replace(stand_in.encode(), call_id.encode())
    return value.replace(stand_in, call_id)


def _wire_status(error: BridgeError, call_id: str) -> WireStatus:
    status = rich_status(error, call_id)
    trailers: list[tuple[str, str | bytes]] = [(DETAILS_TRAILER, status.SerializeToString())]
    trailers.extend(ok_trailers(call_id))
    if request_id := _ascii(error.wallet.request_id, TEXT_CHARACTERS_MAX):
        trailers.append(("wallet-request-id", request_id))
    if error.outcome is Outcome.UNKNOWN or error.is_pending:
        trailers.append(("grpc-retry-pushback-ms", "-1"))
    elif error.grpc_code is GrpcCode.UNAVAILABLE:
        trailers.append((SAFE_TO_REPEAT, "true"))
    return WireStatus(int(error.grpc_code), status.message, tuple(trailers))


def rich_status(error: BridgeError, call_id: str) -> Status:
    """Return the status with all its details, shortened until it keeps within DETAILS_BYTES_MAX."""
    # 256 characters are up to 1 KiB, and a request_id stands in three places: wide characters need a second look.
    for divisor in (1, 2, 4, 8):
        status = _status(error, call_id, TEXT_CHARACTERS_MAX // divisor, VIOLATIONS_MAX // divisor)
        if status.ByteSize() < DETAILS_BYTES_MAX:
            break
    return status


def _status(error: BridgeError, call_id: str, characters_max: int, violations_max: int) -> Status:
    facts = _facts(error, call_id, characters_max)
    status = Status(code=int(error.grpc_code), message=_message(error))
    for detail in (build(error, facts, violations_max) for build in DETAILS):
        if detail is not None:
            status.details.add().Pack(detail)
    return status


def _message(error: BridgeError) -> str:
    parts = [f"{error.reason}: {error.summary}"]
    if error.cause:
        parts.append(f"Cause: {error.cause[:PATH_CHARACTERS_MAX]}.")
    # A violation of the request as a whole has no path.
    parts.extend(
        f"{violation.field[:PATH_CHARACTERS_MAX]} {violation.description}.".lstrip()
        for violation in error.violations[:3]
    )
    if error.wallet.http_status:
        code = "" if error.wallet.code is None else f", code {error.wallet.code}"
        said = _ascii(error.wallet.message, SAID_CHARACTERS_MAX)
        parts.append(f"Wallet: HTTP {error.wallet.http_status}{code}" + (f', "{said}".' if said else "."))
    return " ".join(parts)


# --- details ----------------------------------------------------------------------------------------------------


def _facts(error: BridgeError, call_id: str, characters_max: int) -> Facts:
    return Facts(
        outcome=ProtoOutcome.ValueType(error.outcome),
        reason=error.reason,
        code=error.wallet.code,
        message=clean(error.wallet.message, characters_max),
        request_id=clean(error.wallet.request_id, characters_max),
        http_status=error.wallet.http_status,
        attempts=error.attempts,
        call_id=call_id,
        settlement=Settlement.SETTLEMENT_PENDING if error.is_pending else Settlement.SETTLEMENT_UNSPECIFIED,
    )


def _wallet_error(_error: BridgeError, facts: Facts, _violations_max: int) -> Message:
    return facts


def _error_info(error: BridgeError, facts: Facts, _violations_max: int) -> Message:
    metadata = {"outcome": error.outcome.name, "attempts": str(facts.attempts), "call_id": facts.call_id}
    if error.wallet.code is not None:
        metadata["code"] = str(facts.code)
    if error.is_pending:
        metadata["settlement"] = PENDING
    if facts.http_status:
        metadata["http_status"] = str(facts.http_status)
    texts = {"message": facts.message, "request_id": facts.request_id, "cause": error.cause[:PATH_CHARACTERS_MAX]}
    metadata.update({name: text for name, text in texts.items() if text})
    return ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)


def _request_info(_error: BridgeError, facts: Facts, _violations_max: int) -> Message:
    return RequestInfo(request_id=facts.request_id or facts.call_id)


def _retry_info(error: BridgeError, _facts: Facts, _violations_max: int) -> Message | None:
    if error.retry_after_s is None:
        return None
    delay = Duration()
    delay.FromMilliseconds(round(error.retry_after_s * 1000))
    return RetryInfo(retry_delay=delay)


def _bad_request(error: BridgeError, _facts: Facts, violations_max: int) -> Message | None:
    if not error.violations:
        return None
    bad_request = BadRequest()
    for violation in error.violations[:violations_max]:
        bad_request.field_violations.add(field=violation.field[:PATH_CHARACTERS_MAX], description=violation.description)
    if (more := len(error.violations) - violations_max) > 0:
        bad_request.field_violations.add(description=f"and {more} more")
    return bad_request


DETAILS: tuple[Callable[[BridgeError, Facts, int], Message | None], ...] = (
    _wallet_error,
    _error_info,
    _request_info,
    _retry_info,
    _bad_request,
)


# --- the wallet's texts -----------------------------------------------------------------------------------------


def clean(text: str, characters_max: int) -> str:
    """Return the text without control characters, cut to this many characters.

    Control, format, private-use and unassigned characters go (Unicode category C): newlines that would forge a log
    line, ANSI escapes, marks that reverse the direction of writing. White space becomes a plain space.
    """
    # Nearly every text is plain already. A long one, up to 64 KiB, is cut before it is cleaned.
    if len(text) <= characters_max and text.isascii() and text.isprintable():
        return text.strip()
    return "".join(_printable(text[: characters_max * 4]))[:characters_max].strip()


def _printable(text: str) -> Iterator[str]:
    for character in text:
        if character.isspace():
            yield " "
        elif not unicodedata.category(character).startswith("C"):
            yield character


def _ascii(text: str, characters_max: int) -> str:
    return clean(text, characters_max).encode("ascii", "replace").decode()
