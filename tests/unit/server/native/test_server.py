"""The native engine as a server: its start, its limits, its end."""

import asyncio
import tempfile
import threading
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_reflection.v1alpha import reflection
from pygrpc_native import EVENT_CALL, EVENT_CANCEL, NativeGrpcFront

from bridge.address import ListenError
from bridge.server.native.server import NativeServer
from tests.support.native_server import DEADLINE_S, OPTIONS, SERVICE, call, native, status_of, unary
from tests.support.whole_path import CHANNEL_OPTIONS

MANY = 1100
"""More calls on one connection than the engine takes by default."""


class Gate:
    """A handler that lets no one pass before it is opened, and knows who waits."""

    def __init__(self) -> None:
        self.waiting = 0
        self._changed = asyncio.Condition()
        self._is_open = False

    async def __call__(self, request: bytes, _context: Any) -> bytes:
        """Wait and answer with the request."""
        async with self._changed:
            self.waiting += 1
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._is_open)
        return request

    async def holds(self, count: int) -> None:
        """Wait until so many have come."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.waiting == count)

    async def open(self) -> None:
        """Let everybody pass."""
        async with self._changed:
            self._is_open = True
            self._changed.notify_all()


async def echo(request: bytes, _context: Any) -> bytes:
    """Answer with the request."""
    return request


def test_unknown_options_are_refused() -> None:
    """A limit that the engine lacks is not left out without a word."""
    with pytest.raises(ValueError, match=r"has no grpc\.max_connection_age_ms$"):
        NativeServer((*OPTIONS, ("grpc.max_connection_age_ms", 1)))


def test_no_tls() -> None:
    """A certificate is refused, instead of being ignored and served in plaintext."""
    credentials = grpc.ssl_server_credentials([(b"key", b"certificate")])
    with pytest.raises(NotImplementedError):
        NativeServer(OPTIONS).add_secure_port("127.0.0.1:0", credentials)


async def test_no_port() -> None:
    """A server without a port cannot start."""
    with pytest.raises(RuntimeError, match="add_insecure_port"):
        await NativeServer(OPTIONS).start()


async def test_many_calls_on_one_connection() -> None:
    """Calls that wait for long keep no other from coming, however many share a connection."""
    gate = Gate()
    async with native({"Wait": unary(gate), "Echo": unary(echo)}) as (_, channel):
        waiting = [call(channel, "Wait") for _ in range(MANY)]
        await gate.holds(MANY)
        assert await call(channel, "Echo", b"x") == b"x"
        await gate.open()
        assert {(await status_of(each))[0] for each in waiting} == {"OK"}


async def test_nothing_is_left_of_a_call_that_never_began() -> None:
    """A call whose cancel comes with it ends before its task runs, and is forgotten."""
    server = NativeServer(OPTIONS)
    front = NativeGrpcFront("127.0.0.1:0", [])
    details = ((), "ipv4:127.0.0.1:1", None)
    events = [(EVENT_CALL, 1, 0, b"", b"application/grpc", details), (EVENT_CANCEL, 1, 0, None, None, None)]
    server._handle(front, (unary(echo),), events, 0.0)
    (task,) = server._tasks.values()
    await asyncio.wait([task])
    await asyncio.sleep(0)  # its callbacks run one turn later
    assert (task.cancelled(), server._tasks) == (True, {})
    front.close()


@pytest.mark.parametrize("size", [1, 1_000_000])
async def test_answers_leave_before_the_end(size: int) -> None:
    """Answers that were given when the server stops all arrive: the engine alone would cut off many of them."""
    gate, answer = Gate(), bytes(size)

    async def behaviour(request: bytes, context: Any) -> bytes:
        await gate(request, context)
        return answer

    async with native({"Wait": unary(behaviour)}) as (server, channel):
        waiting = [asyncio.create_task(status_of(call(channel, "Wait"))) for _ in range(100)]
        await gate.holds(len(waiting))
        await gate.open()
        await asyncio.wait(tuple(server._tasks.values()))
        await server.stop(None)
        assert {code for code, _ in await asyncio.gather(*waiting)} == {"OK"}


async def test_a_stop_waits_for_calls() -> None:
    """With a grace, a call that ends in time is answered, and new ones are refused meanwhile."""
    gate = Gate()
    async with native({"Wait": unary(gate), "Echo": unary(echo)}) as (server, channel):
        waiting = asyncio.create_task(status_of(call(channel, "Wait")))
        await gate.holds(1)
        stopping = asyncio.create_task(server.stop(20))
        await asyncio.sleep(0)
        assert await status_of(call(channel, "Echo")) == ("UNAVAILABLE", "the bridge stops")
        await gate.open()
        assert await waiting == ("OK", "")
        await stopping
        assert not await server.wait_for_termination(20)


async def test_a_stop_without_grace() -> None:
    """Without a grace open calls end at once, and their callers are answered, not that it is safe to repeat them."""
    gate = Gate()
    async with native({"Wait": unary(gate)}) as (server, channel):
        waiting = asyncio.create_task(status_of(call(channel, "Wait")))
        await gate.holds(1)
        await server.stop(None)
        assert await waiting == ("CANCELLED", "the call was cut off")


async def test_a_stop_that_is_cancelled() -> None:
    """A stop that was given up can be called again, and no thread is left then."""
    gate = Gate()
    async with native({"Wait": unary(gate)}) as (server, channel):
        waiting = asyncio.create_task(status_of(call(channel, "Wait")))
        await gate.holds(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(server.stop(20), 0)
        assert await server.wait_for_termination(0)
        await server.stop(None)
        await server.stop(None)
        assert (await waiting)[0] == "CANCELLED"
    assert "bridge-native" not in {thread.name for thread in threading.enumerate()}


def test_a_loop_that_ends_without_a_stop() -> None:
    """A server that is not stopped before its event loop is closed answers the next caller and closes the port."""

    async def start() -> int:
        server = NativeServer(OPTIONS)
        server.add_registered_method_handlers(SERVICE, {"Echo": unary(echo)})
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return port

    port = asyncio.run(start())
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
        send: Any = channel.unary_unary(f"/{SERVICE}/Echo")
        with pytest.raises(grpc.RpcError) as refused:
            send(b"", timeout=DEADLINE_S)
    assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_reflection_is_served_behind_it(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reflection, which is a stream of requests, is answered too, and its socket is gone in the end."""
    monkeypatch.setattr(tempfile, "tempdir", str(short_path))
    server = NativeServer(OPTIONS)
    reflection.enable_server_reflection([reflection.SERVICE_NAME], server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    assert files_in(short_path) != []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS) as channel:
        ask: Any = channel.stream_stream("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
        answers = ask(iter([b"\x3a\x01*"]))  # list_services
        assert reflection.SERVICE_NAME.encode() in await answers.read()
    await server.stop(None)
    assert files_in(short_path) == []


def files_in(folder: Path) -> list[Path]:
    """Return everything in a folder."""
    return list(folder.rglob("*"))


@pytest.mark.parametrize("name", ["nowhere", "a" * 120], ids=["no folder", "a path that is too long"])
async def test_no_socket_for_reflection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Where there can be no socket the start ends with one line, and the port is free again."""
    if name != "nowhere":
        (tmp_path / name).mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    server = NativeServer(OPTIONS)
    reflection.enable_server_reflection([reflection.SERVICE_NAME], server)
    port = server.add_insecure_port("127.0.0.1:0")
    with pytest.raises(ListenError, match=r"^server\.reflection: .* TMPDIR"):
        await server.start()
    again = NativeServer(OPTIONS)
    assert again.add_insecure_port(f"127.0.0.1:{port}") == port
    await again.stop(None)
