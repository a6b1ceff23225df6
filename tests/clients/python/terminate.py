"""How a game service in Python calls Terminate: one channel, a deadline, and a decision by the outcome."""

from dataclasses import dataclass
from enum import Enum
from typing import TypeVar, cast

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RequestInfo, RetryInfo
from grpc_status import rpc_status

from wallet.v1 import wallet_error_pb2
from wallet.v1.wallet_error_pb2 import WalletError
from wallet.v1.wallet_service_pb2 import TerminateRequest, TerminateResponse
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

Detail = TypeVar("Detail", bound=Message)


def connect(address: str, service_config: str, keepalive_s: float = 10) -> grpc.Channel:
    """Open one channel, to be kept and shared by the whole service. In production: grpc.secure_channel."""
    options = [
        ("grpc.service_config", service_config),
        # A connection that has died without a word is found by its pings, with calls in flight or without.
        ("grpc.keepalive_time_ms", round(keepalive_s * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    ]
    return grpc.insecure_channel(f"dns:///{address}", options=options)


class Next(Enum):
    """What the game service does after a call."""

    DONE = "the wallet has confirmed that the token is deactivated"
    REPEAT = "nothing happened: the same call again, later"
    MEND = "nothing happened, and nothing will before the cause is fixed"
    WAIT = "the bridge retries the call by itself until it is certain: ask SettlementService later"
    CHECK = "the token may be alive or dead: find out, or retry Terminate deliberately"


@dataclass(frozen=True)
class Answer:
    """A call that the wallet has confirmed."""

    response: TerminateResponse
    call_id: str
    """By which the bridge's operator finds the call: log it."""


@dataclass(frozen=True)
class Failure:
    """Everything that a failed call reports. What the bridge did not send is None."""

    code: grpc.StatusCode
    call_id: str
    """As in Answer; "" where a library or a proxy ended the call, not the bridge."""
    wallet: WalletError | None = None
    info: ErrorInfo | None = None
    request: RequestInfo | None = None
    retry: RetryInfo | None = None

    @property
    def next(self) -> Next:
        """Decide by the outcome first. Without details, from a library or a proxy, nothing is certain."""
        if self.wallet and self.wallet.settlement == wallet_error_pb2.SETTLEMENT_PENDING:
            return Next.WAIT
        match self.wallet.outcome if self.wallet else wallet_error_pb2.OUTCOME_UNKNOWN:
            case wallet_error_pb2.OUTCOME_NOT_PROCESSED:
                return Next.REPEAT
            case wallet_error_pb2.OUTCOME_NOT_SENT | wallet_error_pb2.OUTCOME_REJECTED:
                # self.retry says how long to wait.
                return Next.REPEAT if self.code is grpc.StatusCode.UNAVAILABLE or self.retry else Next.MEND
            case _:
                return Next.CHECK


def terminate(
    channel: grpc.Channel, request: TerminateRequest, deadline_s: float, request_id: str = ""
) -> Answer | Failure:
    """End a session. Ids are int, 0 to 2^64-1; anything else raises ValueError.

    `request_id` is your own id of the call, for logs; without one the bridge makes it.
    """
    metadata = (("x-request-id", request_id),) if request_id else ()
    try:
        response, call = WalletServiceStub(channel).Terminate.with_call(request, timeout=deadline_s, metadata=metadata)
    except grpc.RpcError as error:
        return failure_of(error)
    return Answer(response, call_id_of(call))


def failure_of(error: grpc.RpcError) -> Failure:
    """Decode the details of a failed call."""
    # grpcio raises a call as its own error; the annotation of RpcError does not say so.
    call = cast("grpc.Call", error)
    status = rpc_status.from_call(call)
    packed = list(status.details) if status else []
    return Failure(
        code=call.code(),
        call_id=call_id_of(call),
        wallet=detail(packed, WalletError()),
        info=detail(packed, ErrorInfo()),
        request=detail(packed, RequestInfo()),
        retry=detail(packed, RetryInfo()),
    )


def call_id_of(call: grpc.Call) -> str:
    """Return the id with which the bridge ends every call."""
    return str(dict(call.trailing_metadata() or ()).get("wallet-call-id", ""))


def detail(packed: list[Any], empty: Detail) -> Detail | None:
    """Return the detail of this kind, unpacked into the empty message; None when there is none."""
    return empty if any(one.Unpack(empty) for one in packed) else None
