"""docs/design/faults.md, "Connection": calls whose connection closes, slowly, at once, or unnoticed."""

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from hyperframe.frame import SettingsFrame

from bridge.http2.liveness import Trust
from bridge.sandbox.behaviours import after, by_token, hang, in_turn, recycle_after, sequence, terminated
from bridge.sandbox.connection import Connection
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour, Stream
from tests.support.certificates import Certificates
from tests.support.http2.calls import (
    LOST,
    NOT_PROCESSED,
    OK,
    PATIENCE_S,
    UNREACHABLE,
    calls_to,
    streams_max,
    wallet,
)

pytest_plugins = ["tests.support.two_loops"]
IDLE_S = 0.05

pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]), pytest.mark.usefixtures("nothing_left")]


def goaway(*last_stream_ids: int | None, then: Behaviour = terminated) -> Behaviour:
    """Send GOAWAY with each of these (None: the newest stream), and do as `then`."""
    return in_turn(*(partial(_goaway, last_stream_id) for last_stream_id in last_stream_ids), then)


def _goaway(last_stream_id: int | None, stream: Stream) -> None:
    stream.connection.goaway(last_stream_id)


@pytest.mark.parametrize("last_stream_ids", [(None,), (2**31 - 1,), (2**31 - 1, None)])
async def test_goaway_lets_streams_up_to_its_last_finish(last_stream_ids: tuple[int | None, ...]) -> None:
    """A stream that GOAWAY does not disown ends with its answer; its connection is used no more, and then closed."""
    async with wallet(sequence(goaway(*last_stream_ids), terminated)) as (server, calls):
        assert [await calls.end("a"), await calls.end("b")] == [OK, OK]
        assert [(request.token, request.connection) for request in server.requests] == [("a", 1), ("b", 2)]
        await server.until(lambda: [each.number for each in server.open_connections] == [2])


async def test_goaway_disowns_streams_above_its_last() -> None:
    """Streams above the last one are NOT_PROCESSED; their older neighbour finishes."""
    gate = asyncio.Event()
    async with wallet(after(gate)) as (server, calls):
        tasks = [calls.start(token) for token in "abc"]
        await server.until(lambda: len(server.requests) == 3)
        server.open_connections[0].goaway(server.requests[0].stream_id)
        assert [await tasks[1], await tasks[2]] == [NOT_PROCESSED, NOT_PROCESSED]
        gate.set()
        assert await tasks[0] == OK
        assert await calls.end("d") == OK
        assert server.processed == ["a", "d"]


async def test_a_promise_that_cannot_be_true_is_not_believed() -> None:
    """A stream that was answered in part and is disowned then is UNKNOWN: the server has processed something."""
    begun_then_disowned = in_turn(lambda stream: stream.send_headers(200), lambda stream: stream.connection.goaway(0))
    async with wallet(begun_then_disowned) as (_, calls):
        assert await calls.end() == LOST


async def farewell(connection: Connection) -> None:
    """Greet and leave at once."""
    connection.goaway(0)


@pytest.mark.parametrize("settings", [None, {}], ids=["instead of SETTINGS", "behind SETTINGS"])
async def test_goaway_while_connecting(settings: dict[int, int] | None) -> None:
    """A server that leaves while it greets gets nothing; its connections are closed, and the next one is used."""
    async with wallet(terminated, settings=settings, opening=farewell) as (server, calls):
        assert await calls.end() in {f"{UNREACHABLE} closed", f"{UNREACHABLE} http2_required", NOT_PROCESSED}
        assert server.connections == 1
        assert server.processed == []
        server.settings, server.opening = {}, None
        assert await calls.end() == OK


async def greeting_and_farewell(connection: Connection) -> None:
    """Send SETTINGS and GOAWAY in one piece."""
    connection.raw(SettingsFrame().serialize() + bytes.fromhex("000008070000000000" + "00000000" + "00000000"))


async def test_goaway_in_one_piece_with_settings() -> None:
    """A server that leaves with its greeting is not asked again and again without a pause: NOT_SENT."""
    async with wallet(terminated, settings=None, opening=greeting_and_farewell) as (server, calls):
        assert await calls.end() == f"{UNREACHABLE} closed"
        assert server.connections == 1
        server.settings, server.opening = {}, None
        assert await calls.end() == OK


@pytest.mark.short("asyncio")
async def test_no_call_fails_while_the_server_recycles() -> None:
    """40 callers, 30 calls each, GOAWAY each 200 requests: each token is processed once, and no call fails."""
    async with wallet(recycle_after(200)) as (server, calls):

        async def caller(name: int) -> list[str]:
            return [await calls.end(f"{name}-{number}") for number in range(30)]

        ends = Counter(end for ends in await asyncio.gather(*map(caller, range(40))) for end in ends)
        # A call that crosses GOAWAY on the way is disowned: bridge.wallet retries it, freely.
        assert set(ends) <= {OK, NOT_PROCESSED}
        assert Counter(server.processed).most_common(1)[0][1] == 1
        assert len(server.processed) == ends[OK]
        assert server.connections >= 6
        assert await calls.end() == OK


