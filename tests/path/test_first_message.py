"""Calls whose message does not come: none is held for longer, or in greater number, than the limits say."""

import asyncio
import base64
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.rpc.status_pb2 import Status

from bridge.events import CallEnded
from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from bridge.server import first_message
from bridge.server.first_message import GrpcioServer, Waiting
from tests.support.engines import on_both_engines
from tests.support.floods.attacks import CANCEL, CHECK, EMPTY, REQUEST, TERMINATE, message
from tests.support.http2.frames import RST_STREAM, data, frame
from tests.support.raw_caller import RawCaller, raw_caller
from tests.support.reported import Reported
from tests.support.serving import call_once, listening_bridge
from tests.support.whole_path import PATIENCE_S
from wallet.v1.wallet_error_pb2 import Outcome, WalletError

INVALID_ARGUMENT, RESOURCE_EXHAUSTED, INTERNAL, UNIMPLEMENTED = "3", "8", "13", "12"
ECHO = "/test.Service/Echo"
BOTH = {"SERVER__HEALTH_LISTEN": "127.0.0.1:0"}


@asynccontextmanager
async def echo_server(waiting: Waiting) -> AsyncIterator[str]:
    """Serve a method that answers with its request, "nothing" for none; yield the address."""

    async def echo(request: bytes | None, _context: Any) -> bytes:
        return b"nothing" if request is None else request

    async def parsed(request: str, _context: Any) -> bytes:
        return request.encode()

    async def twice(request: bytes, _context: Any) -> AsyncIterator[bytes]:
        yield request
        yield request

    server = GrpcioServer(())
    server.waiting = waiting
    handlers: dict[str, Any] = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Parsed": grpc.unary_unary_rpc_method_handler(parsed, request_deserializer=bytes.decode),
        "Twice": grpc.unary_stream_rpc_method_handler(twice),
    }
    server.add_registered_method_handlers("test.Service", handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@on_both_engines
@pytest.mark.parametrize("body", [b"", message(b"ab", declared=9)], ids=["no byte", "less than declared"])
@pytest.mark.parametrize(("path", "port"), [(TERMINATE, "address"), (CHECK, "address"), (CHECK, "health_address")])
async def test_a_stream_that_ends_without_a_message(
    path: str, port: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call whose stream ends before its message is complete is an error at once, with no deadline of the caller's."""
    monkeypatch.setattr(first_message, "LOOK_S", 3600.0)  # it is not the limit for late messages that ends it
    async with listening_bridge("http://127.0.0.1:1", BOTH) as bridge, raw_caller(getattr(bridge, port)) as caller:
        caller.call(path, body)
        async with asyncio.timeout(PATIENCE_S):
            answer = await caller.answer()
        assert answer.headers["grpc-status"] in {INVALID_ARGUMENT, INTERNAL}


async def test_a_call_without_a_message_is_reported() -> None:
    """On grpcio the caller gets INVALID_REQUEST with all details, and the log and the metrics have the call."""
    received = Reported()
    async with listening_bridge("http://127.0.0.1:1", {}, received) as bridge, raw_caller(bridge.address) as caller:
        caller.call(TERMINATE, b"", more=(("x-request-id", "mine"),))
        headers = (await caller.answer()).headers
        ended = await received.next(CallEnded)
    details = headers["grpc-status-details-bin"]
    status = Status.FromString(base64.b64decode(details + "=" * (-len(details) % 4)))
    error = WalletError()
    assert status.details[0].Unpack(error)
    assert (headers["grpc-status"], error.reason, error.outcome) == (
        *(INVALID_ARGUMENT, "INVALID_REQUEST"),
        Outcome.OUTCOME_NOT_SENT,
    )
    assert (ended.reason, ended.cause, headers["wallet-call-id"]) == ("INVALID_REQUEST", "no_message", "mine")


async def test_a_caller_that_leaves_is_not_reported() -> None:
    """A stream that is reset before its message came is no call: nothing is logged, and nothing is left of it."""
    received = Reported()
    async with FaultServer(terminated) as wallet, listening_bridge(wallet.url, {}, received) as bridge:
        async with raw_caller(bridge.address) as caller:
            for stream_id in range(1, 41, 2):
                caller.call(TERMINATE, b"", stream_id=stream_id, ends=False)
                caller.send(frame(RST_STREAM, 0, stream_id, CANCEL))
            caller.call(TERMINATE, REQUEST, stream_id=41)
            assert (await caller.answer(41)).headers["grpc-status"] == "0"
        assert (await received.next(CallEnded)).reason == ""


async def until(waiting: Waiting, count: int) -> None:
    """Wait until so many calls wait."""
    while len(waiting) != count:  # noqa: ASYNC110 - there is no event
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("body", [b"", message(b"ab", declared=9)], ids=["no byte", "part of it"])
async def test_a_message_that_is_late(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose message does not come in time ends, and is forgotten; its connection serves others."""
    monkeypatch.setattr(first_message, "LOOK_S", 0.01)
    waiting = Waiting(message_s=0.05)
    async with echo_server(waiting) as address, raw_caller(address) as caller:
        caller.call(ECHO, body, ends=False)
        answer = await caller.answer()
        assert (answer.headers["grpc-status"], answer.body) == ("0", message(b"nothing"))
        caller.call(ECHO, message(b"x"), stream_id=3)
        assert (await caller.answer(3)).body == message(b"x")
        await until(waiting, 0)


async def test_a_message_that_came_while_the_loop_stood_still() -> None:
    """A message that has come in time is read, though the event loop was kept from reading it for longer."""
    loop, arrived = asyncio.get_running_loop(), asyncio.Event()

    class OneCall:
        async def read(self) -> bytes:
            await arrived.wait()
            return b"x"

    waiting = Waiting(message_s=0.1)
    task = asyncio.create_task(waiting.message(cast("Any", OneCall())))
    await asyncio.sleep(0)
    threading.Timer(0.05, loop.call_soon_threadsafe, [arrived.set]).start()
    time.sleep(3 * first_message.LOOK_S)  # noqa: ASYNC251 - the fault itself
    assert await task == b"x"


async def test_the_oldest_gives_way() -> None:
    """With as many calls as may wait, a further one costs the oldest its place; newer ones still get their answers."""
    waiting = Waiting(count_max=3)
    async with echo_server(waiting) as address, raw_caller(address) as caller:
        for number in range(4):
            caller.call(ECHO, b"", stream_id=2 * number + 1, ends=False)
            if number < 3:
                await _until_waiting(caller, waiting, number + 1)
        refused = await caller.answer(1)
        assert refused.headers["grpc-status"] == RESOURCE_EXHAUSTED
        assert refused.headers["grpc-message"].startswith("BRIDGE_OVERLOADED")
        assert refused.headers["wallet-call-id"]
        for stream_id in (3, 5, 7):
            caller.send(data(stream_id, message(b"late"), end=True))
            assert (await caller.answer(stream_id)).body == message(b"late")
        await until(waiting, 0)


async def _until_waiting(caller: RawCaller, waiting: Waiting, count: int) -> None:
    """Wait until so many calls wait, however often the bridge must be read from for that."""
    reading = asyncio.create_task(caller.read())
    await until(waiting, count)
    reading.cancel()
    await asyncio.wait([reading])


BURST = 4 * first_message.WAITING_MAX


async def burst(waiting: Waiting, payload: bytes) -> list[bytes | BaseException]:
    """Make as many calls in one moment as would reach the limit four times over; return what came of each."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with echo_server(waiting) as address, grpc.aio.insecure_channel(address, options=options) as channel:
        send: Any = channel.unary_unary(ECHO)
        calls = (send(payload) for _ in range(BURST))
        ends: list[bytes | BaseException] = await asyncio.gather(*calls, return_exceptions=True)
        return ends


async def test_a_burst_of_good_calls_is_not_refused() -> None:
    """Calls that begin in one moment, each with a message ten times as long as usual, never reach the limit."""
    payload = bytes(2_000)
    assert await burst(Waiting(), payload) == [payload] * BURST


async def test_a_burst_of_large_messages_loses_no_call() -> None:
    """Flow control lets 40 MB in bit by bit: what an overloaded machine cannot hold may come again."""
    payload = bytes(50_000)
    ends = await burst(Waiting(), payload)
    refused = [end for end in ends if end != payload]
    assert len(refused) <= BURST - first_message.WAITING_MAX
    for end in refused:
        assert isinstance(end, grpc.aio.AioRpcError), end
        assert end.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "Nothing was sent; retry after the delay in RetryInfo" in (end.details() or "")


async def test_streams_of_answers() -> None:
    """A method that answers with a stream gets its one message as before."""
    async with echo_server(Waiting()) as address, grpc.aio.insecure_channel(address) as channel:
        begin: Any = channel.unary_stream("/test.Service/Twice")
        assert [answer async for answer in begin(b"x")] == [b"x", b"x"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param(b"", INVALID_ARGUMENT, id="no message"),
        pytest.param(message(b"\xff"), INTERNAL, id="malformed"),
        pytest.param(EMPTY, "0", id="empty"),
    ],
)
async def test_a_handler_that_requires_its_request_parsed(body: bytes, status: str) -> None:
    """It is never called without a message, or with one that cannot be parsed, and no text of the error leaves."""
    async with echo_server(Waiting()) as address, raw_caller(address) as caller:
        caller.call("/test.Service/Parsed", body)
        headers = (await caller.answer()).headers
    assert headers["grpc-status"] == status
    assert "utf" not in headers.get("grpc-message", "").lower()


async def test_calls_go_on_beside_calls_that_wait() -> None:
    """Calls without a message, as many as may wait, keep no other call from being served."""
    async with (
        FaultServer(terminated) as wallet,
        listening_bridge(wallet.url, {}) as bridge,
        raw_caller(bridge.address) as caller,
    ):
        for number in range(2 * first_message.WAITING_MAX):
            caller.call(TERMINATE, b"", stream_id=2 * number + 1, ends=False)
        assert (await call_once(bridge.address)).code == "OK"
