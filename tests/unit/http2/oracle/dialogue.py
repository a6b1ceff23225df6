"""A conversation of our ClientProtocol with a server of h2's, step by step, and everything that must be true of it.

Every step that both may take can come in any order; the bytes between them are cut anywhere.
"""

from collections.abc import Set as AbstractSet
from typing import Any

from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame, RstStreamFrame
from hypothesis import strategies as st

from bridge.http2.frames import PREFACE
from bridge.http2.limits import CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES
from tests.support.http2.conversation import REQUEST, frames_of
from tests.unit.http2.oracle.pair import NOISE, ClientEnd, Fields, Message, ServerEnd, Style

PICKS = st.integers(0, 99)
"""Which of the streams that could be meant."""
SHARES = st.just(100) | st.integers(1, 100)
"""How much of what is on its way arrives, in percent."""
BODY_SIZES = st.sampled_from((0, 1, 100, 16_384, 16_385, 65_535, 65_536, 200_000))
SIZES = st.sampled_from((0, 1, 9, 1000, 16_384, 16_385, 100_000, 300_000))
PADDINGS = st.none() | st.sampled_from((0, 1, 255))
ERROR_CODES = st.integers(0, 13)
FIELDS: dict[str, tuple[bytes, bytes]] = {
    "type": (b"content-type", b"application/json"),
    "signature": (b"x-request-signature", b"0" * 64),
    "authorization": (b"authorization", b"Basic x"),
    "date": (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"),
    "empty": (b"x-empty", b""),
    "any byte": (b"x-any", bytes(range(0x80, 0x100))),
    "3000": (b"x-long", b"v" * 3000),
    "5000": (b"x-longer", b"w" * 5000),
    "20000": (b"x-longest", b"x" * 20_000),
}
ANSWER_FIELDS = st.lists(st.sampled_from([name for name in FIELDS if name != "20000"]), max_size=3)
REQUEST_FIELDS = ANSWER_FIELDS | ANSWER_FIELDS.map(lambda names: [*names, "20000"])
"""Also with a block that needs CONTINUATION; we ourselves read no such list."""
CREDITS = st.sampled_from((1, 1000, 16_385, 200_000))
SETTINGS: st.SearchStrategy[dict[SettingCodes | int, int]] = st.fixed_dictionaries(
    {
        SettingCodes.HEADER_TABLE_SIZE: st.sampled_from((0, 100, 4096, 65_536)),
        SettingCodes.INITIAL_WINDOW_SIZE: st.sampled_from((0, 1, 1000, 65_535, 100_000, 2**31 - 1 - 2**24)),
        SettingCodes.MAX_FRAME_SIZE: st.sampled_from((16_384, 16_385, 100_000, 2**24 - 1)),
    }
)
STYLES = st.builds(Style, st.sampled_from((16_000, 1000, 7)), PADDINGS, st.booleans(), st.booleans())


class Dialogue:
    """A client and a server that say whatever they may; what they cannot say now is left out."""

    def __init__(self) -> None:
        self.client, self.server = ClientEnd(), ServerEnd()
        self.to_client, self.to_server = bytearray(), bytearray()
        # As in production nothing is asked before the server has greeted. That it receives the ACK, too, is for h2,
        # which would take it for that of later SETTINGS.
        self.exchange()

    # --- the client ---------------------------------------------------------------------------------------------

    def request(self, fields: list[str], size: int) -> None:
        """Send a request with a body of its own."""
        if self.client.takes_streams:
            start = 1000 * len(self.client.requests)
            self.client.request([*REQUEST, *named(fields)], NOISE[start : start + size])

    def client_resets(self, pick: int, error_code: int) -> None:
        """Give up a stream that is waited for."""
        for stream_id in picked(self.client.open, pick):
            self.client.reset(stream_id, error_code)

    # --- the server ---------------------------------------------------------------------------------------------

    def server_informs(self, pick: int, fields: list[str], status: bytes) -> None:
        """Send an informational answer before the final one."""
        for stream_id in picked(self.server.open() - self.server.answers.keys(), pick):
            self.server.h2.send_headers(stream_id, [(b":status", status), *named(fields)])

    def server_answers(self, pick: int, fields: list[str], status: bytes, *, ends: bool) -> None:
        """Begin an answer."""
        for stream_id in picked(self.server.open() - self.server.answers.keys(), pick):
            self.server.answer(stream_id, [(b":status", status), *named(fields)], ends=ends)

    def server_sends_data(self, pick: int, size: int, padding: int | None, *, ends: bool) -> None:
        """Send a part of a body, of an answer that has begun or that this begins."""
        for stream_id in picked(self.server.open(), pick):
            if stream_id not in self.server.answers:
                self.server.answer(stream_id, [(b":status", b"200")], ends=False)
            self.server.data(stream_id, size, padding, ends=ends)

    def server_sends_trailers(self, pick: int, fields: list[str]) -> None:
        """End an answer."""
        for stream_id in picked(self.server.open() & self.server.answers.keys(), pick):
            self.server.h2.send_headers(stream_id, named(fields) or [(b"x-trailer", b"1")], end_stream=True)
            self.server.answers[stream_id].is_ended = True

    def server_resets(self, pick: int, error_code: int) -> None:
        """Give a stream up."""
        for stream_id in picked(self.server.open(), pick):
            self.server.h2.reset_stream(stream_id, error_code)
            self.server.resets[stream_id] = error_code

    def server_credits(self, pick: int, size: int, *, of_connection: bool) -> None:
        """Open a window."""
        for stream_id in [0] if of_connection else picked(self.server.incomplete(), pick):
            self.server.credit(stream_id, size)

    def server_goes_away(self, pick: int, *, is_graceful: bool) -> None:
        """Say GOAWAY: after any stream that it knows, or first, gracefully, after all that there can be."""
        for stream_id in picked(self.server.requests.keys(), pick):
            self.server.goaway(2**31 - 1 if is_graceful else stream_id)

    # --- between them -------------------------------------------------------------------------------------------

    def server_takes(self, share: int) -> None:
        """Let some bytes arrive."""
        self.to_server += self.client.outgoing()
        self.server.take(taken(self.to_server, share))

    def client_takes(self, share: int) -> None:
        """Let some bytes arrive."""
        self.to_client += self.server.outgoing()
        self.client.take(taken(self.to_client, share))

    # --- the end ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let both come to an end, and compare their records."""
        self.exchange()
        self.check_windows()
        for stream_id in self.server.incomplete():
            self.server.credit(stream_id, 2**23)  # also a window that was made small is opened by this
        self.server.credit(0, 2**24)
        self.exchange()
        assert not self.server.incomplete()
        assert not self.client.unsent
        for stream_id in self.server.open():
            if stream_id not in self.server.answers:
                self.server.answer(stream_id, [(b":status", b"200")], ends=False)
            self.server.data(stream_id, 1, None, ends=True)
        self.exchange()
        self.check_requests()
        self.check_answers()
        self.check_the_rest()

    def exchange(self) -> None:
        """Let everything arrive, and everything that is said to that."""
        while True:
            self.to_server += self.client.outgoing()
            self.to_client += self.server.outgoing()
            if not self.to_server and not self.to_client:
                return
            self.server.take(taken(self.to_server, 100))
            self.client.take(taken(self.to_client, 100))

    def check_windows(self) -> None:
        """See, with nothing on its way, that who has something to send has used up a window, and ours are half open."""
        for stream_id in self.client.unsent:
            assert self.server.h2.remote_flow_control_window(stream_id) <= 0
        assert self.server.h2.outbound_flow_control_window >= CONNECTION_WINDOW_BYTES // 2
        for stream_id in self.server.open():
            assert self.server.h2.streams[stream_id].outbound_flow_control_window >= STREAM_WINDOW_BYTES // 2

    def check_requests(self) -> None:
        """See that the server has received what the client has said, up to where a stream was given up."""
        for stream_id, said in self.client.requests.items():
            compare(said, self.server.requests[stream_id], is_cut=self.is_cut(stream_id))

    def check_answers(self) -> None:
        """See that the client has received what the server has said, up to where a stream was given up."""
        for stream_id, said in self.server.answers.items():
            is_cut = self.is_cut(stream_id)
            if stream_id in self.client.answers:
                compare(said, self.client.answers[stream_id], is_cut=is_cut)
            else:
                assert is_cut
        assert self.client.answers.keys() <= self.server.answers.keys()

    def is_cut(self, stream_id: int) -> bool:
        """Say whether a stream was given up by either side."""
        return any(stream_id in given_up for given_up in (self.client.resets, self.server.resets, self.client.disowned))

    def check_the_rest(self) -> None:
        """See that resets, PINGs and SETTINGS have arrived, each once and no others, and that no one waits any more."""
        rest = frames_of(bytes(self.client.said).removeprefix(PREFACE))
        resets = [(each.stream_id, each.error_code) for each in rest if isinstance(each, RstStreamFrame)]
        assert sorted(resets) == sorted(self.client.resets.items())
        assert not any(isinstance(each, GoAwayFrame) for each in rest)
        assert self.client.reset_by_server.items() <= self.server.resets.items()
        assert self.server.reset_by_client.items() <= self.client.resets.items()
        assert self.server.received["PingAckReceived"] == self.server.pings
        assert self.server.received["SettingsAcknowledged"] == self.server.settings_sent
        assert (self.client.pongs, self.server.received["PingReceived"]) == (self.client.pings, self.client.pings)
        assert not self.client.open


def named(fields: list[str]) -> Fields:
    """Return the fields of these names."""
    return [FIELDS[name] for name in fields]


def picked(streams: AbstractSet[int], pick: int) -> list[int]:
    """Choose one of these, if there is one."""
    return sorted(streams)[pick % len(streams) :][:1] if streams else []


def taken(pipe: bytearray, share: int) -> bytes:
    """Take a share of the bytes that are on their way, in percent and rounded up."""
    size = -(-len(pipe) * share // 100)
    data = bytes(pipe[:size])
    del pipe[:size]
    return data


def compare(said: Message, received: Message, *, is_cut: bool) -> None:
    """See that a message is what was said, or where it was cut the beginning of it."""
    assert received.headers == said.headers
    if is_cut:
        assert said.body.startswith(received.body)
    else:
        assert (received.body, received.is_ended) == (said.body, True)


Step = tuple[str, dict[str, Any]]
"""The name of a method of Dialogue, or of one of its ends, and arguments for it."""


def _steps(method: str, **arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(st.just(method), st.fixed_dictionaries(arguments))


MOVES = st.one_of(_steps("server_takes", share=SHARES), _steps("client_takes", share=SHARES))
REQUESTS = _steps("request", fields=REQUEST_FIELDS, size=BODY_SIZES)
BODIES = _steps(
    "server_sends_data", pick=PICKS, size=SIZES, padding=PADDINGS, ends=st.sampled_from((False, False, True))
)
OTHERS = st.one_of(
    _steps("client_resets", pick=PICKS, error_code=ERROR_CODES),
    _steps("client.ping"),
    _steps("server_informs", pick=PICKS, fields=ANSWER_FIELDS, status=st.sampled_from((b"100", b"103", b"199"))),
    _steps(
        "server_answers",
        pick=PICKS,
        fields=ANSWER_FIELDS,
        status=st.sampled_from((b"200", b"204", b"404", b"599")),
        ends=st.booleans(),
    ),
    _steps("server_sends_trailers", pick=PICKS, fields=ANSWER_FIELDS),
    _steps("server_resets", pick=PICKS, error_code=ERROR_CODES),
    _steps("server_credits", pick=PICKS, size=CREDITS, of_connection=st.booleans()),
    _steps("server.change_settings", settings=SETTINGS),
    _steps("server.ping"),
    _steps("server_goes_away", pick=PICKS, is_graceful=st.booleans()),
    _steps("server.change_style", style=STYLES),
)
# Not st.one_of, which would choose among all branches of OTHERS as often as REQUESTS.
STEPS = st.sampled_from((REQUESTS, BODIES, MOVES, OTHERS)).flatmap(lambda kind: kind)