async def test_stream_ids_are_used_up() -> None:
    """A connection takes as many calls as it has ids for; the others have a new one, without any failure."""
    gate = asyncio.Event()
    async with wallet(by_token({}, after(gate))) as (server, calls):
        gate.set()
        assert await calls.end("first") == OK
        gate.clear()
        (pool,) = calls.transport._pools.values()
        (connection,) = pool._connections
        connection._protocol._streams.next_id = 2**31 - 3  # to use them up would take days
        tasks = [calls.start(token) for token in "abc"]
        await server.until(lambda: len(server.requests) == 4)
        gate.set()
        assert [await task for task in tasks] == [OK] * 3
        used = [(request.connection, request.stream_id) for request in server.requests[1:]]
        assert used == [(1, 2**31 - 3), (1, 2**31 - 1), (2, 1)]
        await server.until(lambda: [each.number for each in server.open_connections] == [2])


def half_an_answer(then: Behaviour) -> Behaviour:
    """Send headers that promise more body than follows, and do as `then`."""
    return in_turn(
        lambda stream: stream.respond(200, b'{"status":', [("content-length", "99")], end=False),
        lambda stream: stream.connection.ping(),
        then,
    )


closes, resets = (in_turn(lambda stream: stream.connection.close()), in_turn(lambda stream: stream.connection.abort()))
BREAKS = {
    "FIN before headers": closes,
    "RST before headers": resets,
    "FIN in the body": half_an_answer(closes),
    "RST in the body": half_an_answer(resets),
}


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("behaviour", BREAKS.values(), ids=BREAKS)
async def test_a_lost_connection_is_unknown(tmp_path: Path, behaviour: Behaviour, *, secure: bool) -> None:
    """Each call on a connection that breaks is UNKNOWN, none is retried, and the next call has a new connection."""
    certificates = Certificates(tmp_path)
    tls = certificates.client_context() if secure else None
    served = certificates.server.server_context() if secure else None
    async with (
        FaultServer(sequence(hang, hang, behaviour, terminated), tls=served) as server,
        calls_to(server, tls=tls) as calls,
    ):
        assert await asyncio.gather(*map(calls.end, "abc")) == [LOST] * 3
        assert len(server.requests) == 3
        assert await calls.end("d") == OK
        assert server.connections == 2


async def test_half_closed_by_the_server() -> None:
    """FIN means that no answer can come any more: what is under way is UNKNOWN at once, what is new is sent again."""
    async with wallet(hang) as (server, calls):
        task = calls.start()
        await server.until(lambda: len(server.requests) == 1)
        server.open_connections[0].close()
        assert await task == LOST
        server.behaviour = terminated
        assert await calls.end() == OK


async def test_restart_without_a_stampede() -> None:
    """When all connections drop, 50 calls are UNKNOWN; 50 new ones need no more connections than they have use for."""
    async with wallet(hang, settings=streams_max(25)) as (server, calls):
        tasks = [calls.start(str(number)) for number in range(50)]
        await server.until(lambda: len(server.requests) == 50)
        assert server.connections == 2
        async with server.offline():
            assert await asyncio.gather(*tasks) == [LOST] * 50
            ends = await asyncio.gather(*(calls.end(str(number)) for number in range(50)))
            assert ends == [f"{UNREACHABLE} refused"] * 50
        server.behaviour = terminated
        assert await asyncio.gather(*(calls.end(str(number)) for number in range(50))) == [OK] * 50
        assert server.connections <= 4


async def test_old_connections_retire() -> None:
    """After its maximum age a connection is used no more, and the name is resolved again for the next one."""
    async with wallet(terminated, trust=Trust(age_max_s=0.01)) as (server, calls):
        assert await calls.end() == OK
        await server.until(lambda: not server.open_connections)
        assert await calls.end() == OK
        assert server.connections == 2


async def test_retiring_waits_for_answers() -> None:
    """A connection that is too old still brings the answers under way."""
    gate = asyncio.Event()
    async with wallet(by_token({"a": after(gate)}), trust=Trust(age_max_s=0.01)) as (server, calls):
        task = calls.start("a")
        while server.connections < 2:
            assert await calls.end("b") == OK
        gate.set()
        assert await task == OK


async def test_half_open_connection_is_found_before_use() -> None:
    """A connection that was silent is pinged before it is used; one without a pong is dropped, and nothing was sent."""
    trust = Trust(idle_ping_s=IDLE_S, ping_timeout_s=0.05)
    async with wallet(terminated, trust=trust) as (server, calls):
        assert await calls.end("a") == OK
        server.open_connections[0].freeze()
        # The silence itself, not a guess at how long something takes. Twice: what was on its way may end it once.
        await asyncio.sleep(2 * IDLE_S)
        assert await calls.end("b") == OK
        assert [(request.token, request.connection) for request in server.requests] == [("a", 1), ("b", 2)]


async def test_idle_connection_that_answers_is_kept() -> None:
    """A connection with a pong is used again."""
    trust = Trust(idle_ping_s=IDLE_S, ping_timeout_s=PATIENCE_S)
    async with wallet(terminated, trust=trust) as (server, calls):
        assert await calls.end("a") == OK
        await asyncio.sleep(2 * IDLE_S)  # likewise
        assert await asyncio.gather(*map(calls.end, "bc")) == [OK, OK]
        assert server.connections == 1
        assert server.pings >= 1
