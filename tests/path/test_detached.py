"""Cancelled calls: what was not sent is given up, what was sent is finished, and its true end reported once."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from bridge.deadline import DeadlineLimits
from bridge.http2.transport import Http2Transport
from bridge.sandbox.behaviours import (
    after,
    answer,
    hang,
    processed,
    refuse,
    reset_with,
    sequence,
    terminated,
    terminated_with,
)
from bridge.sandbox.server import FaultServer, Welcome
from bridge.sandbox.stream import Behaviour, Stream
from bridge.server.handlers import SERVICES
from bridge.service import BridgeService, Watchers
from bridge.transcoding.operation import operations
from bridge.transcoding.route import Route
from bridge.upstream.client import WalletClient
from bridge.upstream.signing import Credentials, Keyring
from tests.support.busy_bridge import FullBridge, full_bridge
from tests.support.engines import on_both_engines
from tests.support.random_wallet import abort, wallet_says
from tests.support.reported import Reported
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY
from tests.support.whole_path import PATIENCE_S, end_of, terminate_request, until

pytest_plugins = ["tests.support.two_loops"]
pytestmark = [
    pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]),
    on_both_engines,
    pytest.mark.short("asyncio-grpcio", "uvloop-native"),
]


async def leave(bridge: FullBridge, *calls: Any) -> None:
    """Let callers cancel; return when the bridge goes on without them."""
    before = bridge.service.detached
    for call in calls:
        call.cancel()
    await until(lambda: bridge.service.detached == before + len(calls))


async def until_free(bridge: FullBridge) -> None:
    """Wait until the bridge holds no call any more."""
    await until(lambda: bridge.service.admission.count == 0)
    assert (bridge.service.detached, bridge.service.admission.queued, bridge.wallet.open_streams) == (0, 0, 0)


async def disown(stream: Stream) -> None:
    """Promise by GOAWAY that the request was not processed."""
    stream.connection.goaway(0)


@dataclass(frozen=True)
class End:
    """What becomes of a call, and how it is reported."""

    behaviour: Callable[[], Behaviour]
    grpc_code: str
    reason: str = ""
    outcome: str = ""
    attempts: int = 1


def always(behaviour: Behaviour) -> Callable[[], Behaviour]:
    """Return what makes a behaviour that keeps nothing in mind: the same one for every test."""
    return lambda: behaviour


ALWAYS_REFUSED = reset_with(ErrorCodes.REFUSED_STREAM)
LOST = ("UNKNOWN", "WALLET_CONNECTION_LOST", "UNKNOWN")
NOT_PROCESSED = ("UNAVAILABLE", "WALLET_NOT_PROCESSED", "NOT_PROCESSED")
ENDS = {
    "success": End(always(terminated), "OK"),
    "the wallet says no": End(always(wallet_says(409, code=7)), "ABORTED", "WALLET_REJECTED", "REJECTED"),
    "code 2": End(always(wallet_says(500, code=2)), "UNKNOWN", "WALLET_UNKNOWN_ERROR", "UNKNOWN"),
    "gateway error": End(always(answer(502, b"<html>", ())), "UNKNOWN", "WALLET_GATEWAY_ERROR", "UNKNOWN"),
    "another token": End(always(terminated_with(token="other")), "DATA_LOSS", "WALLET_ECHO_MISMATCH", "UNKNOWN"),
    "stream reset": End(always(reset_with(ErrorCodes.INTERNAL_ERROR)), *LOST),
    "TCP reset": End(always(abort), *LOST),
    "refused once": End(lambda: refuse(1), "OK", attempts=2),
    "refused always": End(always(ALWAYS_REFUSED), *NOT_PROCESSED, attempts=3),
    "GOAWAY before it": End(lambda: sequence(disown, terminated), "OK", attempts=2),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_true_end_is_reported_once(end: End) -> None:
    """A call whose client has cancelled goes its way to the end, with its attempts, and that end is reported, once."""
    gate = asyncio.Event()
    async with full_bridge(FaultServer(after(gate, end.behaviour()))) as bridge:
        await leave(bridge, *await bridge.hold(1))
        gate.set()
        (ended,) = await bridge.ends.number(1)
        await until_free(bridge)
        assert bridge.wallet.resets == []
        assert len(bridge.wallet.requests) == end.attempts
        assert len(bridge.ends.calls) == 1
    assert (ended.grpc_code, ended.reason, ended.outcome) == (end.grpc_code, end.reason, end.outcome)
    assert (ended.is_detached, ended.attempts) == (True, end.attempts)


async def test_deadline_of_a_call_without_its_caller() -> None:
    """It goes on no longer than it would have with its caller, and then its stream is given up."""
    # Time enough for the call to reach the wallet and for its caller to leave.
    async with full_bridge(FaultServer(hang), {"WALLET__DEADLINE_DEFAULT_S": "2"}) as bridge:
        call = bridge.start("late")
        await bridge.wallet.until(lambda: bridge.tokens == ["late"])
        await leave(bridge, call)
        (ended,) = await bridge.ends.number(1)
        await bridge.wallet.until(lambda: len(bridge.wallet.resets) == 1)
        await until_free(bridge)
        assert bridge.wallet.resets[0].error_code == ErrorCodes.CANCEL
    assert (ended.reason, ended.outcome, ended.is_detached) == ("WALLET_TIMEOUT", "UNKNOWN", True)


async def test_many_callers_leave() -> None:
    """When 200 callers cancel, all their calls are finished, nothing is kept of them, and the next call succeeds."""
    gate = asyncio.Event()
    async with full_bridge(FaultServer(after(gate))) as bridge:
        await leave(bridge, *await bridge.hold(200))
        gate.set()
        ends = await bridge.ends.number(200)
        assert {(ended.grpc_code, ended.is_detached) for ended in ends} == {("OK", True)}
        assert sorted(bridge.wallet.processed) == sorted(bridge.tokens)
        assert len(set(bridge.tokens)) == 200
        await until_free(bridge)
        assert bridge.wallet.resets == []
        assert (await bridge.caller.terminate()).code == "OK"


async def test_neighbours_of_who_leaves() -> None:
    """Who stays gets the answer, on the same connection."""
    gate = asyncio.Event()
    async with full_bridge(FaultServer(after(gate))) as bridge:
        calls = await bridge.hold(4)
        await leave(bridge, *calls[::2])
        gate.set()
        assert [(await end_of(call)).code for call in calls[1::2]] == ["OK", "OK"]
        assert sorted(ended.is_detached for ended in await bridge.ends.number(4)) == [False, False, True, True]
        assert bridge.wallet.connections == 1


async def test_its_place_stays_taken() -> None:
    """A call without its caller still counts: the wallet has no more of them at once than may be admitted."""
    gate = asyncio.Event()
    async with full_bridge(
        FaultServer(after(gate)), {"SERVER__MAX_IN_FLIGHT": "1", "SERVER__MAX_QUEUED": "1"}
    ) as bridge:
        await leave(bridge, *await bridge.hold(1))
        (queued,) = await bridge.queue("queued")
        assert bridge.tokens == ["held-0"]
        gate.set()
        assert (await end_of(queued)).code == "OK"


async def test_drain_waits_for_it() -> None:
    """A drain does not end before a call that has lost its caller has its answer."""
    gate = asyncio.Event()
    async with full_bridge(FaultServer(after(gate))) as bridge:
        await leave(bridge, *await bridge.hold(1))
        drain = asyncio.create_task(bridge.caller.bridge.drain(0))
        with pytest.raises(TimeoutError):
            # Far longer than a drain of nothing takes; one that waits has no end before the gate is opened.
            await asyncio.wait_for(asyncio.shield(drain), 0.2)
        gate.set()
        await drain
        assert bridge.wallet.processed == ["held-0"]
        assert [ended.grpc_code for ended in bridge.ends.calls] == ["OK"]


NO_STREAMS: Mapping[int, int] = {SettingCodes.MAX_CONCURRENT_STREAMS: 0}
NOT_READY: Mapping[str, Callable[[], FaultServer]] = {
    "the wallet allows no stream": lambda: FaultServer(terminated, settings=NO_STREAMS),
    "the wallet has not sent SETTINGS": lambda: FaultServer(terminated, settings=None),
    "the wallet says nothing": lambda: FaultServer(terminated, welcome=lambda _number: Welcome.STALL),
}


@pytest.mark.parametrize("name", NOT_READY)
async def test_cancel_before_sending(name: str) -> None:
    """A call that waits for the wallet's connection is given up at once: nothing of it is sent, and nothing is kept."""
    async with full_bridge(NOT_READY[name]()) as bridge:
        call = bridge.start("cancelled")
        await bridge.wallet.until(lambda: bridge.wallet.connections == 1)
        call.cancel()
        (ended,) = await bridge.ends.number(1)
        await until_free(bridge)
        assert bridge.tokens == []
    assert (ended.grpc_code, ended.outcome, ended.is_detached) == ("CANCELLED", "NOT_SENT", False)


