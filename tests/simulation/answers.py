"""What the wallet may do with a request. It is honest in one thing: it disowns only what it has not processed."""

import json
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from h2.errors import ErrorCodes

if TYPE_CHECKING:
    from tests.simulation.wallet import Request

JSON = ("content-type", "application/json")
REQUEST_ID = "4d5a42b3-62ec-40cb-b5e9-b338f194ce60"


def _soon_s(chance: random.Random) -> float:
    # In whole milliseconds, like everything else: what happens in one turn of the loop is the hardest case.
    return chance.randint(0, 200) / 1000


Answer = Callable[["Request", random.Random], None]
Header = tuple[str, str]


def success_body(request: "Request", **changes: Any) -> bytes:
    """Return the wallet's word that exactly this token is terminated."""
    asked = request.fields
    answer = {
        "status": True,
        "code": 1,
        "message": "",
        "request_id": REQUEST_ID,
        **{name: asked[name] for name in ("token", "player_id", "game_id", "provider_id")},
        "site_id": str(asked["site_id"]),
        "balance": 22085.75,
    }
    return json.dumps(answer | changes).encode()


def failure_body(code: int) -> bytes:
    """Return a no in the wallet's own words."""
    return json.dumps({"status": False, "code": code, "message": "no", "request_id": REQUEST_ID}).encode()


def _respond(request: "Request", status: int, body: bytes, *headers: Header, ends: bool = True) -> None:
    connection = request.connection
    fields = [(":status", str(status)), JSON, *headers]
    connection.h2.send_headers(request.stream_id, fields, end_stream=not body and ends)
    if body:
        connection.send_body(request.stream_id, body, ends=ends)


def _after(request: "Request", seconds: float, status: int, body: bytes, *headers: Header) -> None:
    request.connection.later(seconds, lambda: _respond(request, status, body, *headers))


def _success(within_s: float, at_least_s: float = 0.0) -> Answer:
    def answer(request: "Request", chance: random.Random) -> None:
        request.process()
        _after(request, round(chance.uniform(at_least_s, within_s), 3), 200, success_body(request))

    return answer


def _confirm(request: "Request", chance: random.Random) -> None:
    _after(request, _soon_s(chance), 200, success_body(request))


def _no(status: int, body: bytes, *headers: Header) -> Answer:
    def answer(request: "Request", chance: random.Random) -> None:
        request.refuse()
        _after(request, _soon_s(chance), status, body, *headers)

    return answer


def _processed_but(act: Answer) -> Answer:
    def answer(request: "Request", chance: random.Random) -> None:
        request.process()
        act(request, chance)

    return answer


def _perhaps_processed(act: Answer) -> Answer:
    def answer(request: "Request", chance: random.Random) -> None:
        if chance.random() < 0.5:
            request.process()
        act(request, chance)

    return answer


def _says(status: int, body: bytes, *headers: Header) -> Answer:
    return lambda request, chance: _after(request, _soon_s(chance), status, body, *headers)


def _never(_request: "Request", _chance: random.Random) -> None:
    pass


def _cut(request: "Request", chance: random.Random) -> None:
    request.connection.later(_soon_s(chance), lambda: request.connection.cut(with_reset=chance.random() < 0.5))


