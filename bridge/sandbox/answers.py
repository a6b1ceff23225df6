"""What the wallet answers, as values: the wallet's own JSON bodies, and the pages of those who stand before it.

JSON is put together from JSON texts, member by member, so that every number stands in a body exactly as its row in the
table wants it, and so that a body can be wrong on purpose.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

Headers = tuple[tuple[bytes, bytes], ...]

Members = Mapping[str, str]
"""JSON texts by name, in the order in which they are written: {"player_id": "1", "site_id": '"1"'}."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One complete HTTP answer."""

    status: int
    """The HTTP status, 200 to 599."""
    headers: Headers
    """Names in lower case, as HTTP/2 wants them (RFC 9113, section 8.2)."""
    body: bytes = field(repr=False)


def json_text(value: str | int | bool) -> str:  # noqa: FBT001 -- a JSON value, not a switch
    """Return the JSON text of a string, an exact integer or a boolean."""
    return json.dumps(value, ensure_ascii=False)


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
    return Answer(status, ((b"content-type", b"application/json"), *headers), body)


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
    return Answer(status, ((b"content-type", b"text/html"), *headers), html.encode())