async def lose_and_take_no_more(stream: Stream) -> None:
    """Process the request, and break the connection; those that follow are given no stream."""
    stream.mark_processed()
    stream.connection._manners.settings = NO_STREAMS
    stream.connection.abort()


async def refuse_and_take_no_more(stream: Stream) -> None:
    """Refuse the request, and retire the connection; those that follow are given no stream."""
    stream.connection._manners.settings = NO_STREAMS
    stream.connection.goaway(0)


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [(lose_and_take_no_more, "UNKNOWN"), (refuse_and_take_no_more, "NOT_PROCESSED")],
    ids=["the first attempt was lost", "the first attempt was refused"],
)
async def test_cancel_before_a_repetition(behaviour: Behaviour, outcome: str) -> None:
    """A call that is given up before its second attempt is sent is reported with what is certain after its first."""
    async with full_bridge(FaultServer(behaviour), {"WALLET__RETRY_UNKNOWN": "true"}) as bridge:
        call = bridge.start("cancelled")
        await bridge.wallet.until(lambda: bridge.wallet.connections == 2)
        call.cancel()
        (ended,) = await bridge.ends.number(1)
        await until_free(bridge)
    assert (ended.grpc_code, ended.outcome) == ("CANCELLED", outcome)


REPETITIONS: Mapping[str, Callable[[], Behaviour]] = {
    "it is not sent": lambda: lose_and_take_no_more,
    "the wallet is unavailable": lambda: sequence(processed(abort), wallet_says(503, code=9)),
    "the wallet accepts less": lambda: sequence(processed(abort), wallet_says(429, code=9)),
    "the wallet refuses the keys": lambda: sequence(processed(abort), wallet_says(401, code=9)),
    "the wallet says no": lambda: sequence(processed(abort), wallet_says(400, code=9)),
}


