"""No exception leaves a callback: it ends one stream, or the connection, and each call by its own outcome."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from bridge.http2.answers import Answers
from bridge.http2.connection import Connection
from bridge.http2.exchange import Exchange
from bridge.http2.exchanges import Exchanges
from bridge.http2.faults import LOGGER
from bridge.http2.hpack import HeaderDecoder
from bridge.http2.protocol import ClientProtocol
from bridge.http2.transport import exchange
from bridge.http2.writer import Writer
from bridge.sandbox.behaviours import by_token, hang, in_turn, terminated
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour
from tests.support.forms import NEEDS_SOURCES
from tests.support.http2.calls import LOST, OK, UNREACHABLE, alone_fails, calls_to, streams_max, wallet
from tests.support.http2.conversation import BODY, OPEN_STREAMS

pytest_plugins = ["tests.support.two_loops"]
pytestmark = [
    pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]),
    pytest.mark.usefixtures("nothing_left"),
    NEEDS_SOURCES,
]

FOREIGN = "text-of-the-server"
NEIGHBOUR, BAD = OPEN_STREAMS[:2]


@pytest.fixture
def reports(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """Return the reports of faults so far, up to "at"; none holds the exception's own text."""
    yield lambda: [each.getMessage().partition(" at ")[0] for each in caplog.records if each.name == LOGGER.name]
    assert FOREIGN not in caplog.text


def failing(real: Callable[..., Any], stream_id: int | None = None) -> Callable[..., Any]:
    """Do as `real`, but fail with a text of the server's: about this stream, or the first time if none is given."""
    is_first = True

    def step(*arguments: Any, **named: Any) -> Any:
        nonlocal is_first
        about = {getattr(each, name, None) for each in arguments for name in ("stream_id", "id")}
        if is_first if stream_id is None else stream_id in about:
            is_first = False
            raise LookupError(FOREIGN)
        return real(*arguments, **named)

    return step


STREAM_STEPS: dict[str, tuple[type, str]] = {
    "headers arrive": (Answers, "_on_answer"),
    "headers are taken": (Exchange, "begin"),
    "the stream ends": (Answers, "_end"),
    "the answer is complete": (Exchange, "complete"),
}


@pytest.mark.parametrize(("kind", "name"), STREAM_STEPS.values(), ids=STREAM_STEPS)
async def test_only_that_call_fails(
    kind: type, name: str, monkeypatch: pytest.MonkeyPatch, reports: Callable[[], list[str]]
) -> None:
    """The call is UNKNOWN at once; its neighbour, the connection and the next call do not notice."""
    real = getattr(kind, name)
    monkeypatch.setattr(kind, name, failing(real, BAD))
    assert (await alone_fails(terminated)).processed.count("bad") == 1
    assert reports() == ["a fault in an exchange: LookupError"]


sets = in_turn(lambda stream: stream.connection.settings(streams_max(50)), hang)


CONNECTION_STEPS: dict[str, tuple[type, str, Behaviour]] = {
    # The table of the header blocks is in doubt, so all later answers are.
    "a header block is decoded": (HeaderDecoder, "decode", terminated),
    "settings are taken": (ClientProtocol, "_set", sets),
    "requests are written": (Writer, "_write", hang),
}


@pytest.mark.parametrize(("kind", "name", "behaviour"), CONNECTION_STEPS.values(), ids=CONNECTION_STEPS)
async def test_each_call_ends_at_once_and_the_next_has_a_new_connection(
    kind: type, name: str, behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch, reports: Callable[[], list[str]]
) -> None:
    """Calls whose requests may have left are UNKNOWN; nothing waits for its deadline."""
    async with wallet(by_token({"bad": behaviour}, hang)) as (server, calls):
        neighbour = calls.start("neighbour")
        await server.until(lambda: len(server.requests) == 1)
        monkeypatch.setattr(kind, name, failing(getattr(kind, name)))
        assert [await calls.end("bad"), await neighbour] == [LOST, LOST]
        server.behaviour = terminated
        assert await calls.end("next") == OK
        assert server.connections == 2
    assert reports() == ["a fault in a connection: LookupError"]


