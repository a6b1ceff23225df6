"""The call path by itself: what it reports, and that nothing unexpected gets out of it but a BRIDGE_FAULT.

What a call leaves is freed at its end, without the garbage collector, which runs seldom in a bridge.
"""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import httpx
import pytest
from google.protobuf.message import Message

from bridge.deadline import DeadlineLimits
from bridge.errors import BridgeDraining, BridgeFault, BridgeFaultBeforeSend
from bridge.events import CallEnded, Event
from bridge.http2.transport import Http2Transport
from bridge.outcome import BridgeError
from bridge.sandbox.behaviours import terminated, terminated_with
from bridge.sandbox.server import FaultServer
from bridge.server.handlers import SERVICES, behaviour_of
from bridge.service import BridgeService, Watchers
from bridge.transcoding.operation import operations
from bridge.transcoding.route import Route
from bridge.upstream.client import WalletClient
from bridge.upstream.signing import Credentials, Keyring
from tests.support.settings_files import ACCESS_KEY, PRIVATE_KEY
from tests.support.whole_path import TOKEN, terminate_request
from wallet.v1.wallet_service_pb2 import TerminateResponse

SECRET = "a text that must not be read"
ROUTE = Route(operations(SERVICES[0])[0], {})
REQUEST = terminate_request().SerializeToString()
PATIENT = DeadlineLimits(default_s=60.0, max_s=60.0)
CONNECT_S = 30.0
"""Time for a busy machine."""


class Broken(httpx.AsyncBaseTransport):
    """A transport with a bug."""

    async def handle_async_request(self, _request: httpx.Request) -> httpx.Response:
        """Fail in a way that is unexpected."""
        raise KeyError(SECRET)


def broken_route() -> Route:
    """Return an operation whose encoder has a bug."""

    def encode(message: Message) -> bytes:  # noqa: ARG001 - the codec's own name
        raise KeyError(SECRET)

    route = Route(ROUTE.operation, {})
    route.encode = encode
    return route


KEYRING = Keyring([Credentials(1, ACCESS_KEY, PRIVATE_KEY)])


def transport_to_wallet() -> Http2Transport:
    """Return a transport that waits for a connection for as long as a busy machine may need."""
    return Http2Transport(httpx.create_ssl_context(), connect_timeout_s=CONNECT_S)


@asynccontextmanager
async def service_of(
    transport: httpx.AsyncBaseTransport,
    events: list[Event],
    url: str = "https://wallet.example",
) -> AsyncIterator[BridgeService]:
    """Put a service together that reports into this list."""
    wallet = WalletClient(transport, url)
    yield BridgeService(KEYRING, wallet, PATIENT, Watchers(events.append))
    await wallet.aclose()


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        pytest.param(ROUTE, BridgeFault, id="after the first byte, for all we know"),
        pytest.param(broken_route(), BridgeFaultBeforeSend, id="before the first byte"),
    ],
)
async def test_unexpected_exception(route: Route, expected: type[BridgeError]) -> None:
    """An exception that is unexpected is BRIDGE_FAULT with the outcome that is certain; only its place is reported."""
    events: list[Event] = []
    async with service_of(Broken(), events) as service:
        with pytest.raises(expected) as raised:
            await service.handle(route, REQUEST, None)
    started, event = events
    assert started == route.started
    assert isinstance(event, CallEnded)
    assert event.reason == "BRIDGE_FAULT"
    assert event.fault.startswith("KeyError at service.py:")
    assert SECRET not in repr(event) + repr(raised.value)
    assert raised.value.__suppress_context__