@pytest.mark.short("grpcio")
@pytest.mark.asyncio(loop_factories=["asyncio"])
@pytest.mark.parametrize("name", REPETITIONS)
async def test_failure_of_a_repetition(name: str) -> None:
    """No later no makes anything certain about a first attempt that was lost: it may have been processed."""
    # The longest delay before a repetition is 0.5 s. Only a repetition that is never sent lasts until the deadline.
    deadline_s = 2.0 if name == "it is not sent" else PATIENCE_S
    settings = {"WALLET__RETRY_UNKNOWN": "true", "WALLET__DEADLINE_DEFAULT_S": str(deadline_s)}
    async with full_bridge(FaultServer(REPETITIONS[name]()), settings) as bridge:
        end = await bridge.caller.terminate("lost")
        assert bridge.wallet.processed == ["lost"]
    assert end.error_info.metadata["outcome"] == "UNKNOWN"
    assert end.code != "UNAVAILABLE"


ROUTE = Route(operations(SERVICES[0])[0], {})


@asynccontextmanager
async def service_over(
    transport: httpx.AsyncBaseTransport, wallet: FaultServer, ends: Reported
) -> AsyncIterator[tuple[BridgeService, "asyncio.Task[Any]"]]:
    """Put a service together over this transport, without a server, with a call that the wallet has."""
    client = WalletClient(transport, wallet.url)
    keyring = Keyring([Credentials(1, ACCESS_KEY, PRIVATE_KEY)])
    service = BridgeService(keyring, client, DeadlineLimits(default_s=PATIENCE_S), Watchers(ends))
    call = asyncio.create_task(service.handle(ROUTE, terminate_request("held").SerializeToString(), None))
    await wallet.until(lambda: len(wallet.requests) == 1)
    yield service, call
    await client.aclose()


async def test_a_second_cancel_ends_it() -> None:
    """A second cancel of a call counts: its stream is given up, and its end reported as unknown."""
    ends = Reported()
    transport = Http2Transport(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    async with FaultServer(hang) as wallet, service_over(transport, wallet, ends) as (service, call):
        call.cancel()
        await until(lambda: service.detached == 1)
        assert not call.done()
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        await wallet.until(lambda: len(wallet.resets) == 1)
        assert (service.detached, service.admission.count) == (0, 0)
    (ended,) = ends.calls
    assert (ended.grpc_code, ended.outcome, ended.is_detached) == ("CANCELLED", "UNKNOWN", True)


async def test_a_transport_that_cannot_go_on() -> None:
    """Over httpx's own transport a cancel ends the call, and the report says that its outcome is unknown."""
    ends = Reported()
    transport = httpx.AsyncHTTPTransport(http1=False, http2=True)
    async with FaultServer(hang) as wallet, service_over(transport, wallet, ends) as (service, call):
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
        assert call.cancelled()
        assert (service.detached, service.admission.count) == (0, 0)
    (ended,) = ends.calls
    assert (ended.grpc_code, ended.outcome, ended.is_detached) == ("CANCELLED", "UNKNOWN", True)