def _cut_in_the_body(request: "Request", chance: random.Random) -> None:
    body = success_body(request)

    def act() -> None:
        _respond(request, 200, body[: len(body) // 2], ends=False)
        request.connection.cut(with_reset=chance.random() < 0.5)

    request.connection.later(_soon_s(chance), act)


def _reset_with(*codes: ErrorCodes) -> Answer:
    def answer(request: "Request", chance: random.Random) -> None:
        code = chance.choice(codes)
        request.connection.later(_soon_s(chance), lambda: request.connection.h2.reset_stream(request.stream_id, code))

    return answer


def _refuse(request: "Request", _chance: random.Random) -> None:
    request.refuse()
    request.connection.h2.reset_stream(request.stream_id, ErrorCodes.REFUSED_STREAM)


def _disown(request: "Request", chance: random.Random) -> None:
    """Say by GOAWAY that this one, and all above, are not processed; refuse it where one above is under way already."""
    if request.connection.highest_taken > request.stream_id:
        _refuse(request, chance)
        return
    request.refuse()
    request.connection.go_away(ErrorCodes.NO_ERROR, max(request.stream_id - 2, 0))


def _begin_then(act: Answer) -> Answer:
    """Send an interim answer first: a server that has sent one has begun to work, whatever it says later."""

    def answer(request: "Request", chance: random.Random) -> None:
        status = chance.choice(["100", "102", "103"])

        def begin() -> None:
            request.connection.h2.send_headers(request.stream_id, [(":status", status)])
            act(request, chance)

        request.connection.later(_soon_s(chance), begin)

    return answer


def _goaway_below(request: "Request", _chance: random.Random) -> None:
    if request.connection.highest_taken == request.stream_id:
        request.connection.go_away(ErrorCodes.NO_ERROR, max(request.stream_id - 2, 0))


def _goaway_then_confirm(request: "Request", chance: random.Random) -> None:
    request.connection.go_away(ErrorCodes.NO_ERROR)
    _after(request, round(chance.uniform(0.5, 1.5), 3), 200, success_body(request))


def _drip(request: "Request", chance: random.Random) -> None:
    body = success_body(request)
    step_s = chance.choice([0.001, 0.01, 0.1])
    _respond(request, 200, body[:1], ends=False)
    for number in range(1, len(body)):
        is_last = number == len(body) - 1
        piece = body[number : number + 1]
        request.connection.later(
            number * step_s, partial(request.connection.send_body, request.stream_id, piece, ends=is_last)
        )


def _garbage(request: "Request", chance: random.Random) -> None:
    # A DATA frame on stream 0, and what cannot be a frame at all.
    request.connection.raw(chance.choice([b"\0\0\1\0\0\0\0\0\0x", b"HTTP/1.1 400 Bad Request\r\n\r\n"]))


OTHER_CODES = (ErrorCodes.NO_ERROR, ErrorCodes.INTERNAL_ERROR, ErrorCodes.CANCEL, ErrorCodes.ENHANCE_YOUR_CALM)

ANSWERS: dict[str, Answer] = {
    "success": _success(0.2),
    "another's success": lambda request, chance: _after(
        request, _soon_s(chance), 200, success_body(request, token="other")
    ),
    "GOAWAY, then success": _processed_but(_goaway_then_confirm),
    "slow success": _success(8.0, 1.0),
    "five seconds": _success(5.0, 4.9),
    "drip": _processed_but(_drip),
    "never": _perhaps_processed(_never),
    "cut": _perhaps_processed(_cut),
    "cut in the body": _processed_but(_cut_in_the_body),
    "reset": _perhaps_processed(_reset_with(*OTHER_CODES)),
    "refuse": _refuse,
    "disown": _disown,
    "interim, then success": _processed_but(_begin_then(_confirm)),
    "interim, then refuse": _perhaps_processed(_begin_then(_reset_with(ErrorCodes.REFUSED_STREAM))),
    "interim, then GOAWAY below": _perhaps_processed(_begin_then(_goaway_below)),
    "gateway error": _perhaps_processed(_says(502, b"<html>", ("server", "proxy"))),
    "code 2": _perhaps_processed(_says(500, failure_body(2))),
    "rejected": _no(409, failure_body(77)),
    "unavailable": _no(503, failure_body(9)),
    "throttled": _no(429, failure_body(9), ("retry-after", "2")),
    "wrong signature": _no(401, failure_body(10)),
    "17 kB of headers": _processed_but(_says(200, b"{}", *((f"x-filler-{n}", "a" * 1000) for n in range(17)))),
    "a length of 5000 digits": _processed_but(_says(200, b"{}", ("content-length", "1" * 5000))),
    "not JSON": _processed_but(_says(200, b"{")),
    "100 kB": _processed_but(_says(200, b" " * 100_000)),
    "garbage": _perhaps_processed(_garbage),
}
"""By name. Those that process are distinguished from those that do not by the wallet's record alone."""

UNSIGNED = frozenset({"refuse", "disown", "never", "cut", "reset"})
"""What happens before anybody looks at a signature."""
