"""docs/design/faults.md, "Connection": what happens to one stream, unnoticed by its neighbours."""

import asyncio
from collections import Counter

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from bridge.http2.reset_budget import BURST
from bridge.sandbox.behaviours import after, answer, by_token, drip, endless, hang, in_turn, reset_with, terminated
from bridge.sandbox.record import Reset
from bridge.sandbox.stream import Behaviour, Stream
from tests.support.http2.calls import (
    LOST,
    NOT_PROCESSED,
    OK,
    TIMEOUT,
    alone_fails,
    cancelled,
    freeze_reset_budgets,
    streams_max,
    wallet,
)

pytest_plugins = ["tests.support.two_loops"]
pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]), pytest.mark.usefixtures("nothing_left")]

NO_WINDOW: dict[int, int] = {SettingCodes.INITIAL_WINDOW_SIZE: 0}
LONG = "x" * 200_000
"""Longer than the window that a connection begins with, so that a request with it cannot leave at once."""


async def test_reset_behind_a_complete_answer() -> None:
    """A reset with NO_ERROR after the answer (RFC 9113, section 8.1) changes nothing: the connection is used again."""
    async with wallet(in_turn(terminated, reset_with(ErrorCodes.NO_ERROR))) as (server, calls):
        assert [await calls.end("a"), await calls.end("b")] == [OK, OK]
        assert server.connections == 1


@pytest.mark.parametrize("with_reset", [False, True], ids=["answer only", "answer and RST NO_ERROR"])
async def test_answer_before_the_request_was_read(*, with_reset: bool) -> None:
    """An answer that is complete before the request is counts; the rest is not sent, and the stream is reset."""
    steps = [answer(413, b"{}"), *[reset_with(ErrorCodes.NO_ERROR)] * with_reset]
    async with wallet(in_turn(*steps), early=True, settings=NO_WINDOW) as (server, calls):
        response = await calls.post(game_id=LONG)
        assert (response.status_code, await response.aread()) == (413, b"{}")
        if not with_reset:
            await server.until(lambda: bool(server.resets))
            assert [(each.stream_id, each.error_code) for each in server.resets] == [(1, ErrorCodes.NO_ERROR)]
        assert (await calls.post()).status_code == 413
        assert server.connections == 1


BEGUN_THEN_REFUSED = in_turn(lambda stream: stream.send_headers(200), reset_with(ErrorCodes.REFUSED_STREAM))
FAILURES: dict[str, tuple[Behaviour, str]] = {
    "refused": (reset_with(ErrorCodes.REFUSED_STREAM), NOT_PROCESSED),
    "begun and refused": (BEGUN_THEN_REFUSED, LOST),
    "reset": (reset_with(ErrorCodes.CANCEL), LOST),
    "too short": (answer(200, b"{}", [("content-length", "9")]), LOST),
    "too long": (answer(200, b"{}", [("content-length", "1")]), LOST),
}


@pytest.mark.parametrize(("behaviour", "end"), FAILURES.values(), ids=FAILURES)
async def test_only_that_stream_fails(behaviour: Behaviour, end: str) -> None:
    """A stream that fails for itself leaves its neighbours and its connection alone."""
    await alone_fails(behaviour, end, checked=False)


@pytest.mark.parametrize("behaviour", [hang, drip(b"{" * 10_000, 0.01)], ids=["no headers", "dripping"])
async def test_timeout_resets_its_stream_only(behaviour: Behaviour) -> None:
    """At its time-out a call is UNKNOWN and the server gets CANCEL, once; a neighbour is answered."""
    gate = asyncio.Event()
    table = {"slow": behaviour, "neighbour": after(gate)}
    async with wallet(by_token(table)) as (server, calls):
        neighbour = calls.start("neighbour")
        slow_call = calls.start("slow")
        await server.until(lambda: any(request.token == "slow" for request in server.requests))
        calls.expire("slow")
        assert await slow_call == TIMEOUT
        gate.set()
        assert [await neighbour, await calls.end("next")] == [OK, OK]
        slow = next(each.stream_id for each in server.requests if each.token == "slow")
        assert server.resets == [Reset(1, slow, ErrorCodes.CANCEL)]
        assert (server.connections, server.goaways) == (1, [])


