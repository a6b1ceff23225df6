r"""The way of a call, on one screen. It knows no server: bytes in, a message or a BridgeError out.

gRPC request -> validate -> encode -> sign -> send -> judge -> gRPC response
\-> any failure -> status with details
"""

import asyncio
import logging
import time
import traceback
from collections.abc import Mapping
from functools import partial
from pathlib import PurePath
from typing import Any

from google.protobuf.message import Message

from bridge.codec import codec_of
from bridge.deadline import Deadline, DeadlineLimits
from bridge.errors import BridgeError, BridgeFault, BridgeFaultBeforeSend, DeadlineTooShort
from bridge.in_flight import InFlight
from bridge.operation import Operation
from bridge.outcome import GrpcCode
from bridge.signing import Keyring
from bridge.telemetry.events import CallEnded, Emit, ignore
from bridge.validation import parse, validator_of
from bridge.verdict import CodeRule, Judge, Verdict
from bridge.wallet import Post, WalletClient

LOGGER = logging.getLogger(__name__)


class Route:
    """One operation with its steps, compiled."""

    def __init__(self, operation: Operation, codes: Mapping[int, CodeRule]) -> None:
        codec = codec_of(operation.request)
        self.operation = operation
        self.parse = partial(parse, codec.message_type)
        self.validate = validator_of(operation.request).validate
        self.encode = codec.encode
        self.judge = Judge(operation, codes).judge


class Call:
    """What is known of one call while it lasts, for the report at its end."""

    __slots__ = ("fault", "operation", "provider_id", "started")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.provider_id = 0
        self.fault: type[BridgeError] = BridgeFaultBeforeSend
        """What an unexpected exception means now."""
        self.started = time.monotonic()

    def ended(self, grpc_code: GrpcCode, **facts: Any) -> CallEnded:
        """Return the report of the call: what is known of it by now, and these facts about its end."""
        return CallEnded(
            service=self.operation.service,
            method=self.operation.method,
            provider_id=self.provider_id,
            grpc_code=grpc_code.name,
            duration_s=round(time.monotonic() - self.started, 6),
            **facts,
        )


class BridgeService:
    """Carries out the operations of any number of services."""

    def __init__(self, keyring: Keyring, wallet: WalletClient, limits: DeadlineLimits, emit: Emit = ignore) -> None:
        self.in_flight = InFlight()
        self._keyring = keyring
        self._wallet = wallet
        self._limits = limits
        self._emit = emit

    async def handle(self, route: Route, serialized: bytes, caller_s: float | None) -> Message:
        """Carry out one call and report its end; raise a BridgeError, and nothing else, when it fails.

        `caller_s` is how many seconds the caller will wait, None when it did not say.
        """
        call = Call(route.operation)
        try:
            with self.in_flight.call():
                verdict, attempts = await self._carry_out(call, route, serialized, caller_s)
        except BridgeError as error:
            self._report(_failed(call, error))
            raise
        except asyncio.CancelledError:
            self._report(call.ended(GrpcCode.CANCELLED, outcome=call.fault.outcome.name))
            raise
        except Exception as unexpected:  # noqa: BLE001 - a security control: no exception's text may reach a caller
            fault = call.fault()
            self._report(_failed(call, fault, _places(unexpected)))
            raise fault from None
        self._report(_succeeded(call, verdict, attempts))
        return verdict.response

    def _report(self, event: CallEnded) -> None:
        try:
            self._emit(event)
        except Exception as unexpected:  # noqa: BLE001 - a log that cannot be written does not undo a call
            LOGGER.error("an event could not be reported: %s", _places(unexpected))  # noqa: TRY400 - places, no text

    async def _carry_out(
        self, call: Call, route: Route, serialized: bytes, caller_s: float | None
    ) -> tuple[Verdict, int]:
        deadline = Deadline.for_caller(caller_s, self._limits)
        request = route.parse(serialized)
        # Every request message has this field: operation.py checks it when the bridge starts.
        call.provider_id = request.provider_id  # type: ignore[attr-defined]
        route.validate(request)
        credentials = self._keyring.credentials(call.provider_id)
        if deadline.is_too_short():
            raise DeadlineTooShort
        body = route.encode(request)
        post = Post(route.operation, credentials.headers(body), body)
        call.fault = BridgeFault
        return await self._wallet.call(post, partial(route.judge, request), deadline)


def _succeeded(call: Call, verdict: Verdict, attempts: int) -> CallEnded:
    return call.ended(
        GrpcCode.OK,
        attempts=attempts,
        http_status=verdict.facts.http_status,
        wallet_code=verdict.facts.code,
        request_id=verdict.facts.request_id,
        missing_fields=verdict.missing,
        unknown_count=verdict.unknown_count,
    )


def _failed(call: Call, error: BridgeError, fault: str = "") -> CallEnded:
    return call.ended(
        error.grpc_code,
        reason=error.reason,
        outcome=error.outcome.name,
        cause=error.cause,
        attempts=error.attempts,
        http_status=error.wallet.http_status,
        wallet_code=error.wallet.code,
        request_id=error.wallet.request_id,
        fault=fault,
    )


def _places(error: BaseException) -> str:
    """Return where an exception came from, innermost last, without its text."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " > ".join(f"{PurePath(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__} at {places}"
