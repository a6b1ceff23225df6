"""A conversation of our ClientProtocol with a server of h2's, step by step, and everything that must be true of it.

Every step that both may take can come in any order; the bytes between them are cut anywhere.
"""

from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame, RstStreamFrame
from hypothesis import strategies as st

from bridge.http2 import events
from bridge.http2.frames import PREFACE
from bridge.http2.limits import CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES
from bridge.http2.protocol import ClientProtocol
from tests.support.http2.conversation import REQUEST, frames_of
from tests.support.http2.ends import NOISE, End, Message, ServerEnd, Style, named
from tests.support.http2.strategies import (
    FINAL_STATUSES,
    INTERIM_STATUSES,
    NAMES,
    PADDINGS,
    RESETS,
    STYLE,
    Step,
    any_of,
    steps,
)


class ClientEnd(End):
    """A ClientProtocol, driven as `bridge.http2.connection` does it."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol = ClientProtocol()
        self.unsent: dict[int, memoryview] = {}
        self.open: set[int] = set()
        """Streams whose answer is still waited for."""
        self.disowned: set[int] = set()
        self.takes_streams = True
        self.pongs = 0
        self.said = bytearray()
        """Everything so far, with the preface."""

    def request(self, fields: list[str], size: int) -> None:
        """Open a stream, if the server takes it, with a body of its own, and send what the windows allow."""
        if not self.takes_streams:
            return
        headers, start = [*REQUEST, *named(fields)], 1000 * len(self.requests)
        body = NOISE[start : start + size]
        stream_id = self.protocol.begin(tuple(headers), has_body=bool(body))
        self.requests[stream_id] = Message(headers, bytearray(body), is_ended=True)
        self.open.add(stream_id)
        self._send(stream_id, memoryview(body))

    def reset(self, stream_id: int, error_code: int) -> None:
        """Give a stream up."""
        self._forget(stream_id)
        self.resets[stream_id] = error_code
        self.protocol.reset(stream_id, error_code)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.pings += 1
        self.protocol.ping()

    def outgoing(self) -> bytes:
        """Return what is to be sent now."""
        data = self.protocol.outgoing()
        self.said += data
        return data

    def take(self, share: int = 100) -> None:
        """Act on a share of what is on its way. An event of a stream that is over is a mistake; so is a violation."""
        for event in self.protocol.receive(self.arrived(share)):
            assert getattr(event, "stream_id", 0) in {0, *self.open}
            match event:
                case events.AnswerBegun(stream_id, status, headers):
                    assert stream_id not in self.answers
                    self.answers[stream_id] = Message([(b":status", b"%d" % status), *headers])
                case events.BodyReceived(stream_id, piece):
                    assert piece
                    self.answers[stream_id].body += piece
                case events.AnswerEnded(stream_id):
                    self._ended(stream_id)
                case events.StreamReset(stream_id, error_code):
                    self._forget(stream_id)
                    self.reset_by_peer[stream_id] = error_code
                case events.GoingAway(last_stream_id, _):
                    self._going_away(last_stream_id)
                case events.SettingsReceived() | events.WindowOpened():
                    for stream_id, rest in list(self.unsent.items()):
                        self._send(stream_id, rest)
                case events.PongReceived():
                    self.pongs += 1

    def _send(self, stream_id: int, body: memoryview) -> None:
        self.unsent[stream_id] = self.protocol.send(stream_id, body)
        if not self.unsent[stream_id]:
            del self.unsent[stream_id]

    def _ended(self, stream_id: int) -> None:
        self.answers[stream_id].is_ended = True
        if stream_id in self.unsent:
            self.reset(stream_id, 0)
        self._forget(stream_id)

    def _going_away(self, last_stream_id: int) -> None:
        self.takes_streams = False
        for stream_id in [each for each in self.open if each > last_stream_id]:
            self._forget(stream_id)
            self.disowned.add(stream_id)

    def _forget(self, stream_id: int) -> None:
        self.open.discard(stream_id)
        self.unsent.pop(stream_id, None)


class Dialogue:
    """A client and a server that say whatever they may; what they cannot say now is left out."""

    def __init__(self) -> None:
        self.client, self.server = ClientEnd(), ServerEnd()
        # As in production nothing is asked before the server has greeted. That it receives the ACK, too, is for h2,
        # which would take it for that of later SETTINGS.
        self.exchange()

    def do(self, end: str, step: Step) -> None:
        """Let one end take a step."""
        step.of(getattr(self, end))
        self._hand_over()

    def exchange(self) -> None:
        """Let everything arrive, and everything that is said to that."""
        self._hand_over()
        while self.server.on_its_way or self.client.on_its_way:
            self.server.take()
            self.client.take()
            self._hand_over()

    def _hand_over(self) -> None:
        self.server.on_its_way += self.client.outgoing()
        self.client.on_its_way += self.server.outgoing()

    def settle(self) -> None:
        """Let both come to an end, and compare their records."""
        self.exchange()
        self.check_windows()
        for stream_id in self.server.incomplete:
            self.server.credit(stream_id, 2**23)  # also a window that was made small is opened by this
        self.server.credit(0, 2**24)
        self.exchange()
        assert not self.server.incomplete
        assert not self.client.unsent
        for stream_id in self.server.open:
            self.server.data(stream_id, 1, None, ends=True)
        self.exchange()
        self.check_messages()
        self.check_the_rest()

    def check_windows(self) -> None:
        """See, with nothing on its way, that who has something to send has used up a window, and ours are half open."""
        for stream_id in self.client.unsent:
            assert self.server.h2.remote_flow_control_window(stream_id) <= 0
        assert self.server.h2.outbound_flow_control_window >= CONNECTION_WINDOW_BYTES // 2
        for stream_id in self.server.open:
            assert self.server.h2.streams[stream_id].outbound_flow_control_window >= STREAM_WINDOW_BYTES // 2

    def check_messages(self) -> None:
        """See that each end has received what the other has said, up to where either gave a stream up."""
        cut = self.client.resets.keys() | self.server.resets.keys() | self.client.disowned
        for stream_id, said in self.client.requests.items():
            compare(said, self.server.requests[stream_id], is_cut=stream_id in cut)
        for stream_id, said in self.server.answers.items():
            if stream_id in self.client.answers or stream_id not in cut:
                compare(said, self.client.answers[stream_id], is_cut=stream_id in cut)
        assert self.client.answers.keys() <= self.server.answers.keys()

    def check_the_rest(self) -> None:
        """See that resets, PINGs and SETTINGS have arrived, each once and no others, and that no one waits any more."""
        rest = frames_of(bytes(self.client.said).removeprefix(PREFACE))
        resets = [(each.stream_id, each.error_code) for each in rest if isinstance(each, RstStreamFrame)]
        assert sorted(resets) == sorted(self.client.resets.items())
        assert not any(isinstance(each, GoAwayFrame) for each in rest)
        assert self.client.reset_by_peer.items() <= self.server.resets.items()
        assert self.server.reset_by_peer.items() <= self.client.resets.items()
        assert self.server.received["PingAckReceived"] == self.server.pings
        assert self.server.received["SettingsAcknowledged"] == self.server.settings_sent
        assert (self.client.pongs, self.server.received["PingReceived"]) == (self.client.pings, self.client.pings)
        assert not self.client.open


def compare(said: Message, received: Message, *, is_cut: bool) -> None:
    """See that a message is what was said, or where it was cut the beginning of it."""
    assert received.headers == said.headers
    if is_cut:
        assert said.body.startswith(received.body)
    else:
        assert (received.body, received.is_ended) == (said.body, True)


def of(end: str, *kinds: st.SearchStrategy[Step]) -> st.SearchStrategy[tuple[str, Step]]:
    """Return steps of such kinds for one end."""
    return st.one_of([st.tuples(st.just(end), kind) for kind in kinds])


MOVES = st.tuples(st.sampled_from(("client", "server")), steps("take", share=st.just(100) | st.integers(1, 100)))
BODY_SIZES = st.sampled_from((0, 1, 100, 16_384, 16_385, 65_535, 65_536, 200_000))
# Also with a block that needs CONTINUATION; we ourselves read no such list.
REQUEST_NAMES = NAMES | NAMES.map(lambda names: [*names, "20000"])
REQUESTS = of("client", steps("request", fields=REQUEST_NAMES, size=BODY_SIZES))
SIZES = st.sampled_from((0, 1, 9, 1000, 16_384, 16_385, 100_000, 300_000))
MOSTLY_MORE = st.sampled_from((False, False, True))
BODIES = of("server", steps("data", "open", size=SIZES, padding=PADDINGS, ends=MOSTLY_MORE))
CREDITS = st.sampled_from((1, 1000, 16_385, 200_000))
SETTINGS: st.SearchStrategy[dict[SettingCodes | int, int]] = st.fixed_dictionaries(
    {
        SettingCodes.HEADER_TABLE_SIZE: st.sampled_from((0, 100, 4096, 65_536)),
        SettingCodes.INITIAL_WINDOW_SIZE: st.sampled_from((0, 1, 1000, 65_535, 100_000, 2**31 - 1 - 2**24)),
        SettingCodes.MAX_FRAME_SIZE: st.sampled_from((16_384, 16_385, 100_000, 2**24 - 1)),
    }
)
OTHERS = st.one_of(
    of("client", RESETS, steps("ping")),
    of(
        "server",
        RESETS,
        steps("credit", "incomplete", size=CREDITS),
        steps("credit", stream_id=st.just(0), size=CREDITS),
        steps("change_settings", settings=SETTINGS),
        steps("ping"),
        steps("go_away", "requests", is_graceful=st.booleans()),
        steps("change_style", style=st.builds(Style, **STYLE, has_grease=st.booleans())),
    ),
)
# Each counts 256 bytes, so that of 60 steps in a stream none is too much (INTERIM_BYTES_MAX of bridge.http2.limits).
SHORT = st.lists(st.sampled_from(("type", "signature", "empty")), max_size=2)
HEADERS = of(
    "server",
    steps("headers", "open", status=FINAL_STATUSES, fields=NAMES, ends=st.booleans()),
    steps("headers", "open", status=INTERIM_STATUSES, fields=SHORT, ends=st.booleans()),
)
KINDS = (REQUESTS, BODIES, MOVES, OTHERS)
STEPS = any_of(*KINDS, *KINDS, HEADERS)
