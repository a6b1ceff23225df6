"""A wallet with any fault for any request, which is honest about one thing: what it claims, is true.

It says REFUSED_STREAM, or names a stream as beyond GOAWAY's last, only where it has not processed the request, and says
success only where it has. Whether it processes a request before another fault is part of the fault's name.
"""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from h2.errors import ErrorCodes

from bridge.sandbox.answers import JSON, failure
from bridge.sandbox.behaviours import answer, drip, hang, in_turn, reset_with, success_body
from bridge.sandbox.record import Pulse
from bridge.sandbox.stream import Behaviour, Stream
from bridge.sandbox.wire import GoneError
from tests.support.http2 import frames as raw

DRIP_INTERVAL_S = 0.01


def wallet_says(http_status: int, *, code: int) -> Behaviour:
    """Answer no in the wallet's own words."""
    return answer(http_status, failure(http_status, code, "no").body)


def success_with(**changes: object) -> Behaviour:
    """Answer with success, but with these fields changed; the request is not marked as processed."""
    return in_turn(lambda stream: stream.respond(200, success_body(stream.request, **changes), JSON))


def half_an_answer(then: Callable[[Stream], None]) -> Behaviour:
    """Answer with success, but break off in the middle of the body."""

    async def half(stream: Stream) -> None:
        body = success_body(stream.request)
        await stream.respond(200, body[: len(body) // 2], JSON, end=False)

    return in_turn(half, then)


def bytes_of(make: Callable[[int], bytes]) -> Behaviour:
    """Put raw bytes on the wire, made for the stream's id, and say no more."""
    return in_turn(lambda stream: stream.connection.raw(make(stream.id)), hang)


abort = in_turn(lambda stream: stream.connection.abort())
"""Reset the TCP connection."""

finish = in_turn(lambda stream: stream.connection.close())
"""Send FIN."""

# Each of them with and without having processed the request before.
BREAKAGES: dict[str, Behaviour] = {
    **{f"RST_STREAM {code.name}": reset_with(code) for code in ErrorCodes if code is not ErrorCodes.REFUSED_STREAM},
    "TCP reset": abort,
    "FIN": finish,
    "FIN in the body": half_an_answer(lambda stream: stream.connection.close()),
    "TCP reset in the body": half_an_answer(lambda stream: stream.connection.abort()),
    "RST_STREAM in the body": half_an_answer(lambda stream: stream.reset(ErrorCodes.INTERNAL_ERROR)),
    "no answer": hang,
    "body drips": drip(b" " * 1000, DRIP_INTERVAL_S),
    "code 2": wallet_says(500, code=2),
    "gateway error": answer(502, b"<html>", (("content-type", "text/html"),)),
    "wrong token echoed": success_with(token="another"),
    "status and code disagree": success_with(code=7),
    "not JSON": answer(200, b"{"),
    "content-length too large": answer(200, b"{}", (*JSON, ("content-length", "3"))),
    "answer over the limit": answer(200, b" " * 70_000, JSON),
    "DATA on stream 0": bytes_of(lambda _id: raw.data(0, b"x")),
    "DATA before HEADERS": bytes_of(lambda stream_id: raw.data(stream_id, b"x")),
    "HEADERS on a stream that was not opened": bytes_of(lambda stream_id: raw.headers(stream_id + 1000)),
    "PUSH_PROMISE": bytes_of(
        lambda stream_id: raw.frame(raw.PUSH_PROMISE, raw.END_HEADERS, stream_id, b"\0\0\0\2" + raw.header_block())
    ),
    "bad HPACK": bytes_of(lambda stream_id: raw.frame(raw.HEADERS, raw.END_HEADERS, stream_id, b"\xff\xff\xff\xff")),
    "padding beyond the frame": bytes_of(lambda stream_id: raw.frame(raw.DATA, raw.PADDED, stream_id, b"\xff")),
    "frame over the limit": bytes_of(lambda stream_id: raw.data(stream_id, bytes(16_385))),
    "frame cut short": bytes_of(lambda stream_id: raw.headers(stream_id)[:-1]),
    "window over 2^31-1": bytes_of(lambda _id: raw.frame(raw.WINDOW_UPDATE, payload=b"\x7f\xff\xff\xff")),
    "SETTINGS with a bad value": bytes_of(lambda _id: raw.settings((4, 2**31))),
    "no HTTP/2 at all": bytes_of(lambda _id: b"HTTP/1.1 400 Bad Request\r\n\r\n"),
}

# What a wallet says only if it has not processed the request.
REFUSALS: dict[str, Behaviour] = {
    "RST_STREAM REFUSED_STREAM": reset_with(ErrorCodes.REFUSED_STREAM),
    "unavailable": wallet_says(503, code=9),
    "throttled": wallet_says(429, code=9),
    "rejected": wallet_says(400, code=9),
    "unauthorized": answer(401),
    "no such endpoint": answer(404, b"<html>"),
}

GOOD = "success"
LATE = "processed after the client has gone"
GOAWAY_BEHIND_IT = "GOAWAY, this request is the last"
GOAWAY_BEFORE_IT = "GOAWAY, all that can be disowned is"
AFTER_PROCESSING = ", after processing"

FAULTS: tuple[str, ...] = (
    GOOD,
    LATE,
    GOAWAY_BEHIND_IT,
    GOAWAY_BEFORE_IT,
    *REFUSALS,
    *BREAKAGES,
    *(f"{name}{AFTER_PROCESSING}" for name in BREAKAGES),
)


class RandomWallet:
    """A behaviour for a fault server. Tokens without a plan meet a good wallet."""

    def __init__(self) -> None:
        self.plans: dict[str, Sequence[str]] = {}
        """By token: the fault of each attempt; the last one stays."""
        self._busy = 0
        self._changed = Pulse()
        self._attempts: Counter[str] = Counter()
        self._last_processed: defaultdict[int, int] = defaultdict(int)
        self._special: Mapping[str, Callable[[Stream], Awaitable[None]]] = {
            GOOD: self._terminate,
            LATE: self._process_late,
            GOAWAY_BEHIND_IT: partial(self._retire, disowns=False),
            GOAWAY_BEFORE_IT: partial(self._retire, disowns=True),
            **REFUSALS,
            **BREAKAGES,
        }

    async def __call__(self, stream: Stream) -> None:
        """Do what is planned for this attempt."""
        token = stream.request.token
        plan = self.plans.get(token, (GOOD,))
        fault = plan[min(self._attempts[token], len(plan) - 1)]
        self._attempts[token] += 1
        self._busy += 1
        try:
            if fault.endswith(AFTER_PROCESSING):
                self._process(stream)
            await self._special[fault.removesuffix(AFTER_PROCESSING)](stream)
        finally:
            self._busy -= 1
            self._changed.beat()

    async def idle(self) -> None:
        """Wait until nothing is done about any request."""
        await self._changed.until(lambda: not self._busy)

    def _process(self, stream: Stream) -> None:
        stream.mark_processed()
        number = stream.connection.number
        self._last_processed[number] = max(self._last_processed[number], stream.id)

    async def _terminate(self, stream: Stream) -> None:
        self._process(stream)
        await success_with()(stream)

    async def _process_late(self, stream: Stream) -> None:
        await stream.closed.wait()
        self._process(stream)

    async def _retire(self, stream: Stream, *, disowns: bool) -> None:
        connection = stream.connection
        # A second GOAWAY must not name a higher id (RFC 9113, section 6.8); one is enough here.
        if not connection.retired:
            connection.goaway(self._last_processed[connection.number] if disowns else None)
        with contextlib.suppress(GoneError):
            await self._terminate(stream)
        await connection.finish()
