"""The whole path for tests: a bridge before any wallet, a channel to it, and everything that a call's end reports."""

import asyncio
import inspect
import itertools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from bridge.call_id import is_caller_id
from bridge.events import Emit, ignore
from bridge.sandbox.operations import TERMINATE_REQUEST
from bridge.server.app import BridgeServer, running
from bridge.settings.model import load
from tests.support import engines
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY
from wallet.v1.wallet_error_pb2 import Outcome, WalletError
from wallet.v1.wallet_service_pb2 import TerminateRequest, TerminateResponse
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

TOKEN: str = TERMINATE_REQUEST["token"]

# Long enough for a busy machine, short enough to end a test that hangs; no test waits for it to pass.
PATIENCE_S = 30.0

TURNS = 100
"""Turns of the loop after which who waits for what nothing reports sleeps between two looks."""

DETAILS_BYTES_MAX = 4096  # before base64: docs/design/contract.md, "Failures"

Metadata = Sequence[tuple[str, str]]

NO_SETTINGS: Mapping[str, str] = {}

CHANNEL_OPTIONS = (
    # A client of ours must not hide what the bridge did: no retries, whatever the trailers say.
    ("grpc.enable_retries", 0),
    # Nor have anything from an earlier bridge that the kernel had given the same port.
    ("grpc.use_local_subchannel_pool", 1),
)


def environment(wallet_url: str, settings: Mapping[str, str] = NO_SETTINGS) -> dict[str, str]:
    """Return the environment of a bridge for this wallet: providers 1 and 12345, a free port, and these settings.

    Either provider may have all places, unless the settings say otherwise: most tests call for a single one.
    A setting's name is its path with "__": {"WALLET__CA_FILE": "ca.pem"}. One from a file has no other value.
    """
    defaults = {
        "SERVER__LISTEN": "127.0.0.1:0",
        "SERVER__DRAIN_S": "0",
        "SERVER__ENGINE": engines.current(),
        "SERVER__MAX_IN_FLIGHT_PER_PROVIDER": settings.get("SERVER__MAX_IN_FLIGHT", "1000"),
        "SERVER__NATIVE_TRUSTS_CALLERS": "true",
        "TELEMETRY__METRICS_LISTEN": "",
        "WALLET__URL": wallet_url,
        "WALLET__ALLOW_PLAINTEXT": "true",
        # A busy machine needs longer than the default. A connection that stays silent leaves time for another.
        "WALLET__CONNECT_TIMEOUT_S": str(PATIENCE_S / 4),
        "WALLET__DEADLINE_DEFAULT_S": str(PATIENCE_S),
        **{f"WALLET__PROVIDERS__{provider}__ACCESS_KEY": ACCESS_KEY for provider in (1, 12345)},
        **{f"WALLET__PROVIDERS__{provider}__PRIVATE_KEY": PRIVATE_KEY for provider in (1, 12345)},
    }
    given = {name: value for name, value in {**defaults, **settings}.items() if f"{name}_FILE" not in settings}
    return {f"BRIDGE_{name}": value for name, value in given.items()}


@asynccontextmanager
async def bridge_to(
    wallet_url: str, settings: Mapping[str, str] = NO_SETTINGS, emit: Emit = ignore, **options: Any
) -> AsyncIterator["Caller"]:
    """Run a bridge before this wallet, with these options of `running`, and open a channel to it."""
    async with (
        running(load(None, environment(wallet_url, settings)), emit=emit, **options) as bridge,
        grpc.aio.insecure_channel(bridge.address, options=CHANNEL_OPTIONS) as channel,
    ):
        yield Caller(bridge, channel)


async def until(look: Callable[[], Any], condition: Callable[[Any], bool] = bool) -> Any:
    """Look again and again, for what nothing reports, until it is as wanted; return it. Fail with the last of it."""
    seen: Any = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            for turn in itertools.count():
                seen = look()
                if inspect.isawaitable(seen):
                    seen = await seen
                if condition(seen):
                    return seen
                await asyncio.sleep(0 if turn < TURNS else 0.005)
    except TimeoutError:
        raise AssertionError(seen) from None


@dataclass(frozen=True)
class End:
    """How a call ended, decoded."""

    code: str
    response: TerminateResponse | None = None
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    """By the detail's message name; each occurs once."""
    trailers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def wallet_error(self) -> WalletError:
        """The first detail of every failure."""
        found: WalletError = self.details["WalletError"]
        return found

    @property
    def error_info(self) -> ErrorInfo:
        """The second detail of every failure."""
        found: ErrorInfo = self.details["ErrorInfo"]
        return found

    @property
    def call_id(self) -> str:
        """What caller and operator share; "" where no handler of the bridge ended the call."""
        return str(self.trailers.get("wallet-call-id", ""))


