r"""The call path, on one screen. It knows no server: bytes in, a message or a BridgeError out.

gRPC request -> parse -> admit -> validate -> encode -> sign -> send -> classify -> gRPC response
\-> any failure -> status with details

Parsed first, because providers are admitted each by its own share; an unknown one is refused before it takes a place.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from google.protobuf.message import Message

from bridge.admission import Admission
from bridge.deadline import Deadline, DeadlineLimits, since_s
from bridge.errors import BridgeFault, BridgeFaultBeforeSend, DeadlineTooShort, ProviderNotConfigured
from bridge.events import CallEnded, Emit, ignore
from bridge.identity import CallerCheck
from bridge.outcome import BridgeError, GrpcCode, Outcome
from bridge.places import places_of, without_context
from bridge.settling import NO_SETTLING, NO_TICKET, Peer, Sending, Settling, Ticket
from bridge.tracer import CallSpan, Metadata, Tracer
from bridge.transcoding.operation import Operation
from bridge.transcoding.route import Route
from bridge.transcoding.verdict import Verdict
from bridge.upstream.client import Post, WalletClient, Watch, ends
from bridge.upstream.signing import Keyring

LOGGER = logging.getLogger(__name__)

OK, CANCELLED = GrpcCode.OK.name, GrpcCode.CANCELLED.name
"""An enum's `name` is a property, in Python."""


@dataclass(frozen=True, slots=True)
class Watchers:
    """Observers of calls. None is part of the call path, and none may stop a call."""

    emit: Emit = ignore
    tracer: Tracer | None = None
    fingerprint: Callable[[str], str] | None = None
    """Maps the token to a log-safe fingerprint; None disables it."""


NO_WATCHERS = Watchers()
NOTHING_SENT = Watch()


class Call:
    """Facts about one call while it lasts, for the report at its end."""

    __slots__ = (
        *("body", "call_id", "fault", "fingerprint", "is_detached", "metadata", "operation", "provider_id", "queue_s"),
        *("secret", "span", "started", "ticket", "watch"),
    )

    def __init__(self, operation: Operation, call_id: str, metadata: Metadata) -> None:
        self.operation = operation
        self.call_id = call_id
        self.metadata = metadata
        self.provider_id = 0
        self.secret = ""
        self.fingerprint: str | None = None
        """The token as the log shows it, once that was asked for."""
        self.queue_s = 0.0
        self.is_detached = False
        """The client has cancelled after the call was sent."""
        self.span: CallSpan | None = None
        self.body: bytes | None = None
        """What is about to be sent, if settlement is on for the call; None before that, and without settlement."""
        self.ticket: Ticket | None = None
        self.watch = NOTHING_SENT
        self.fault: type[BridgeError] = BridgeFaultBeforeSend
        """The failure that an unexpected exception means now."""
        self.started = time.monotonic()

    def ended(self, grpc_code: str, facts: Mapping[str, Any]) -> CallEnded:
        """Return the report of the call: what is known of it by now, and these facts about its end."""
        trace_id, span_id = ("", "") if self.span is None else self.span.ids()
        return CallEnded(
            service=self.operation.service,
            method=self.operation.method,
            call_id=self.call_id,
            trace_id=trace_id,
            span_id=span_id,
            provider_id=self.provider_id,
            grpc_code=grpc_code,
            duration_s=since_s(self.started),
            queue_s=self.queue_s,
            is_detached=self.is_detached,
            **facts,
        )


