"""Bytes that a server might send in the middle of a conversation (see conversation), as Hypothesis strategies."""

from typing import Any, NamedTuple

from hypothesis import strategies as st

from bridge.http2.protocol import PING_PAYLOAD
from bridge.sandbox.wire import PREFACE
from tests.support.http2 import frames as raw
from tests.support.http2 import vectors
from tests.support.http2.conversation import OPEN_STREAMS, REQUEST
from tests.support.http2.ends import FIELDS, ODD_FIELDS, End, ServerEnd, Style

FINAL_STATUSES, INTERIM_STATUSES = (
    st.sampled_from((b"200", b"204", b"404", b"599")),
    st.sampled_from((b"100", b"103", b"199")),
)
STATUSES = FINAL_STATUSES | INTERIM_STATUSES
ODD_STATUSES = st.sampled_from((b"101", b"600", b"099", b"1", b"20", b"2000", "²00".encode(), b""))
USUAL_NAMES = st.sampled_from([name for name in FIELDS if name != "20000"])
ODD_NAMES = st.sampled_from([*ODD_FIELDS])
HEADER_FIELDS = st.one_of(
    st.tuples(st.just(b":status"), STATUSES | ODD_STATUSES),
    (USUAL_NAMES | ODD_NAMES).map((FIELDS | ODD_FIELDS).__getitem__),
)
HEADER_BLOCKS = st.lists(HEADER_FIELDS, max_size=4).map(lambda fields: raw.header_block(*fields)) | st.just(
    raw.header_block(*raw.ANSWER_HEADERS)
)
PAYLOADS = st.one_of(
    HEADER_BLOCKS,
    HEADER_BLOCKS,
    st.binary(max_size=24),
    st.sampled_from((0, 4, 5, 6, 8)).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    st.tuples(st.integers(0, 8), st.sampled_from((0, 1, 100, 2**31 - 1, 2**32 - 1))).map(
        lambda entry: raw.setting(*entry)
    ),
)
FRAMES = st.builds(
    raw.frame,
    st.integers(raw.DATA, raw.CONTINUATION + 1),
    st.sampled_from((0, raw.END_STREAM, raw.END_HEADERS, raw.END_HEADERS | raw.END_STREAM)) | st.integers(0, 255),
    st.sampled_from((0, *OPEN_STREAMS, *OPEN_STREAMS, 2, 7, 2**31 + 1)),
    PAYLOADS,
)
CONVERSATIONS = st.lists(st.sampled_from(vectors.names()), min_size=1, max_size=3).map(
    lambda names: b"".join(map(vectors.read, names))
)


@st.composite
def mutated(draw: st.DrawFn, conversations: st.SearchStrategy[bytes]) -> bytes:
    """Overwrite, cut, duplicate or insert something in a few places of a conversation, or of any bytes."""
    data = draw(conversations)
    for _ in range(draw(st.integers(1, 4))):
        start, size = draw(st.integers(0, len(data))), draw(st.integers(0, 12))
        piece, rest = data[start : start + size], data[start + size :]
        new = draw(st.sampled_from((b"", piece * 2)) | st.binary(min_size=len(piece), max_size=len(piece) + 2))
        data = data[:start] + new + rest
    return data


class Step(NamedTuple):
    """What an end does: a method of its own with these arguments; with `streams`, on one of those that it names so."""

    method: str
    arguments: dict[str, Any]
    streams: str
    pick: int

    def of(self, end: End) -> None:
        """Let an end do it; what it cannot do now is left out."""
        method = getattr(end, self.method)
        if not self.streams:
            method(**self.arguments)
        elif streams := sorted(getattr(end, self.streams)):
            method(streams[self.pick % len(streams)], **self.arguments)


Steps = st.SearchStrategy[Step]


def steps(method: str, streams: str = "", **arguments: st.SearchStrategy[Any]) -> Steps:
    """Return steps with this method and any of these arguments."""
    return st.builds(Step, st.just(method), st.fixed_dictionaries(arguments), st.just(streams), st.integers(0, 99))


def any_of(*kinds: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return one of these kinds, each as often. Not st.one_of, which would choose among all branches of all."""
    return st.sampled_from(kinds).flatmap(lambda kind: kind)


def frames(kind: int, stream_ids: st.SearchStrategy[int], payloads: st.SearchStrategy[bytes], flags: int = 0) -> Steps:
    """Return steps with which a server sends such a frame as it is."""
    return steps("say", frame=st.builds(raw.frame, st.just(kind), st.sampled_from((0, flags)), stream_ids, payloads))


def now_and_then(odd: st.SearchStrategy[Any], usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return something odd one time in 8."""
    return st.integers(0, 7).flatmap(lambda number: odd if number == 7 else usual)


NAMES = st.lists(USUAL_NAMES, max_size=3)
ODD_HEADERS = steps(
    "headers",
    "open",
    status=now_and_then(ODD_STATUSES, STATUSES),
    fields=st.lists(now_and_then(ODD_NAMES, USUAL_NAMES), max_size=3),
    ends=st.booleans(),
)
RESETS = steps("reset", "open", error_code=st.integers(0, 13))
PADDINGS = st.none() | st.sampled_from((0, 1, 255))
STYLE = {"piece_bytes": st.sampled_from((16_000, 100, 20, 7)), "padding": PADDINGS, "has_priority": st.booleans()}
STREAMS = st.sampled_from(OPEN_STREAMS)
NO_STREAM = st.just(0)
SIZES = st.sampled_from((1, 2**20, 2**31 - 1))
DATA = steps("data", "open", size=st.integers(0, 2000), padding=PADDINGS, ends=st.booleans())
OTHERS = st.one_of(
    RESETS,
    frames(raw.PRIORITY, STREAMS, st.just(raw.NO_PRIORITY)),
    frames(raw.WINDOW_UPDATE, st.sampled_from((0, *OPEN_STREAMS)), SIZES.map(lambda size: size.to_bytes(4))),
    frames(raw.SETTINGS, NO_STREAM, st.builds(raw.setting, st.sampled_from((1, 3, 4, 6, 99)), st.integers(0, 2**20))),
    frames(raw.PING, NO_STREAM, st.sampled_from((PING_PAYLOAD, b"12345678")), raw.ACK),
    frames(0xFA, st.integers(0, 99), st.just(b"grease"), 0xFF),
    steps("say", frame=st.sampled_from((5, 2**31 - 1)).map(raw.goaway)),
)
SAYINGS = any_of(ODD_HEADERS, DATA, OTHERS, OTHERS)
ODD_STYLES = st.builds(
    Style,
    **STYLE,
    odd_flags=now_and_then(st.just(raw.END_STREAM), st.just(0)),
    odd_stream_id=now_and_then(STREAMS, st.none()),
)


@st.composite
def speeches(draw: st.DrawFn) -> bytes:
    """Return what a server might say after three requests."""
    server = ServerEnd()
    server.on_its_way += PREFACE + raw.settings()
    server.on_its_way += b"".join(raw.headers(each, fields=REQUEST) for each in OPEN_STREAMS)
    server.take()
    server.outgoing()
    said = b""
    for server.style, step in draw(st.lists(st.tuples(ODD_STYLES, SAYINGS), min_size=8, max_size=25)):
        step.of(server)
        said += server.outgoing()
    return said


ANY_BYTES = st.one_of(st.lists(FRAMES, max_size=8).map(b"".join), mutated(CONVERSATIONS), st.binary(max_size=100))
SPEECHES = speeches() | mutated(speeches())
"""Almost or wholly right; with a table of HPACK's that all header blocks share."""
