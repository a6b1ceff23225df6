"""Recipes for the answers of the test tokens, made from the success that the call would have had."""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bridge.sandbox.answers import (
    Answer,
    Headers,
    Members,
    Plan,
    Reply,
    envelope,
    failure,
    json_answer,
    json_object,
    json_text,
    page,
    wallet_answer,
)


@dataclass(frozen=True, slots=True)
class Call:
    """A request that passed every check."""

    token: str
    """The session token; "" for an operation that has none."""
    members: Members
    """The success of this call: the four members of every answer, then the operation's own, echoes included."""

    @property
    def success(self) -> Answer:
        """The answer of the wallet's page."""
        return wallet_answer(200, self.members)


Recipe = Callable[[Call], Plan]


def succeed(call: Call) -> Plan:
    """Answer as the wallet's page does."""
    return Reply(call.success)


def refuse(status: int, code: int, message: str, headers: Headers = ()) -> Recipe:
    """Answer with a failure of the wallet; every call has a request_id of its own."""
    return lambda _call: Reply(failure(status, code, message, headers))


def show_page(status: int, headers: Headers = ()) -> Recipe:
    """Answer with an HTML page."""
    return lambda _call: Reply(page(status, headers))


def say(body: bytes, status: int = 200) -> Recipe:
    """Answer with this body as application/json."""
    return lambda _call: Reply(json_answer(status, body))


def with_members(changes: Members, status: int = 200) -> Recipe:
    """Answer with the success, some members replaced or added: JSON texts by name."""
    return lambda call: Reply(wallet_answer(status, {**call.members, **changes}))


def without(*names: str) -> Recipe:
    """Answer with the success that lacks these members."""
    return lambda call: Reply(
        wallet_answer(200, {name: text for name, text in call.members.items() if name not in names})
    )


def with_another(name: str) -> Recipe:
    """Answer with another player's success: another value in this one member."""

    def plan(call: Call) -> Plan:
        return Reply(wallet_answer(200, {**call.members, name: _another(call.members.get(name, "0"))}))

    return plan


def with_ids_as_text(call: Call) -> Plan:
    """Answer with the success, every id a decimal string."""
    ids = {name: text for name, text in call.members.items() if name.endswith("_id") and text.isdecimal()}
    return Reply(wallet_answer(200, {**call.members, **{name: json_text(text) for name, text in ids.items()}}))


def with_body(change: Callable[[bytes], bytes], headers: Headers = ()) -> Recipe:
    """Answer with the success, its bytes changed."""
    return lambda call: Reply(json_answer(200, change(json_object(call.members)), headers))


def with_a_second(name: str) -> Recipe:
    """Answer with the success that has one member twice: first another's value, then the right one."""

    def plan(call: Call) -> Plan:
        second = json_text(name) + ":" + _another(call.members.get(name, "0"))
        return Reply(json_answer(200, b"{" + second.encode() + b"," + json_object(call.members)[1:]))

    return plan


def contradict(status: int, *, is_success: bool, code: int) -> Recipe:
    """Answer with the whole success, but with an HTTP status, a status and a code that do not belong together."""

    def plan(call: Call) -> Plan:
        return Reply(wallet_answer(status, {**call.members, **_verdict(is_success, code)}))

    return plan


def gzipped(padding_bytes: int = 0) -> Recipe:
    """Answer with the success as gzip, blown up by `padding_bytes` of blanks that take no room."""
    return with_body(lambda body: gzip.compress(body + b" " * padding_bytes), (("content-encoding", "gzip"),))


def _verdict(is_success: bool, code: int) -> Mapping[str, str]:  # noqa: FBT001 -- a JSON value, not a switch
    reported = envelope(status=is_success, code=code, message="")
    return {name: reported[name] for name in ("status", "code")}


def _another(text: str) -> str:
    """Return the JSON text of another value of the same type."""
    value = json.loads(text)
    if isinstance(value, int):
        return json_text(value ^ 1)
    return json_text(str(int(value) ^ 1) if value.isdecimal() else f"{value}-of-another-session")
