"""h2 as the reference for bridge.http2.protocol, as a server that receives our frames, and as a client in our place."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import h2.events
import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.exceptions import HyperframeError
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.http2 import events
from bridge.http2.limits import CONNECTION_WINDOW_BYTES, HEADERS_BYTES_MAX, STREAM_WINDOW_BYTES
from bridge.http2.protocol import PING_PAYLOAD
from bridge.sandbox.wire import FRAME_HEADER_BYTES, take_frames
from tests.support.examples import examples
from tests.support.http2 import frames as raw
from tests.support.http2.conversation import BODY, GREETING, OPEN_STREAMS, REQUEST, conversation, listen
from tests.support.http2.ends import NOISE
from tests.support.http2.strategies import ANY_BYTES, SPEECHES, Step
from tests.unit.http2.oracle.dialogue import STEPS, Dialogue


@settings(max_examples=examples(200))
@given(steps=st.lists(STEPS, min_size=20, max_size=60))
def test_h2_server_understands_us(steps: list[tuple[str, Step]]) -> None:
    """In no conversation does h2 object to us, and both sides receive what was said; windows are kept and used up."""
    dialogue = Dialogue()
    for end, step in steps:
        dialogue.do(end, step)
    dialogue.settle()


def test_greeting() -> None:
    """A server learns from our first bytes that nothing may be pushed, and how much we read."""
    server = Dialogue().server.h2
    reported = server.remote_settings
    assert (reported.enable_push, reported.initial_window_size) == (0, STREAM_WINDOW_BYTES)
    assert reported.max_header_list_size == HEADERS_BYTES_MAX
    assert server.outbound_flow_control_window == CONNECTION_WINDOW_BYTES


def answering(streams: int) -> Dialogue:
    """Return a dialogue in which the server has begun to answer so many requests."""
    dialogue = Dialogue()
    for _ in range(streams):
        dialogue.client.request([], 0)
    dialogue.exchange()
    for stream_id in dialogue.server.open:
        dialogue.server.headers(stream_id, b"200", [], ends=False)
    return dialogue


@pytest.mark.parametrize("padding", [None, 50], ids=["plain", "padded"])
def test_answers_are_credited(padding: int | None) -> None:
    """When half of a window is used, all that has arrived is given back at once, with its padding, and not before."""
    dialogue = answering(streams=30)
    server = dialogue.server.h2
    sent_bytes = 16_000 if padding is None else 16_000 + padding + 1
    filled = Counter[str]()
    for _ in range(len(NOISE) // 16_000):
        for stream_id in dialogue.server.open:
            stream = server.streams[stream_id]
            before = server.outbound_flow_control_window, stream.outbound_flow_control_window
            dialogue.server.data(stream_id, 16_000, padding, ends=False)
            dialogue.exchange()
            for name, window, full, was in (
                ("connection", server.outbound_flow_control_window, CONNECTION_WINDOW_BYTES, before[0]),
                ("stream", stream.outbound_flow_control_window, STREAM_WINDOW_BYTES, before[1]),
            ):
                left = was - sent_bytes
                assert window == (left if left >= full // 2 else full)
                filled[name] += window == full
    assert filled == {"connection": 2, "stream": 30 * 2}
    dialogue.settle()


def test_no_credit_for_a_stream_that_has_ended() -> None:
    """The piece of an answer that ends it is not credited to its stream, however much of the window is used."""
    client = conversation()
    half = STREAM_WINDOW_BYTES // 2 // 16_384
    frames = raw.headers(1) + raw.data(1, bytes(16_384)) * half + raw.data(1, b"x", end=True)
    assert listen(client, frames).said == b""


def test_abandoned_answers_are_credited() -> None:
    """What is on its way for streams that we give up is credited to the connection, and no flood."""
    dialogue = answering(streams=31)
    for _ in range(2):
        for stream_id in dialogue.server.open:
            dialogue.server.data(stream_id, STREAM_WINDOW_BYTES, None, ends=False)
        for stream_id in list(dialogue.client.open):
            dialogue.client.reset(stream_id, 8)
        dialogue.exchange()
        dialogue.check_windows()
    dialogue.settle()


class RefusedError(Exception):
    """H2 takes it for a violation: the connection would be closed."""


class Reference:
    """A client on h2, as ours once was, at the place of `conversation`. Says in our events what a server's frames mean.

    GOAWAY goes around h2, which would end the connection with it; h2 leaves content-length alone, as we do.
    """

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        """Of the header block that came last."""
        self._h2 = H2Connection(H2Configuration(normalize_inbound_headers=False))
        self._h2.local_settings = Settings(
            client=True,
            initial_values={
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW_BYTES,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEADERS_BYTES_MAX,
            },
        )
        self._h2.decoder.max_header_list_size = HEADERS_BYTES_MAX
        self._h2.initiate_connection()
        self._h2.increment_flow_control_window(CONNECTION_WINDOW_BYTES)
        self._h2.receive_data(GREETING)
        self._is_in_header_block = False
        for stream_id in OPEN_STREAMS:
            self._h2.send_headers(stream_id, REQUEST)
            self._h2.send_data(stream_id, BODY, end_stream=True)
            self._h2.streams[stream_id].request_method = b"HEAD"  # then it is not held against the body
        self._over: set[int] = set()

    def take(self, frame: bytes) -> list[events.Event]:
        """Return what a whole frame means; raise RefusedError."""
        kind, flags, payload = frame[3], frame[4], frame[FRAME_HEADER_BYTES:]
        if kind == raw.GOAWAY and not self._is_in_header_block:
            if len(payload) < 8 or any(frame[5:FRAME_HEADER_BYTES]):
                raise RefusedError
            return [events.GoingAway(int.from_bytes(payload[:4]) & 2**31 - 1, int.from_bytes(payload[4:8]))]
        if kind in {raw.HEADERS, raw.CONTINUATION}:
            self._is_in_header_block = not flags & raw.END_HEADERS
        try:
            received = self._h2.receive_data(frame)
        except (ProtocolError, HyperframeError):
            raise RefusedError from None
        return [event for each in received for event in self._translated(each)]

    def _translated(self, event: Any) -> Iterator[events.Event]:
        match event:
            case h2.events.ResponseReceived():
                yield self._answer(event)
            case h2.events.InformationalResponseReceived() | h2.events.TrailersReceived():
                yield from self._beside_the_answer(event)
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if event.data:
                    yield events.BodyReceived(event.stream_id, bytes(event.data))
            case h2.events.StreamEnded():
                self._over.add(event.stream_id)
                yield events.AnswerEnded(event.stream_id)
            case h2.events.StreamReset() if event.stream_id not in self._over:
                self._over.add(event.stream_id)
                yield events.StreamReset(event.stream_id, int(event.error_code))
            case h2.events.RemoteSettingsChanged():
                yield events.SettingsReceived()
            case h2.events.WindowUpdated():
                yield events.WindowOpened()
            case h2.events.PingAckReceived(ping_data=data) if data == PING_PAYLOAD:
                yield events.PongReceived()

    def _beside_the_answer(self, event: Any) -> Iterator[events.Event]:
        self.fields = _fields(event)
        if isinstance(event, h2.events.InformationalResponseReceived):
            yield events.InterimAnswer(event.stream_id)

    def _answer(self, event: h2.events.ResponseReceived) -> events.AnswerBegun:
        self._h2.streams[event.stream_id]._expected_content_length = None  # there is no setting for it
        self.fields = _fields(event)
        status = dict(self.fields)[b":status"]
        if not (status.isdigit() and len(status) == 3):
            raise RefusedError
        return events.AnswerBegun(
            event.stream_id, int(status), tuple(pair for pair in self.fields if pair[0] != b":status")
        )


def _fields(event: Any) -> list[tuple[bytes, bytes]]:
    return [(bytes(name), bytes(value)) for name, value in event.headers]


def is_idle(frame: bytes) -> bool:
    """Say whether a frame is about a stream that the client has not opened."""
    stream_id = int.from_bytes(frame[5:9]) & 2**31 - 1
    return stream_id % 2 == 0 or stream_id > OPEN_STREAMS[-1]


@dataclass(frozen=True)
class Difference:
    """Where we are stricter than h2, on purpose. Where we are milder, the corpus in vectors/http2 shows it."""

    is_it: Callable[[bytes, list[tuple[bytes, bytes]]], bool]
    """Whether this frame is a case of it; with the fields of the header block that it ends, if it does."""
    example: bytes


DIFFERENCES = {
    # RFC 9113, section 6.4: a connection error. h2 ignores it.
    "RST_STREAM on an idle stream": Difference(
        lambda frame, _: frame[3] == raw.RST_STREAM and is_idle(frame), raw.frame(raw.RST_STREAM, 0, 7, bytes(4))
    ),
    # Sections 5.1 and 6.6: connection errors. h2 finds them only when the header block has come to its end.
    "HEADERS on an idle stream, unfinished": Difference(
        lambda frame, _: frame[3] == raw.HEADERS and is_idle(frame) and not frame[4] & raw.END_HEADERS,
        raw.frame(raw.HEADERS, 0, 7),
    ),
    "PUSH_PROMISE, unfinished": Difference(
        lambda frame, _: frame[3] == raw.PUSH_PROMISE and not frame[4] & raw.END_HEADERS,
        raw.frame(raw.PUSH_PROMISE, 0, 1, bytes((0, 0, 0, 2))),
    ),
    # Section 8.2.2: only a request may have it.
    "te: trailers": Difference(
        lambda _, fields: (b"te", b"trailers") in fields,
        raw.headers(1, fields=((":status", "200"), ("te", "trailers"))),
    ),
    # Section 8.6: there is no such answer.
    "101": Difference(lambda _, fields: (b":status", b"101") in fields, raw.headers(1, fields=((":status", "101"),))),
    # RFC 9110, section 15: 100 to 599. h2 takes any text.
    "a status that is none": Difference(
        lambda _, fields: not re.fullmatch(rb"[1-5]\d\d", dict(fields).get(b":status", b"200"), re.ASCII),
        raw.headers(1, fields=((":status", "600"),)),
    ),
}


def first_difference(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]]] | None:
    """Feed frame by frame to h2 and to us; return the first that means something else to us, up to what h2 refuses."""
    theirs, ours = Reference(), conversation()
    for frame in take_frames(bytearray(data)):
        try:
            wanted: list[events.Event] = theirs.take(frame)
        except RefusedError:
            return None
        received = listen(ours, frame)
        if received.violation is not None or received.events != wanted:
            return frame, theirs.fields
    return None


@settings(max_examples=examples(500))
@given(data=SPEECHES | ANY_BYTES)
def test_we_understand_what_an_h2_client_does(data: bytes) -> None:
    """As long as h2 accepts what a server says, it means the same to us, but for the differences in the table."""
    difference = first_difference(data)
    assert difference is None or any(each.is_it(*difference) for each in DIFFERENCES.values())


@pytest.mark.parametrize("name", DIFFERENCES)
def test_difference(name: str) -> None:
    """Each difference in the table is one: h2 accepts its example, and we do not."""
    difference = first_difference(DIFFERENCES[name].example)
    assert difference is not None
    assert [each for each in DIFFERENCES if DIFFERENCES[each].is_it(*difference)] == [name]
