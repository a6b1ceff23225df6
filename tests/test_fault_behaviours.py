"""Ready-made behaviours of the fault server, and how they combine."""

import asyncio
import json
from collections.abc import Callable

import pytest
from h2 import events
from h2.errors import ErrorCodes
from hyperframe.frame import PingFrame, SettingsFrame

from faults.behaviours import (
    after,
    answer,
    by_token,
    drip,
    endless,
    flood,
    hang,
    processed,
    recycle_after,
    refuse,
    reset_with,
    sequence,
    success_body,
    terminated,
    terminated_with,
)
from faults.client import RawClient, terminate_body
from faults.record import Received
from faults.server import FaultServer
from faults.stream import Behaviour, Stream

UINT64_MAX = 2**64 - 1


async def statuses(behaviour: Behaviour, *tokens: str) -> list[str]:
    """Send requests with these tokens one after the other and return the status of each answer."""
    async with FaultServer(behaviour) as server, RawClient.connect(server.port) as client:
        return [(await client.answer(client.request(token))).headers[":status"] for token in tokens]


def test_success_is_as_on_the_wallets_page() -> None:
    """The success answer has the page's fields in the page's order, site_id as text, and exact integers."""
    body = terminate_body("abc", player_id=UINT64_MAX, site_id=UINT64_MAX - 1, provider_id=7, game_id="g")
    fields = json.loads(success_body(Received(1, 1, [], body)))
    assert fields.pop("request_id")
    assert list(fields.items()) == [
        ("status", True),
        ("code", 1),
        ("message", ""),
        ("token", "abc"),
        ("player_id", UINT64_MAX),
        ("game_id", "g"),
        ("site_id", str(UINT64_MAX - 1)),
        ("provider_id", 7),
        ("balance", 22085.75),
    ]


async def test_terminated_processes_and_answers() -> None:
    """The good wallet processes the request and answers with JSON."""
    async with FaultServer(terminated) as server, RawClient.connect(server.port) as client:
        answered = await client.answer(client.request("abc"))
        assert server.processed == ["abc"]
    assert answered.headers == {":status": "200", "content-type": "application/json"}
    assert json.loads(answered.body)["token"] == "abc"


async def test_terminated_with_changes_fields() -> None:
    """A success answer can be altered field by field."""
    behaviour = terminated_with(player_id=2, extra=None)
    async with FaultServer(behaviour) as server, RawClient.connect(server.port) as client:
        fields = json.loads((await client.answer(client.request())).body)
    assert (fields["player_id"], fields["extra"], fields["token"]) == (2, None, "t")


async def test_answer_is_given_to_everybody() -> None:
    """A fixed answer comes with its headers and body, and processes nothing."""
    async with FaultServer(answer(502, b"<html>", [("retry-after", "1")])) as server:
        async with RawClient.connect(server.port) as client:
            answered = await client.answer(client.request())
        assert server.processed == []
    assert (answered.headers, answered.body) == ({":status": "502", "retry-after": "1"}, b"<html>")


async def test_by_token_chooses() -> None:
    """A token in the table has its behaviour, every other one the default."""
    assert await statuses(by_token({"a": answer(500)}, answer(429)), "b", "a", "c") == ["429", "500", "429"]


async def test_sequence_takes_turns() -> None:
    """The n-th request has the n-th behaviour, and the last one repeats."""
    assert await statuses(sequence(answer(500), answer(429), answer(200)), *"abcd") == ["500", "429", "200", "200"]


async def test_refuse_gives_way() -> None:
    """The first requests are refused and not processed, the next one is served."""
    async with FaultServer(refuse(2)) as server, RawClient.connect(server.port) as client:
        for token in ("a", "b"):
            reset = await client.next(events.StreamReset, client.request(token))
            assert reset.error_code == ErrorCodes.REFUSED_STREAM
        await client.answer(client.request("c"))
        assert ([request.token for request in server.requests], server.processed) == (["a", "b", "c"], ["c"])


async def test_processed_counts_whatever_follows() -> None:
    """A request can take effect although its answer is lost."""
    async with FaultServer(processed(reset_with(ErrorCodes.INTERNAL_ERROR))) as server:
        async with RawClient.connect(server.port) as client:
            reset = await client.next(events.StreamReset, client.request("lost"))
        assert (reset.error_code, server.processed) == (ErrorCodes.INTERNAL_ERROR, ["lost"])