class BridgeService:
    """Carries out the operations of any number of services."""

    def __init__(  # noqa: PLR0913 - where the parts come together
        self,
        keyring: Keyring,
        wallet: WalletClient,
        limits: DeadlineLimits,
        watchers: Watchers = NO_WATCHERS,
        *,
        admission: Admission | None = None,
        check_caller: CallerCheck | None = None,
        settling: Settling = NO_SETTLING,
    ) -> None:
        self.admission = admission or Admission()
        self.detached = 0
        """Number of calls that go on although the client has cancelled them."""
        self._keyring = keyring
        self._wallet = wallet
        self._limits = limits
        self._watchers = watchers
        self._check_caller = check_caller
        self._settling = settling

    async def handle(  # noqa: PLR0913 - all that a host knows of a call
        self,
        route: Route,
        serialized: bytes | None,
        caller_s: float | None,
        peer: Peer | None = None,
        *,
        call_id: str = "",
        metadata: Metadata = (),
    ) -> Message:
        """Carry out one call and report its end; raise a BridgeError, and nothing else, when it fails.

        `caller_s` is how many seconds the caller will wait, None when it did not say; `call_id` names the call in the
        report (call_id.py); `metadata` came beside the request. A cancel frees a call that was
        not sent. One that was sent is finished and reported before the cancel takes effect: the wallet is at work on
        it anyway, and its outcome must be reported.
        """
        call = Call(route.operation, call_id, metadata)
        self._begun(route)
        places = ""
        try:
            if self._watchers.tracer is not None:
                call.span = self._watchers.tracer.start(route.operation, metadata)
            verdict, attempts = await self._carry_out(call, route, serialized, caller_s, peer)
        except BridgeError as error:
            failure = error
        except asyncio.CancelledError:
            outcome = Outcome.UNKNOWN if call.is_detached else call.watch.so_far
            self._ticket(call, serialized, peer).cut_off(outcome)
            self._report(call, CANCELLED, {"outcome": outcome.name})
            raise
        except Exception as unexpected:  # noqa: BLE001 - a security control: no exception's text may reach a caller
            failure, places = call.fault(), places_of(unexpected)
        else:
            if call.body is not None and self._settling.needs_successes:
                self._ticket(call, serialized, peer).succeeded()
            self._report(call, OK, _success_facts(verdict, attempts))
            return verdict.response
        failure.is_pending = await self._is_taken_over(call, self._ticket(call, serialized, peer), failure)
        self._report(call, failure.grpc_code.name, failure.facts(places))
        raise without_context(failure) from None

    async def _carry_out(
        self, call: Call, route: Route, serialized: bytes | None, caller_s: float | None, peer: Peer | None
    ) -> tuple[Verdict, int]:
        is_settled = route.operation.settles and self._settling.is_on
        reserve_s = self._settling.reserve_s if is_settled else 0.0
        deadline = Deadline.for_caller(caller_s, self._limits, self.admission.under_way, reserve_s)
        if self._check_caller is not None:
            self._check_caller(peer.auth_context() if peer else {})
        request = self._parsed(call, route, serialized)
        await self._admitted(call, deadline)
        try:
            post = self._prepared(call, route, request, deadline)
            if is_settled and self._settling.is_on:
                call.body = post.body
                if self._settling.writes_before:
                    await self._ticket(call, serialized, peer).before_send(deadline.remaining_s())
            call.fault = BridgeFault
            call.watch = Watch(partial(self._goes_on, call), call.span)
            return await self._wallet.call(post, partial(route.classify, request), deadline, call.watch)
        finally:
            # It leads back to the call: request and gRPC's context would stay until the garbage collector runs.
            call.watch.goes_on = ends
            self.admission.leave(call.provider_id)

    def _parsed(self, call: Call, route: Route, serialized: bytes | None) -> Message:
        request = route.parse(serialized)
        # Every request message has this field: operation.py checks it when the bridge starts.
        call.provider_id = request.provider_id  # type: ignore[attr-defined]
        if call.provider_id not in self._keyring:
            # Whatever else is wrong with it comes first: an unset id is a violation, not an unknown provider.
            route.validate(request)
            raise ProviderNotConfigured
        return request

    async def _admitted(self, call: Call, deadline: Deadline) -> None:
        if not self.admission.enter(call.provider_id):
            try:
                await self.admission.wait(call.provider_id, deadline)
            finally:
                call.queue_s = since_s(call.started)

    def _prepared(self, call: Call, route: Route, request: Message, deadline: Deadline) -> Post:
        call.secret = route.secret_of(request)
        route.validate(request)
        if deadline.is_too_short():
            raise DeadlineTooShort
        return Post(route.operation, route.encode(request), self._keyring.key_versions(call.provider_id))

    def _ticket(self, call: Call, serialized: bytes | None, peer: Peer | None) -> Ticket:
        """Return the call's ticket, made where it is needed first: a call that just succeeds mostly needs none."""
        if call.ticket is None and call.body is not None:
            # Nothing in it leads back to the call: what a call leaves is freed without the collector.
            sending = Sending(
                call.operation,
                call.provider_id,
                call.call_id,
                serialized or b"",
                call.body,
                self._fingerprint(call),
                call.metadata,
                peer,
            )
            call.ticket = self._settling.ticket(sending)
        return call.ticket or NO_TICKET

    def _fingerprint(self, call: Call) -> str:
        """Return the token as the log shows it; "" where it is shown as nothing, or that fails."""
        if call.fingerprint is None:
            fingerprint, call.fingerprint = self._watchers.fingerprint, ""
            try:
                call.fingerprint = fingerprint(call.secret) if fingerprint is not None and call.secret else ""
            except Exception as unexpected:  # noqa: BLE001 - what only the log shows does not stop a call
                _not_reported(unexpected)
        return call.fingerprint

    async def _is_taken_over(self, call: Call, ticket: Ticket, failure: BridgeError) -> bool:
        try:
            return await ticket.failed(failure)
        except asyncio.CancelledError:
            # The client has cancelled meanwhile: it gets no answer, but the end is reported all the same.
            self._goes_on(call)
            return False

    def _goes_on(self, call: Call) -> bool:
        """Say whether a call goes on after the client has cancelled it: yes, once (docs/design/contract.md, "Time")."""
        if call.is_detached:
            return False
        call.is_detached = True
        self.detached += 1
        return True

    def _begun(self, route: Route) -> None:
        try:
            self._watchers.emit(route.started)
        except Exception as unexpected:  # noqa: BLE001 - a count that is missing does not stop a call
            _not_reported(unexpected)

    def _report(self, call: Call, grpc_code: str, facts: dict[str, Any]) -> None:
        self.detached -= call.is_detached
        try:
            facts["token_fingerprint"] = self._fingerprint(call)
            event = call.ended(grpc_code, facts)
            if call.span is not None:
                call.span.ended(event)
            self._watchers.emit(event)
        except Exception as unexpected:  # noqa: BLE001 - a log that cannot be written does not undo a call
            _not_reported(unexpected)
        if call.is_detached:
            # The client has cancelled: there is no one to answer.
            raise asyncio.CancelledError


def _not_reported(unexpected: Exception) -> None:
    LOGGER.error("an event could not be reported: %s", places_of(unexpected))


def _success_facts(verdict: Verdict, attempts: int) -> dict[str, Any]:
    return {
        "attempts": attempts,
        "http_status": verdict.facts.http_status,
        "wallet_code": verdict.facts.code,
        "request_id": verdict.facts.request_id,
        "missing_fields": verdict.missing,
        "unknown_count": verdict.unknown_count,
    }