@dataclass(frozen=True)
class Caller:
    """A game service with a channel to the bridge."""

    bridge: BridgeServer
    channel: grpc.aio.Channel

    async def terminate(self, token: str = TOKEN, **options: Any) -> End:
        """Call Terminate, with what `call_over` takes."""
        return await call_over(self.channel, token, **options)


async def call_over(
    channel: grpc.aio.Channel,
    token: str = TOKEN,
    *,
    timeout_s: float | None = None,
    metadata: Metadata = (),
    **fields: Any,
) -> End:
    """Call Terminate with the wallet page's example, but this token and these fields."""
    request = terminate_request(token, **fields)
    return await end_of(WalletServiceStub(channel).Terminate(request, timeout=timeout_s, metadata=metadata))


def terminate_request(token: str = TOKEN, **fields: Any) -> TerminateRequest:
    """Return the wallet page's example with this token and these fields."""
    return TerminateRequest(**(TERMINATE_REQUEST | {"token": token} | fields))


async def end_of(call: Any) -> End:
    """Wait for a call to end and decode everything."""
    try:
        return End("OK", await call, trailers=dict(await call.trailing_metadata() or ()))
    except grpc.aio.AioRpcError as error:
        trailers = dict(error.trailing_metadata() or ())
        status = Status.FromString(trailers.get("grpc-status-details-bin", b""))
        return End(error.code().name, None, error.details() or "", _unpacked(status), trailers)


def _unpacked(status: Status) -> dict[str, Message]:
    unpacked: dict[str, Message] = {}
    for packed in status.details:
        detail = GetMessageClass(Default().FindMessageTypeByName(packed.TypeName()))()
        packed.Unpack(detail)
        assert detail.DESCRIPTOR.name not in unpacked
        unpacked[detail.DESCRIPTOR.name] = detail
    return unpacked


@dataclass(frozen=True)
class Failure:
    """What a call's failure must report, in every place where it is reported."""

    grpc_code: str
    reason: str
    outcome: str
    http_status: int = 0
    code: int | None = None
    message: str = ""
    request_id: str = ""
    cause: str = ""
    retry_after_s: float | None = None
    violations: tuple[tuple[str, str], ...] = ()
    attempts: int = 1

    def check(self, end: End) -> None:
        """Compare code, message, WalletError, ErrorInfo, RequestInfo, RetryInfo, BadRequest and trailers, exactly."""
        assert (end.code, end.wallet_error) == (self.grpc_code, self._wallet_error(end.call_id))
        assert end.message.startswith(f"{self.reason}: ")
        assert end.error_info == ErrorInfo(
            reason=self.reason, domain="wallet-bridge", metadata=self._metadata(end.call_id)
        )
        further = {"RetryInfo": self.retry_after_s is not None, "BadRequest": self.violations}
        present = {name for name, is_there in further.items() if is_there}
        assert set(end.details) == {"WalletError", "ErrorInfo", "RequestInfo", *present}
        assert is_caller_id(end.call_id)
        assert end.details["RequestInfo"].request_id == (self.request_id or end.call_id)
        if self.retry_after_s is not None:
            assert end.details["RetryInfo"].retry_delay.ToMilliseconds() == self.retry_after_s * 1000
        found = end.details.get("BadRequest", BadRequest()).field_violations
        assert tuple((violation.field, violation.description) for violation in found) == self.violations
        assert end.trailers.get("wallet-request-id", "") == self.request_id
        assert end.trailers.get("grpc-retry-pushback-ms") == self._pushback()
        assert ("wallet-safe-to-repeat" in end.trailers) is (self.grpc_code == "UNAVAILABLE")
        assert len(end.trailers["grpc-status-details-bin"]) < DETAILS_BYTES_MAX

    def _pushback(self) -> str | None:
        # The native engine cannot send it.
        return "-1" if self.outcome == "UNKNOWN" and engines.current() == "grpcio" else None

    def _wallet_error(self, call_id: str) -> WalletError:
        return WalletError(
            outcome=Outcome.Value(f"OUTCOME_{self.outcome}"),
            reason=self.reason,
            code=self.code,
            message=self.message,
            request_id=self.request_id,
            http_status=self.http_status,
            attempts=self.attempts,
            call_id=call_id,
        )

    def _metadata(self, call_id: str) -> dict[str, str]:
        texts = {name: getattr(self, name) for name in ("message", "request_id", "cause") if getattr(self, name)}
        numbers = {"code": self.code, "http_status": self.http_status or None, "attempts": self.attempts}
        given = {name: str(number) for name, number in numbers.items() if number is not None}
        return {"outcome": self.outcome, "call_id": call_id, **texts, **given}
