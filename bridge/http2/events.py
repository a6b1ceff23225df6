"""Events that a server's bytes mean, as values. RFC 9113."""

from bridge.outcome import Value


class ViolationError(Exception):
    """The server broke the protocol: the connection must be closed, after what `outgoing` still has to say.

    `error_code`: as in GOAWAY (RFC 9113, section 7).
    """

    def __init__(self, error_code: int, what: str) -> None:
        super().__init__(what)
        self.error_code = error_code


class InterimAnswer(Value, frozen=True):
    """An informational (1xx) answer: the server has begun to work on the request (RFC 9110, section 15.2)."""

    stream_id: int


class AnswerBegun(Value, frozen=True):
    """The final header block of an answer."""

    stream_id: int
    status: int
    headers: tuple[tuple[bytes, bytes], ...]


class BodyReceived(Value, frozen=True):
    """A piece of an answer's body. Its credit is returned already."""

    stream_id: int
    data: bytes


class AnswerEnded(Value, frozen=True):
    """The answer is complete."""

    stream_id: int


class StreamReset(Value, frozen=True):
    """The stream is over: the server gave it up, or it broke the protocol on it and we did."""

    stream_id: int
    error_code: int


class GivenUpEnded(Value, frozen=True):
    """A stream that was left to end by itself is over: the server holds nothing of it any more."""

    stream_id: int


class StreamFaulted(Value, frozen=True, gc=True):
    """The state machine itself failed at a frame of this stream: the stream is reset."""

    stream_id: int
    error: Exception


class GoingAway(Value, frozen=True):
    """The server takes no more streams, and has not processed those above this one."""

    last_stream_id: int
    error_code: int


class SettingsReceived(Value, frozen=True):
    """The server's limits, or other limits than before."""


class WindowOpened(Value, frozen=True):
    """There is room to send again."""


class PongReceived(Value, frozen=True):
    """The server answered a PING of ours."""


Event = (
    InterimAnswer
    | AnswerBegun
    | BodyReceived
    | AnswerEnded
    | StreamReset
    | StreamFaulted
    | GivenUpEnded
    | GoingAway
    | SettingsReceived
    | WindowOpened
    | PongReceived
)
Events = tuple[Event, ...]
"""Events of one frame, in order."""
