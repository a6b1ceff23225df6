"""Calls that are worth no work: held for a time, in bounded number, and let go at a stop."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc.aio
import pytest

from bridge.server import first_message, tarpit
from bridge.server.first_message import GrpcioServer
from bridge.server.listeners import health_options
from bridge.server.tarpit import Tarpit
from bridge.settings.model import load
from tests.support.whole_path import PATIENCE_S, environment, until

FOREVER_S = 3600.0


class Caller:
    """A call, as far as it is asked: by a peer that has a connection until it leaves."""

    def __init__(self) -> None:
        self.is_there = True

    def peer(self) -> str:
        """Return its name."""
        return "peer"

    def is_open(self, _peer: str) -> bool:
        """Say whether it is there."""
        return self.is_there


CALLER = Caller()


def tarpit_of(count_max: int, hold_s: float = FOREVER_S, caller: Caller = CALLER) -> Tarpit:
    """Return one whose calls are of one caller."""
    return Tarpit(count_max, caller.is_open, hold_s)


async def held(pit: Tarpit, count: int) -> list[asyncio.Task[None]]:
    """Let so many calls be held, one after the other."""
    tasks = []
    for _ in range(count):
        tasks.append(asyncio.create_task(pit.hold(CALLER)))
        await asyncio.sleep(0)
    return tasks


async def test_the_oldest_gives_way() -> None:
    """Where one is too many the oldest is let go, and only that."""
    pit = tarpit_of(3)
    tasks = await held(pit, 5)
    await asyncio.wait(tasks[:2])
    assert ([task.done() for task in tasks], len(pit)) == ([True, True, False, False, False], 3)
    pit.close()
    await asyncio.gather(*tasks)


async def test_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is held for its time, not less, and let go in its order; then nothing runs any more."""
    monkeypatch.setattr(tarpit, "LOOK_S", 0.001)
    pit, loop, ends = tarpit_of(100, 0.05), asyncio.get_running_loop(), list[int]()

    async def one(number: int) -> float:
        begun = loop.time()
        await pit.hold(CALLER)
        ends.append(number)
        return loop.time() - begun

    assert min(await asyncio.gather(*(one(number) for number in range(5)))) >= 0.05
    assert (ends, len(pit)) == ([0, 1, 2, 3, 4], 0)
    await until(lambda: pit._timer is None)


async def test_only_so_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of calls whose time is up at once, no more than GOING_MAX are let go at a look, oldest first; all in the end."""
    monkeypatch.setattr(tarpit, "LOOK_S", 0.001)
    pit, ends = tarpit_of(100, 0.0), list[int]()

    async def one(number: int) -> int:
        await pit.hold(CALLER)
        ends.append(number)
        return len(pit)

    count = 2 * tarpit.GOING_MAX + 1
    left = await asyncio.gather(*(one(number) for number in range(count)))
    assert sorted(set(left)) == [0, 1, 1 + tarpit.GOING_MAX]
    assert ends == list(range(count))


async def test_a_cancelled_call_leaves() -> None:
    """What is cancelled while it is held takes no place."""
    pit = tarpit_of(3)
    (task,) = await held(pit, 1)
    task.cancel()
    await asyncio.wait([task])
    assert (task.cancelled(), len(pit)) == (True, 0)
    pit.close()


async def test_a_caller_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of a connection that has closed are let go, and none is held any more."""
    monkeypatch.setattr(tarpit, "LOOK_S", 0.001)
    caller = Caller()
    pit = tarpit_of(3, caller=caller)
    tasks = await held(pit, 2)
    caller.is_there = False
    await asyncio.gather(*tasks)
    late = asyncio.create_task(pit.hold(caller))
    await asyncio.sleep(0)
    assert (late.done(), len(pit)) == (True, 0)


async def test_after_the_end() -> None:
    """At the end all are let go, and none is held from then on."""
    pit = tarpit_of(3)
    tasks = await held(pit, 2)
    pit.close()
    await asyncio.gather(*tasks, pit.hold(CALLER))


@asynccontextmanager
async def nothing_served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[GrpcioServer, grpc.aio.Channel]]:
    """Run a server that serves no method, and holds all calls but three."""
    endless = partial(Tarpit, hold_s=FOREVER_S, free=3, free_s=FOREVER_S)
    monkeypatch.setattr(first_message, "Tarpit", endless)
    server = GrpcioServer(health_options(load(None, environment("http://127.0.0.1:1")), reuse_port=False))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield server, channel
        await server.stop(None)


async def test_unknown_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some calls of unknown methods are answered at once, the others are held first, but not beyond a stop."""
    async with nothing_served(monkeypatch) as (server, channel):
        methods: list[Any] = [channel.unary_unary(f"/x.Y/Z{number}") for number in range(5)]
        calls = [method(b"") for method in methods]
        await until(lambda: (len(server.tarpit), sum(call.done() for call in calls)) == (2, 3))
        await server.stop(PATIENCE_S)
        assert {await call.code() for call in calls} == {grpc.StatusCode.UNIMPLEMENTED}


async def test_a_connection_that_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that are held go with their connection."""
    async with nothing_served(monkeypatch) as (server, channel):
        method: Any = channel.unary_unary("/x.Y/Z")
        calls = [method(b"") for _ in range(5)]
        await until(lambda: len(server.tarpit) == 2)
        await channel.close()
        calls.clear()  # gRPC keeps the connection for as long as they are there
        await until(lambda: len(server.tarpit) == 0)
