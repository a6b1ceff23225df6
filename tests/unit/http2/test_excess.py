"""What is too much of one answer, and what comes of an abandoned stream: neither costs the connection."""

import asyncio

import pytest

from bridge.http2.events import AnswerBegun, GivenUpEnded, InterimAnswer, StreamReset
from bridge.http2.flood_guard import NOISE_BYTES_MAX
from bridge.http2.limits import (
    CONNECTION_WINDOW_BYTES,
    FRAME_BYTES_MIN,
    GIVEN_UP_BYTES_MAX,
    HEADERS_BYTES_LIMIT,
    INTERIM_BYTES_MAX,
    STREAM_WINDOW_BYTES,
)
from bridge.http2.protocol import ClientProtocol
from bridge.http2.reset_budget import BURST
from bridge.sandbox.behaviours import after, answer, by_token, in_turn
from bridge.sandbox.stream import Behaviour
from tests.support.http2 import frames as raw
from tests.support.http2.calls import LOST, OK, wallet
from tests.support.http2.conversation import REQUEST, conversation, frames_of, in_words, listen, replies

ANSWER_FIELD = (b"content-type", b"application/json")
CALMED = ["GOAWAY 0 ENHANCE_YOUR_CALM"]


def block_of(size_bytes: int) -> bytes:
    """Build a header block of so many bytes: a status and fields of up to 4000 bytes each, which are not indexed."""
    block = b"\x88"
    while len(block) < size_bytes:
        length = min(4000, size_bytes - len(block)) - 6  # beside what comes before the value
        rest = length - 127  # RFC 7541, section 5.1
        block += b"\x00\x01x\x7f" + bytes((rest & 0x7F | 0x80, rest >> 7)) + b"v" * length
    return block


def block_frames(stream_id: int, block: bytes, piece_bytes: int, *, ends: bool = True) -> list[bytes]:
    """Cut a header block into HEADERS and CONTINUATION frames."""
    pieces = [block[at : at + piece_bytes] for at in range(0, len(block), piece_bytes)]
    kinds = [raw.HEADERS] + [raw.CONTINUATION] * (len(pieces) - 1)
    flags = [raw.END_STREAM if ends else 0] + [0] * (len(pieces) - 1)
    flags[-1] |= raw.END_HEADERS
    return [raw.frame(kind, flag, stream_id, piece) for kind, flag, piece in zip(kinds, flags, pieces, strict=True)]


REFUSED = ["RST_STREAM 1 ENHANCE_YOUR_CALM"]


@pytest.mark.parametrize("piece_bytes", [16_384, 5000, 100])
@pytest.mark.parametrize(
    ("size_bytes", "said"),
    [(15_000, []), (17_000, REFUSED), (60_000, REFUSED), (HEADERS_BYTES_LIMIT + 1, CALMED)],
    ids=["read", "17 kB", "60 kB", "over 64 KiB"],
)
def test_header_block_limits(size_bytes: int, said: list[str], piece_bytes: int) -> None:
    """Over 16 KiB a block is its stream's excess, over 64 KiB the connection's, over however many frames it comes."""
    client = conversation()
    assert replies(listen(client, *block_frames(1, block_of(size_bytes), piece_bytes))) == said
    if said != CALMED:
        assert AnswerBegun(3, 200, (ANSWER_FIELD,)) in listen(client, raw.headers(3, end=True)).events


def test_excess_of_each_of_many_streams_is_no_flood() -> None:
    """Each request may have an answer whose headers are too long: none of them counts against the connection."""
    client = conversation()
    for _ in range(300):
        stream_id = client.begin(REQUEST, has_body=False)
        assert listen(client, *block_frames(stream_id, block_of(17_000), 16_384)).violation is None


@pytest.mark.parametrize("piece_bytes", [16_384, 5000])
def test_trailers_that_are_too_long(piece_bytes: int) -> None:
    """Trailers of 17 kB end their stream, though its answer was good so far."""
    client = conversation()
    listen(client, raw.headers(1))
    assert replies(listen(client, *block_frames(1, block_of(17_000)[1:], piece_bytes))) == REFUSED


