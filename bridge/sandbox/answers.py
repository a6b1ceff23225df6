"""Answers of the wallet as values: its own JSON bodies, the pages of what stands before it, and how each is given.

JSON is put together from JSON texts, member by member, so that every number stands in a body exactly as its row in the
table requires it, and so that a body can be wrong on purpose.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

Headers = tuple[tuple[str, str], ...]

Members = Mapping[str, str]
"""JSON texts by name, in the order in which they are written: {"player_id": "1", "site_id": '"1"'}."""

JSON: Headers = (("content-type", "application/json"),)


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete HTTP answer."""

    status: int
    """The HTTP status, 200 to 599."""
    headers: Headers
    """Names in lower case, as HTTP/2 requires (RFC 9113, section 8.2)."""
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """Plan: the whole answer, after a wait."""

    answer: Answer
    delay_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Drip:
    """Plan: headers at once, then the body one byte at a time."""

    answer: Answer
    interval_s: float


@dataclass(frozen=True, slots=True)
class Endless:
    """Plan: headers at once, then the body over and over, as fast as the client reads, until it goes."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Cut:
    """Plan: headers and a part of the body; then the whole connection ends."""

    answer: Answer


@dataclass(frozen=True, slots=True)
class Silence:
    """Plan: nothing at all, until the client goes."""


Plan = Reply | Drip | Endless | Cut | Silence
"""Behaviour of an answer; `behaviours.carry_out` does it."""


def status_of(plan: Plan) -> int | None:
    """Return the HTTP status that the client is to see; None when it sees none."""
    return None if isinstance(plan, Silence) else plan.answer.status


# json.dumps with an option makes an encoder for each value.
_ENCODER = json.JSONEncoder(ensure_ascii=False)


def json_text(value: Any) -> str:
    """Return the JSON text of a value; integers are exact."""
    return _ENCODER.encode(value)


def json_object(members: Members) -> bytes:
    """Return the bytes of a JSON object with these members in this order."""
    return "{{{}}}".format(",".join(f"{json_text(name)}:{text}" for name, text in members.items())).encode()


def envelope(*, status: bool, code: int, message: str) -> Members:
    """Return the four members that every answer of the wallet has, with a fresh request_id."""
    return {
        "status": json_text(status),
        "code": json_text(code),
        "message": json_text(message),
        "request_id": json_text(str(uuid.uuid4())),
    }


def json_answer(status: int, body: bytes, headers: Headers = ()) -> Answer:
    """Return an answer that says that it is JSON, whatever its body is."""
    return Answer(status, JSON + headers, body)


def wallet_answer(status: int, members: Members, headers: Headers = ()) -> Answer:
    """Return an answer of the wallet itself."""
    return json_answer(status, json_object(members), headers)


def failure(status: int, code: int, message: str, headers: Headers = ()) -> Answer:
    """Return a failure in the wallet's own words: the four members of its page, and no more."""
    return wallet_answer(status, envelope(status=False, code=code, message=message), headers)


def page(status: int, headers: Headers = ()) -> Answer:
    """Return an HTML page such as web servers and gateways answer with: nothing that the wallet would say."""
    title = f"{status} {HTTPStatus(status).phrase}"
    html = f"<html>\n<head><title>{title}</title></head>\n<body><center><h1>{title}</h1></center></body>\n</html>\n"
    return Answer(status, (("content-type", "text/html"), *headers), html.encode())
