"""bridge.http2.frames against hyperframe: what one writes the other reads, with the same values."""

from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    ExtensionFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.http2 import frames
from bridge.http2.frames import ErrorCode, Setting
from tests.support.http2.conversation import frames_of

STREAM_IDS = st.integers(1, frames.STREAM_ID_MAX)
INTEGERS = st.integers(0, 2**32 - 1)
INCREMENTS = st.integers(1, frames.WINDOW_BYTES_MAX)
PAYLOADS = st.binary(max_size=300)

KINDS: dict[int, type[Frame]] = {
    frames.DATA: DataFrame,
    frames.HEADERS: HeadersFrame,
    frames.PRIORITY: PriorityFrame,
    frames.RST_STREAM: RstStreamFrame,
    frames.SETTINGS: SettingsFrame,
    frames.PUSH_PROMISE: PushPromiseFrame,
    frames.PING: PingFrame,
    frames.GOAWAY: GoAwayFrame,
    frames.WINDOW_UPDATE: WindowUpdateFrame,
    frames.CONTINUATION: ContinuationFrame,
}
FLAGS = {
    "END_STREAM": frames.END_STREAM,
    "END_HEADERS": frames.END_HEADERS,
    "PADDED": frames.PADDED,
    "PRIORITY": frames.PRIORITY_FLAG,
}


def header(data: bytes) -> tuple[int, int, int, int]:
    """Return what our reader makes of a frame's header: payload length, type, flags, stream id."""
    return frames.read_header(data, 0)


def only(data: bytes) -> Any:
    """Return the frame that hyperframe reads; there must be no other."""
    (read,) = frames_of(data)
    return read


CONSTANTS: dict[str, tuple[object, object]] = {
    "types": ({kind: kind for kind in KINDS}, {kind: KINDS[kind].type for kind in KINDS}),
    "flags": (FLAGS, {flag.name: flag.bit for flag in HeadersFrame.defined_flags}),
    "ACK": ({frames.ACK}, {flag.bit for kind in (PingFrame, SettingsFrame) for flag in kind.defined_flags}),
    "error codes": ({each.name: each.value for each in ErrorCode}, {each.name: each.value for each in ErrorCodes}),
    # Without the one of RFC 8441.
    "settings": (
        {each.name: each.value for each in Setting},
        {each.name: each.value for each in SettingCodes if each is not SettingCodes.ENABLE_CONNECT_PROTOCOL},
    ),
}


@pytest.mark.parametrize(("ours", "theirs"), CONSTANTS.values(), ids=CONSTANTS)
def test_constants(ours: object, theirs: object) -> None:
    """Types, flags, codes and settings have the numbers that they have for hyperframe and h2."""
    assert ours == theirs


@given(stream_id=STREAM_IDS, payload=PAYLOADS, ends=st.booleans())
def test_frame(stream_id: int, payload: bytes, *, ends: bool) -> None:
    """A whole frame is read by hyperframe with its flags, its stream and its payload."""
    read = only(frames.frame(frames.DATA, frames.END_STREAM if ends else 0, stream_id, payload))
    assert (type(read), read.stream_id, read.data) == (DataFrame, stream_id, payload)
    assert set(read.flags) == ({"END_STREAM"} if ends else set())


@pytest.mark.parametrize("length", [0, 1, 255, 256, 65_535, 65_536, 2**24 - 1])
def test_length(length: int) -> None:
    """A frame's length has 24 bits."""
    written = frames.frame_header(length, frames.DATA, frames.END_STREAM, 7)
    assert Frame.parse_frame_header(memoryview(written))[1] == length
    assert header(written) == (length, frames.DATA, frames.END_STREAM, 7)


@given(values=st.dictionaries(st.sampled_from(list(Setting)), INTEGERS))
def test_settings(values: dict[Setting, int]) -> None:
    """SETTINGS is read by hyperframe with the same values."""
    read = only(frames.settings(values))
    assert (read.settings, set(read.flags)) == (values, set())


@given(stream_id=st.integers(0, frames.STREAM_ID_MAX), increment_bytes=INCREMENTS)
def test_window_update(stream_id: int, increment_bytes: int) -> None:
    """WINDOW_UPDATE is read by hyperframe with the same increment."""
    read = only(frames.window_update(stream_id, increment_bytes))
    assert (type(read), read.stream_id, read.window_increment) == (WindowUpdateFrame, stream_id, increment_bytes)


@given(stream_id=STREAM_IDS, error_code=INTEGERS)
def test_rst_stream(stream_id: int, error_code: int) -> None:
    """RST_STREAM is read by hyperframe with the same code."""
    read = only(frames.rst_stream(stream_id, error_code))
    assert (type(read), read.stream_id, read.error_code) == (RstStreamFrame, stream_id, error_code)


@given(error_code=INTEGERS)
def test_goaway(error_code: int) -> None:
    """GOAWAY is read by hyperframe with the same code, and no stream of the server's."""
    read = only(frames.goaway(error_code))
    assert (type(read), read.stream_id, read.last_stream_id) == (GoAwayFrame, 0, 0)
    assert (read.error_code, read.additional_data) == (error_code, b"")