class Timed(Broken):
    """A transport that remembers for how long it may wait, and then has its bug."""

    waits_s = 0.0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Take note of the time."""
        self.waits_s = request.extensions["timeout"]["read"]
        return await super().handle_async_request(request)


async def test_calls_under_way_shorten_the_time_of_the_next() -> None:
    """With 400 calls under way, admitted or waiting, the wallet has 0.4 s less than the margin of one call leaves."""
    transport = Timed()
    async with service_of(transport, []) as service:
        assert all(service.admission.enter(1) for _ in range(400))
        with pytest.raises(BridgeFault):
            await service.handle(ROUTE, REQUEST, 40.0)
    assert 0 < transport.waits_s <= 0.99 * 40.0 - 0.05 - 0.4


async def test_success_is_reported_with_drift() -> None:
    """A success without message, with a member that is unknown, is OK and reported with both."""
    events: list[Event] = []
    behaviour = terminated_with(extra=1)
    async with FaultServer(behaviour) as wallet, service_of(transport_to_wallet(), events, wallet.url) as service:
        await service.handle(ROUTE, REQUEST, None)
    started, event = events
    assert started == ROUTE.started
    assert isinstance(event, CallEnded)
    assert (event.grpc_code, event.provider_id, event.attempts) == ("OK", 1, 1)
    assert (event.http_status, event.wallet_code, event.unknown_count, event.missing_fields) == (200, 1, 1, ())
    assert TOKEN not in repr(event)


async def test_report_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A listener that fails does not undo the call: its caller still gets OK, and the log says where it failed."""

    def broken(_event: Event) -> None:
        raise OSError(SECRET)

    async with FaultServer(terminated) as wallet:
        client = WalletClient(transport_to_wallet(), wallet.url)
        service = BridgeService(KEYRING, client, PATIENT, Watchers(broken))
        with caplog.at_level(logging.ERROR):
            response = await service.handle(ROUTE, REQUEST, None)
        await client.aclose()
    assert isinstance(response, TerminateResponse)
    assert response.token == TOKEN
    assert "OSError at service.py:" in caplog.text
    assert SECRET not in caplog.text


async def test_draining_service_refuses() -> None:
    """Once it refuses, a call that could be served is BRIDGE_DRAINING; those under way are waited for."""
    events: list[Event] = []
    async with service_of(Broken(), events) as service:
        service.admission.refuse()
        with pytest.raises(BridgeDraining):
            await service.handle(ROUTE, REQUEST, None)
        await asyncio.wait_for(service.admission.idle(), timeout=60)
    started, ended = events
    assert started == ROUTE.started
    assert isinstance(ended, CallEnded)
    assert (ended.reason, ended.provider_id) == ("BRIDGE_DRAINING", 1)


class Left:
    """A call as its server sees it, whose client cancels in the very moment in which its failure is sent."""

    def invocation_metadata(self) -> None:
        """Return nothing: nothing came beside the request."""

    def set_trailing_metadata(self, _trailers: object) -> None:
        """Take trailers, which no one is there to read."""

    def time_remaining(self) -> float | None:
        """Return nothing: the caller has not said."""

    async def abort(self, *_status: object) -> None:
        """Fail as grpc.aio does where the call is over in the core."""
        raise grpc.aio.InternalError("Failed grpc_call_start_batch")


async def test_cancel_while_the_outcome_is_reported() -> None:
    """What grpc.aio would log as an error of ours is a client that has cancelled: the handler ends as cancelled."""
    async with service_of(Broken(), []) as service:
        service.admission.refuse()
        context: Any = Left()
        with pytest.raises(asyncio.CancelledError):
            await behaviour_of(service, ROUTE)(REQUEST, context)


async def test_a_call_leaves_nothing_to_the_collector() -> None:
    """The values of a call, which hold its request and gRPC's context, are gone when it has ended."""
    async with FaultServer(terminated) as wallet, service_of(transport_to_wallet(), [], wallet.url) as service:
        gc.collect()
        gc.disable()
        try:
            earlier = _calls()
            await service.handle(ROUTE, REQUEST, None)
            assert [one for one in _calls() if not any(one is other for other in earlier)] == []
        finally:
            gc.enable()


def _calls() -> list[object]:
    return [one for one in gc.get_objects() if type(one).__qualname__ in {"Call", "Watch", "Sending"}]