def test_interim_answer_that_is_too_long() -> None:
    """So does an informational answer of 17 kB."""
    interim = raw.header_block((":status", "103")) + block_of(17_000)[1:]
    assert replies(listen(conversation(), *block_frames(1, interim, 16_384, ends=False))) == REFUSED


@pytest.mark.parametrize(("field_bytes", "fitting"), [(0, INTERIM_BYTES_MAX // FRAME_BYTES_MIN), (1000, 16)])
def test_interim_answers_without_end(field_bytes: int, fitting: int) -> None:
    """Informational answers are bounded for each stream, by their size and their number: then that call fails."""
    interim = raw.headers(1, fields=((":status", "103"), ("x", "v" * field_bytes)))
    client = conversation()
    received = listen(client, interim * fitting)
    assert (received.events, replies(received)) == ([InterimAnswer(1)] * fitting, [])
    assert replies(listen(client, interim)) == REFUSED
    assert listen(client, raw.headers(3)).violation is None


def test_interim_answers_of_many_streams_are_no_flood() -> None:
    """A kilobyte of hints for each of 500 requests at once, all before the first answer, is what some servers do."""
    client = conversation()
    for _ in range(500):
        stream_id = client.begin(REQUEST, has_body=False)
        hint = raw.headers(stream_id, fields=((":status", "103"), ("link", "v" * 1000)))
        assert listen(client, hint).violation is None


def test_interim_answers_of_a_stream_that_is_over_are_a_flood() -> None:
    """Behind its reset a stream has no more informational answers than any late frames."""
    interim = raw.headers(1, fields=((":status", "103"),))
    client = conversation()
    late = STREAM_WINDOW_BYTES // FRAME_BYTES_MIN + 2 * NOISE_BYTES_MAX // len(interim)
    assert replies(listen(client, interim * (INTERIM_BYTES_MAX // FRAME_BYTES_MIN + 1 + late))) == [*REFUSED, *CALMED]


def left_to_itself() -> ClientProtocol:
    """Return a client that has spent its budget of resets and then given up stream 1."""
    client = conversation()
    for _ in range(BURST):
        client.give_up(client.begin(REQUEST, has_body=False), 8)
    client.outgoing()
    client.give_up(1, 8)
    assert (client.given_up, client.outgoing()) == (1, b"")
    return client


ENDS: dict[str, bytes] = {
    "answer without a body": raw.headers(1, end=True),
    "answer": raw.headers(1) + raw.data(1, bytes(1000)) + raw.data(1, b"", end=True),
    "answer with trailers": raw.headers(1) + raw.headers(1, end=True, fields=(("x", "y"),)),
    "interim answers": raw.headers(1, fields=((":status", "103"),)) * 3 + raw.headers(1, end=True),
    "reset": raw.frame(raw.RST_STREAM, 0, 1, bytes(4)),
    "malformed answer": raw.headers(1, end=True, fields=(("x", "y"),)),
    "headers of 17 kB": b"".join(block_frames(1, block_of(17_000), 16_384)),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_given_up_stream_that_ends(end: bytes) -> None:
    """However it ends, nothing of it is an event but its end, and nothing is said to it."""
    client = left_to_itself()
    received = listen(client, end)
    assert (received.events, received.said, client.given_up) == ([GivenUpEnded(1)], b"", 0)


def test_given_up_answer_is_bounded() -> None:
    """Where the stream would need credit it is reset after all; the rest of its window comes late, and is no flood."""
    client = left_to_itself()
    piece = raw.data(1, bytes(16_384))
    fitting = GIVEN_UP_BYTES_MAX // len(piece)
    assert listen(client, raw.headers(1) + piece * fitting).events == []
    received = listen(client, piece)
    assert (received.events, replies(received), client.given_up) == ([GivenUpEnded(1)], ["RST_STREAM 1 CANCEL"], 0)
    late = listen(client, piece * ((STREAM_WINDOW_BYTES - GIVEN_UP_BYTES_MAX) // len(piece)))
    assert (late.events, late.violation) == ([], None)


def test_empty_frames_of_a_given_up_stream_are_bounded() -> None:
    """Each counts as a larger one: 512 of them, and the stream is reset."""
    client = left_to_itself()
    empty = raw.data(1, b"")
    assert listen(client, empty * (GIVEN_UP_BYTES_MAX // FRAME_BYTES_MIN)).events == []
    assert replies(listen(client, empty)) == ["RST_STREAM 1 CANCEL"]


def test_noise_beside_a_given_up_stream_is_a_flood_still() -> None:
    """A stream that was left to itself excuses its own frames only."""
    client = left_to_itself()
    ping = raw.frame(raw.PING, payload=bytes(8))
    assert replies(listen(client, ping * (2 * NOISE_BYTES_MAX // len(ping))))[-1:] == CALMED


def test_given_up_answers_credit_the_connection() -> None:
    """What is dropped of many such streams is given back to the connection: later answers do not wait for ever."""
    client = left_to_itself()
    credited = 0
    for _ in range(2 * CONNECTION_WINDOW_BYTES // 100_000):
        stream_id = client.begin(REQUEST, has_body=False)
        client.give_up(stream_id, 8)
        pieces = [raw.data(stream_id, bytes(10_000), end=at == 9) for at in range(10)]
        received = listen(client, raw.headers(stream_id), *pieces)
        assert received.violation is None
        credited += sum(int(word.split()[2]) for word in replies(received) if word.startswith("WINDOW_UPDATE 0"))
    assert credited >= CONNECTION_WINDOW_BYTES
    assert client.given_up == 1


def test_half_sent_request_is_reset_beyond_the_budget() -> None:
    """A request whose body is not sent to its end would hold its stream open for ever."""
    client = left_to_itself()
    stream_id = client.begin(REQUEST, has_body=True)
    client.outgoing()
    client.give_up(stream_id, 8)
    assert [in_words(each) for each in frames_of(client.outgoing())] == [f"RST_STREAM {stream_id} CANCEL"]


def test_mistakes_of_the_server_count_against_the_budget() -> None:
    """Resets that a malformed answer forces are counted by servers, too; beyond the budget the rest is dropped."""
    client = left_to_itself()
    received = listen(client, raw.headers(3, fields=(("x", "y"),)))
    assert (received.events, received.said) == ([StreamReset(3, 1)], b"")
    assert client.given_up == 2
    assert listen(client, raw.data(3, b"x", end=True)).events == [GivenUpEnded(3)]
    ended = listen(client, raw.headers(5, fields=(("x", "y"),), end=True))
    assert (ended.events, ended.said, client.given_up) == ([StreamReset(5, 1)], b"", 1)


def test_reset_of_all_that_were_given_up() -> None:
    """They are reset beyond the budget when that is asked for."""
    client = left_to_itself()
    client.reset_given_up()
    assert [in_words(each) for each in frames_of(client.outgoing())] == ["RST_STREAM 1 CANCEL"]
    assert client.given_up == 0


LONG = (("x-long", "v" * 9000), ("x-longer", "w" * 9000))


LONG_ANSWERS: dict[str, Behaviour] = {
    "headers": answer(200, b"{}", LONG),
    "headers of an answer without a body": answer(200, b"", LONG),
    "trailers": in_turn(lambda stream: stream.respond(200, b"{}", end=False), lambda stream: stream.trailers(LONG)),
    "hints": in_turn(lambda stream: stream.informational(103, LONG), answer(200, b"{}")),
}


@pytest.mark.parametrize("behaviour", LONG_ANSWERS.values(), ids=LONG_ANSWERS)
@pytest.mark.short("headers", "hints")
async def test_only_the_call_with_too_many_headers_fails(behaviour: Behaviour) -> None:
    """18 kB of headers, again and again: each such call is UNKNOWN, a neighbour on the same connection is answered."""
    gate = asyncio.Event()
    table: dict[str, Behaviour] = {"long": behaviour, "neighbour": after(gate)}
    async with wallet(by_token(table)) as (server, calls):
        neighbour = calls.start("neighbour")
        await server.until(lambda: len(server.requests) == 1)
        assert [await calls.end("long") for _ in range(BURST + 5)] == [LOST] * (BURST + 5)
        gate.set()
        assert [await neighbour, await calls.end("next")] == [OK, OK]
        assert (server.connections, server.goaways) == (1, [])