@given(stream_id=STREAM_IDS, block=PAYLOADS, ends=st.booleans(), payload_bytes_max=st.integers(1, 310))
@example(stream_id=1, block=b"", ends=True, payload_bytes_max=1)
@example(stream_id=1, block=bytes(20), ends=True, payload_bytes_max=10)
@example(stream_id=1, block=bytes(20), ends=False, payload_bytes_max=20)
def test_headers(stream_id: int, block: bytes, payload_bytes_max: int, *, ends: bool) -> None:
    """A header block is one HEADERS frame and as few CONTINUATION frames as hold it; only the last ends it."""
    written = frames.headers(stream_id, block, frames.END_STREAM if ends else 0, payload_bytes_max)
    every: list[Any] = list(frames_of(written))
    rest = every[1:]
    assert [type(each) for each in every] == [HeadersFrame] + [ContinuationFrame] * len(rest)
    assert {each.stream_id for each in every} == {stream_id}
    assert b"".join(each.data for each in every) == block
    assert [len(each.data) for each in every[:-1]] == [payload_bytes_max] * len(rest)
    assert 0 < len(every[-1].data) <= payload_bytes_max or not block
    assert ["END_HEADERS" in each.flags for each in every] == [False] * len(rest) + [True]
    assert [set(each.flags) - {"END_HEADERS"} for each in every] == [
        {"END_STREAM"} if ends else set(),
        *[set()] * len(rest),
    ]


WRITTEN = st.one_of(
    st.builds(DataFrame, STREAM_IDS, PAYLOADS, flags=st.sets(st.just("END_STREAM"))),
    st.builds(HeadersFrame, STREAM_IDS, PAYLOADS, flags=st.sets(st.sampled_from(("END_STREAM", "END_HEADERS")))),
    st.builds(ContinuationFrame, STREAM_IDS, PAYLOADS, flags=st.sets(st.just("END_HEADERS"))),
    st.builds(RstStreamFrame, STREAM_IDS, INTEGERS),
    st.builds(WindowUpdateFrame, STREAM_IDS, INCREMENTS),
    st.builds(PingFrame, opaque_data=st.binary(min_size=8, max_size=8), flags=st.sets(st.just("ACK"))),
    st.builds(ExtensionFrame, type=st.integers(0xB, 0xFF), stream_id=STREAM_IDS, flag_byte=st.integers(0, 255)),
)


@given(frame=WRITTEN, before=st.binary(max_size=20), is_reserved=st.booleans())
def test_read_header(frame: Frame, before: bytes, *, is_reserved: bool) -> None:
    """A header of hyperframe's is read with the same values wherever it begins, and without its reserved bit."""
    written = bytearray(frame.serialize())
    written[5] |= 0x80 if is_reserved else 0
    length, kind, flags, stream_id = frames.read_header(before + written, len(before))
    assert (length, kind, stream_id) == (len(written) - frames.HEADER_BYTES, frame.type, frame.stream_id)
    assert flags == written[4]


@given(frame=st.builds(RstStreamFrame, STREAM_IDS, INTEGERS))
def test_read_integer(frame: RstStreamFrame) -> None:
    """An error code of hyperframe's is read as it is."""
    assert frames.read_integer(frame.serialize(), frames.HEADER_BYTES) == frame.error_code


@given(last_stream_id=st.integers(0, frames.STREAM_ID_MAX), error_code=INTEGERS, text=st.binary(max_size=20))
def test_read_goaway(last_stream_id: int, error_code: int, text: bytes) -> None:
    """Both numbers of a GOAWAY of hyperframe's are read from where they are."""
    payload = GoAwayFrame(0, last_stream_id, error_code, text).serialize()[frames.HEADER_BYTES :]
    assert (frames.read_integer(payload), frames.read_integer(payload, 4)) == (last_stream_id, error_code)


@given(values=st.dictionaries(st.integers(0, 255), INTEGERS, max_size=6))  # hyperframe writes no larger code
def test_read_settings(values: dict[int, int]) -> None:
    """Settings of hyperframe's are read with the same values, in their order."""
    payload = SettingsFrame(0, values).serialize()[frames.HEADER_BYTES :]
    assert frames.read_settings(payload) == list(values.items())


RANGES = {
    "ENABLE_PUSH": (Setting.ENABLE_PUSH, [0], [1, 2, 2**32 - 1], ErrorCode.PROTOCOL_ERROR),
    "INITIAL_WINDOW_SIZE": (
        Setting.INITIAL_WINDOW_SIZE,
        [0, 2**31 - 1],
        [2**31, 2**32 - 1],
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "MAX_FRAME_SIZE": (
        Setting.MAX_FRAME_SIZE,
        [16_384, 2**24 - 1],
        [0, 16_383, 2**24, 2**32 - 1],
        ErrorCode.PROTOCOL_ERROR,
    ),
}


@pytest.mark.parametrize(("setting", "allowed", "forbidden", "error_code"), RANGES.values(), ids=RANGES)
def test_setting_ranges(setting: Setting, allowed: list[int], forbidden: list[int], error_code: ErrorCode) -> None:
    """A server's setting has the range and the error of RFC 9113, section 6.5.2."""
    values, wrong = frames.SETTING_RANGES[setting]
    assert all(value in values for value in allowed)
    assert not any(value in values for value in forbidden)
    assert wrong is error_code


def test_other_settings_may_have_any_value() -> None:
    """Only those three settings have a range."""
    assert frames.SETTING_RANGES.keys() == {each[0] for each in RANGES.values()}
    assert all(value in frames.ANY_SETTING[0] for value in (0, 2**32 - 1))
