"""SettlementService: answers about settlements, for callers and operators. The allow-lists apply as for calls.

No answer holds a token, a key or a body.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from bridge.call_id import CALLER_ID_WANTED, is_caller_id
from bridge.errors import CallerNotAllowed
from bridge.identity import AllowList
from bridge.identity.certificate import identities_of
from bridge.settings.settlement import Settlement as Section
from bridge.settlement.entry import Entry, State
from bridge.settlement.store import CursorError, Store, StoreError
from wallet.v1 import settlement_service_pb2 as pb
from wallet.v1.wallet_error_pb2 import Settlement as ProtoState

SERVICE = pb.DESCRIPTOR.services_by_name["SettlementService"].full_name

PAGE_DEFAULT, PAGE_MAX = 50, 100
"""Page sizes (AIP-158): the default, and the maximum, which a larger one becomes."""
QUESTIONS_MAX = 16
"""Questions to the store at once; beyond it callers are refused, so that they cannot delay what is to be written."""

STORE_FAILED = "The settlement store does not answer. No settlement is lost; ask again later."
TOO_MANY = "Too many questions about settlements at once; ask again later."
NOT_FOUND = "There is no settlement of this call. That proves nothing about the token."
NOT_LISTED = "This caller may not list settlements. Add its identity to settlement.allowed_identities."
UNREADABLE = "The request cannot be read."
FAULT = "The bridge failed. Report it to the bridge's operator; its log has the place."

LOGGER = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
RequestT = TypeVar("RequestT", bound=Message)
AnswerT = TypeVar("AnswerT")


def add_settlement_service(
    server: grpc.aio.Server, store: Store, calls: tuple[str, ...] | None, section: Section
) -> None:
    """Serve SettlementService. `calls`: the identities that may call; None: every client that TLS lets in."""
    lists = section.allowed_identities
    answers = Answers(
        store,
        callers=None if calls is None else AllowList(calls),
        listers=AllowList(() if lists is None else lists) if lists is not None or calls is not None else None,
    )
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "GetSettlement": _handler(answers.get, pb.GetSettlementRequest, pb.GetSettlementResponse),
        "ListSettlements": _handler(answers.page, pb.ListSettlementsRequest, pb.ListSettlementsResponse),
    }
    # Both ways, as generated code does: other engines and method names in telemetry need the second.
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    server.add_registered_method_handlers(SERVICE, handlers)


class Refused(Exception):
    """A question that is not answered, with its status."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


class Answers:
    """Answers about one store. `callers`, `listers`: who may ask about a call, and for all; None: everybody."""

    def __init__(self, store: Store, *, callers: AllowList | None, listers: AllowList | None) -> None:
        self._store = store
        self._callers = callers
        self._listers = listers
        self._asking = 0

    async def get(self, request: pb.GetSettlementRequest, identities: frozenset[str]) -> pb.GetSettlementResponse:
        """Return the newest settlement of a call that one of these identities made."""
        _check(self._callers, identities, CallerNotAllowed.summary)
        if not is_caller_id(request.call_id):
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"call_id must be {CALLER_ID_WANTED}")
        entry, count = await self._asked(self._store.of_call(request.call_id, identities))
        if entry is None:
            raise Refused(grpc.StatusCode.NOT_FOUND, NOT_FOUND)
        own = [call.call_id for call in entry.calls if _is_by(call.identities, identities)]
        return pb.GetSettlementResponse(entry=_message(entry, own), count=count)

    async def page(self, request: pb.ListSettlementsRequest, identities: frozenset[str]) -> pb.ListSettlementsResponse:
        """Return one page of all settlements."""
        _check(self._listers, identities, NOT_LISTED)
        if request.page_size < 0:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "page_size must be 0 or more")
        size = min(request.page_size or PAGE_DEFAULT, PAGE_MAX)
        state = None
        if request.state != ProtoState.SETTLEMENT_UNSPECIFIED:
            if request.state not in ProtoState.values():
                raise Refused(
                    grpc.StatusCode.INVALID_ARGUMENT, "state must be one of the states of wallet.v1.Settlement"
                )
            state = State(ProtoState.Name(request.state).removeprefix("SETTLEMENT_"))
        try:
            page = await self._asked(self._store.page(size, request.page_token, state))
        except CursorError:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "page_token must be a next_page_token, unchanged") from None
        entries = [_message(entry, [call.call_id for call in entry.calls]) for entry in page.entries]
        return pb.ListSettlementsResponse(entries=entries, next_page_token=page.next_cursor)

    async def _asked(self, question: Coroutine[Any, Any, AnswerT]) -> AnswerT:
        if self._asking >= QUESTIONS_MAX:
            question.close()
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, TOO_MANY)
        self._asking += 1
        try:
            return await question
        except StoreError:
            raise Refused(grpc.StatusCode.UNAVAILABLE, STORE_FAILED) from None
        finally:
            self._asking -= 1


def _check(allowed: AllowList | None, identities: frozenset[str], text: str) -> None:
    try:
        if allowed is not None:
            allowed.check(identities)
    except CallerNotAllowed:
        raise Refused(grpc.StatusCode.PERMISSION_DENIED, text) from None


def _is_by(call: tuple[str, ...], identities: frozenset[str]) -> bool:
    return not identities.isdisjoint(call) if identities else not call


def _message(entry: Entry, call_ids: list[str]) -> pb.SettlementEntry:
    message = pb.SettlementEntry(
        entry_id=entry.entry_id,
        call_ids=call_ids,
        state=ProtoState.Value(f"SETTLEMENT_{entry.state.value}"),
        operation=entry.operation,
        provider_id=entry.provider_id,
        token_fingerprint=entry.fingerprint,
        create_time=_timestamp(entry.created),
        attempts=entry.attempts,
        last_reason=entry.last.reason,
        last_code=entry.last.code,
        close_reason=entry.closed_reason,
    )
    if entry.state is State.PENDING:
        message.due_time.CopyFrom(_timestamp(entry.due))
    if entry.ended:
        message.end_time.CopyFrom(_timestamp(entry.ended))
    return message


def _timestamp(seconds: float) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromMicroseconds(round(seconds * 1e6))
    return timestamp


def _handler(
    answer: Callable[[Any, frozenset[str]], Awaitable[Message]], request: type[RequestT], response: type[Message]
) -> "grpc.RpcMethodHandler[Any, Any]":
    async def behaviour(serialized: bytes | None, context: Context) -> Message:
        try:
            return await answer(_parsed(request, serialized), identities_of(context.auth_context()))
        except Refused as refused:
            code, text = refused.code, refused.text
        except Exception:
            LOGGER.exception("a question about settlements failed")  # its places, no text (telemetry/records.py)
            code, text = grpc.StatusCode.INTERNAL, FAULT
        try:
            await context.abort(code, text)
        except grpc.aio.InternalError:
            # The call has just ended in gRPC's core: the client cancelled. gRPC would log that as an error.
            raise asyncio.CancelledError from None

    return grpc.unary_unary_rpc_method_handler(behaviour, response_serializer=response.SerializeToString)


def _parsed(kind: type[RequestT], serialized: bytes | None) -> RequestT:
    try:
        if serialized is not None:
            return kind.FromString(serialized)
    except DecodeError:
        pass
    raise Refused(grpc.StatusCode.INVALID_ARGUMENT, UNREADABLE)