@pytest.mark.parametrize("cancels", [True, False], ids=["cancelled", "timed out"])
async def test_one_of_a_hundred_ends_early(*, cancels: bool) -> None:
    """When one of 100 calls ends early, the other 99 are answered, on the same connection."""
    gate = asyncio.Event()
    behaviour = by_token({"odd": hang}, after(gate))
    async with wallet(behaviour, settings=streams_max(100)) as (server, calls):
        others = [calls.start(str(number)) for number in range(99)]
        odd = calls.start("odd")
        await server.until(lambda: len(server.requests) == 100)
        if cancels:
            await cancelled(odd)
        else:
            calls.expire("odd")
            assert await odd == TIMEOUT
        await server.until(lambda: len(server.resets) == 1)
        gate.set()
        assert await asyncio.gather(*others) == [OK] * 99
        assert server.connections == 1


async def test_two_hundred_cancelled_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their slots are free again, by few resets: the next call is answered at once, on a new connection."""
    freeze_reset_budgets(monkeypatch)
    async with wallet(hang, connections_max=1) as (server, calls):
        for _ in range(2):
            server.requests.clear()
            tasks = [calls.start() for _ in range(100)]
            await server.until(lambda: len(server.requests) == 100)
            await cancelled(*tasks)
        server.behaviour = terminated
        assert await calls.end() == OK
        # On each connection a budget of resets; the streams beyond it end with the connection.
        assert [Counter(each.connection for each in server.resets)[number] for number in (1, 2)] == [BURST, BURST]
        assert server.connections == 3


@pytest.mark.parametrize("turns", range(6))
async def test_cancelled_at_any_moment(turns: int) -> None:
    """Wherever a call is cancelled, nothing of it stays behind, and the next one is answered."""
    async with wallet(terminated, connections_max=1) as (_, calls):
        for warm in (False, True):
            task = calls.start("cancelled")
            for _ in range(turns + 10 * warm):
                await asyncio.sleep(0)
            await cancelled(task)
            assert await calls.end("next") == OK


async def test_endless_answer_is_cut() -> None:
    """An answer without end is handed over just above the limit, and its stream is reset."""
    async with wallet(by_token({"endless": endless(b"x" * 999)}), body_bytes_max=5000) as (server, calls):
        response = await calls.post("endless")
        assert 5000 < len(await response.aread()) < 25_000
        await server.until(lambda: bool(server.resets))
        assert await calls.end("next") == OK
        assert server.connections == 1


async def test_initial_window_of_one() -> None:
    """With a window of one byte, a request leaves byte by byte, and is answered."""
    async with wallet(terminated, settings={SettingCodes.INITIAL_WINDOW_SIZE: 1}) as (server, calls):
        assert await asyncio.gather(*map(calls.end, "abc")) == [OK] * 3
        assert [request.fields["game_id"] for request in server.requests] == ["example"] * 3


async def test_windows_that_shrink_and_grow() -> None:
    """A window that becomes negative holds a request back; when it grows again, the request goes on where it was."""

    async def behaviour(stream: Stream) -> None:
        for size_bytes in (0, 100_000, 5000):
            await stream.connection.settings({SettingCodes.INITIAL_WINDOW_SIZE: size_bytes})
        body = await stream.body()
        assert body.endswith(b'"currency": "EUR"}')
        await stream.respond(200, f'{{"token": "{len(body)}"}}'.encode())

    window: dict[int, int] = {SettingCodes.INITIAL_WINDOW_SIZE: 1000}
    async with wallet(behaviour, early=True, settings=window) as (_, calls):
        response = await calls.post(game_id=LONG)
        assert (await response.aread()).startswith(b'{"token": "200')


async def test_call_that_waits_for_a_window_can_end() -> None:
    """A request that is held back by a window of zero times out as UNKNOWN, and leaves the others alone."""
    # It processes a request that came without its body: the body's credit is given by the server itself.
    early_terminated = in_turn(Stream.body, answer(200, b'{"token": "next"}'))
    async with wallet(hang, early=True, settings=NO_WINDOW) as (server, calls):
        held = calls.start()
        await server.until(lambda: len(server.requests) == 1)
        calls.expire()
        assert await held == TIMEOUT
        await server.until(lambda: bool(server.resets))
        server.behaviour = early_terminated
        next_call = calls.start("next")
        await server.until(lambda: len(server.requests) == 2)
        server.open_connections[0].send_settings({SettingCodes.INITIAL_WINDOW_SIZE: 65535})
        assert await next_call == OK