@pytest.mark.parametrize("end", ["reset", "disconnect"])
async def test_hang_ends_with_its_stream(end: str) -> None:
    """A hanging request is never answered, and is over once the client resets it or leaves."""

    async def hang_and_tell(stream: Stream) -> None:
        await hang(stream)
        over.set()

    over = asyncio.Event()
    async with FaultServer(hang_and_tell) as server:
        async with RawClient.connect(server.port) as client:
            stream_id = client.request()
            await client.ping()
            assert (client.events_of(stream_id), over.is_set()) == ([], False)
            if end == "reset":
                client.h2.reset_stream(stream_id, ErrorCodes.CANCEL)
                client.flush()
                await over.wait()
        await over.wait()


async def test_after_waits_for_the_test() -> None:
    """A request is held back until the test says so, while others are answered."""
    gate = asyncio.Event()
    async with FaultServer(by_token({"held": after(gate)})) as server, RawClient.connect(server.port) as client:
        held = client.request("held")
        await client.answer(client.request("quick"))
        gate.set()
        await client.answer(held)
        assert server.processed == ["quick", "held"]


async def test_drip_sends_single_bytes() -> None:
    """A dripping body arrives in pieces of one byte, and then ends."""
    async with FaultServer(drip(b"abc", interval_s=0)) as server, RawClient.connect(server.port) as client:
        stream_id = client.request()
        pieces = [(await client.next(events.DataReceived, stream_id)).data for _ in range(3)]
        assert (await client.answer(stream_id)).body == b""
    assert pieces == [b"a", b"b", b"c"]


async def test_endless_goes_on_while_there_is_credit() -> None:
    """An endless body fills the client's window exactly, and stops when the client resets the stream."""
    async with FaultServer(endless(bytes(1000))) as server, RawClient.connect(server.port, credit=False) as client:
        stream_id = client.request()
        received_bytes = 0
        while received_bytes < 65535:
            received_bytes += len((await client.next(events.DataReceived)).data)
        await client.ping()
        assert received_bytes == 65535
        assert [type(event) for event in client.events_of(stream_id)] == [events.ResponseReceived]
        client.h2.reset_stream(stream_id)
        await client.ping()
        assert server.open_streams == 0


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda _stream: PingFrame().serialize(), events.PingReceived),
        (lambda _stream: SettingsFrame().serialize(), events.RemoteSettingsChanged),
    ],
    ids=["ping", "settings"],
)
async def test_flood_lasts_as_long_as_the_connection(make: Callable[[Stream], bytes], kind: type[events.Event]) -> None:
    """A flood keeps coming, and is over when the client leaves."""
    async with FaultServer(flood(make)) as server:
        async with RawClient.connect(server.port) as client:
            client.request()
            for _ in range(100):
                await client.next(kind)
        await server.until(lambda: server.open_connections == [])


async def test_recycling_answers_what_it_accepted() -> None:
    """GOAWAY names the newest stream; those up to it are answered, later ones ignored, then the server closes."""
    gate = asyncio.Event()
    async with FaultServer(recycle_after(2, after(gate))) as server, RawClient.connect(server.port) as client:
        accepted = [client.request("first"), client.request("second")]
        goaway = await client.next(events.ConnectionTerminated)
        client.request("late")
        await client.ping()
        gate.set()
        assert [(await client.answer(stream_id)).headers[":status"] for stream_id in accepted] == ["200", "200"]
        await client.until_closed()
    assert (goaway.last_stream_id, goaway.error_code) == (accepted[-1], ErrorCodes.NO_ERROR)
    assert (server.processed, server.ignored_streams) == (["first", "second"], 1)


async def test_recycling_survives_a_cancelled_request() -> None:
    """A connection is retired even if the request that was its last is cancelled by the client."""
    gate = asyncio.Event()
    async with FaultServer(recycle_after(1, after(gate))) as server, RawClient.connect(server.port) as client:
        stream_id = client.request()
        await client.next(events.ConnectionTerminated)
        client.h2.reset_stream(stream_id, ErrorCodes.CANCEL)
        await client.ping()
        gate.set()
        await client.until_closed()


async def test_recycling_retires_each_connection() -> None:
    """Every connection serves that many requests and is then closed."""
    async with FaultServer(recycle_after(2)) as server:
        for _ in range(3):
            async with RawClient.connect(server.port) as client:
                await client.answer(client.request())
                await client.answer(client.request())
                await client.until_closed()
        assert [request.connection for request in server.requests] == [1, 1, 2, 2, 3, 3]
        await server.until(lambda: server.open_connections == [])