async def test_request_that_cannot_be_encoded(reports: Callable[[], list[str]]) -> None:
    """It is NOT_SENT, and those that are written with it leave."""
    headers: Any = ((b":method", None),)
    async with FaultServer(terminated) as server, calls_to(server) as calls:
        assert await calls.end("first") == OK
        pool = calls.transport.pool(httpx.URL(server.url))
        bad = asyncio.create_task(exchange(pool, headers, BODY, 20.0, lambda: False))
        good = calls.start("good")
        with pytest.raises(httpx.ConnectError):
            await bad
        assert [await good, await calls.end("next")] == [OK, OK]
        assert [request.stream_id for request in server.requests] == [1, 3, 5]
    assert reports() == ["a fault in an exchange: TypeError"]


async def test_call_that_cannot_be_ended(monkeypatch: pytest.MonkeyPatch, reports: Callable[[], list[str]]) -> None:
    """When a connection breaks, each other call is ended all the same."""
    async with FaultServer(hang) as server, calls_to(server) as calls:
        tasks = [calls.start(token) for token in "abc"]
        await server.until(lambda: len(server.requests) == 3)
        monkeypatch.setattr(Exchange, "fail", failing(Exchange.fail, BAD))
        server.open_connections[0].abort()
        assert [await tasks[0], await tasks[2]] == [LOST, LOST]
        calls.expire("b")
        await tasks[1]
        server.behaviour = terminated
        assert await calls.end("next") == OK
    assert reports() == ["a fault in an exchange: LookupError"]


async def test_pool_that_fails(monkeypatch: pytest.MonkeyPatch, reports: Callable[[], list[str]]) -> None:
    """What the pool does when a slot is free is not the connection's: its calls end with their answers."""
    async with FaultServer(terminated) as server, calls_to(server) as calls:
        assert await calls.end("first") == OK
        (pool,) = calls.transport._pools.values()
        (connection,) = pool._connections
        monkeypatch.setattr(connection, "_changed", failing(pool._serve))
        assert [await calls.end("second"), await calls.end("third")] == [OK, OK]
        assert server.connections == 1
    assert reports() == ["a fault in the pool: LookupError"]


async def test_timer_that_fails(monkeypatch: pytest.MonkeyPatch, reports: Callable[[], list[str]]) -> None:
    """A connection that cannot retire is closed: it would be used for ever."""
    async with FaultServer(terminated) as server, calls_to(server) as calls:
        assert await calls.end("first") == OK
        (pool,) = calls.transport._pools.values()
        (connection,) = pool._connections
        monkeypatch.setattr(Exchanges, "refuse_more", failing(Exchanges.refuse_more))
        asyncio.get_running_loop().call_soon(connection.retire)
        await server.until(lambda: not server.open_connections)
        assert await calls.end("next") == OK
    assert reports() == ["a fault in a connection: LookupError"]


@pytest.mark.parametrize("callback", ["connection_made", "eof_received", "connection_lost"])
async def test_callback_of_the_transport(
    callback: str, monkeypatch: pytest.MonkeyPatch, reports: Callable[[], list[str]]
) -> None:
    """Whatever fails when a connection comes and goes, the call ends, and by an outcome that is true."""
    kind, inner = {
        "connection_made": (Writer, "flush"),
        "eof_received": (Connection, "_end"),
        "connection_lost": (Connection, "_fail_ready"),
    }[callback]
    fin, rst = in_turn(lambda stream: stream.connection.close()), in_turn(lambda stream: stream.connection.abort())
    async with wallet(rst if callback == "connection_lost" else fin) as (server, calls):
        if callback != "connection_made":
            calls.transport.pool(httpx.URL(server.url))
        monkeypatch.setattr(kind, inner, failing(getattr(kind, inner)))
        assert (await calls.end()).split()[0] in {LOST, UNREACHABLE}
        server.behaviour = terminated
        assert await calls.end("next") == OK
    assert reports() == ["a fault in a connection: LookupError"]
