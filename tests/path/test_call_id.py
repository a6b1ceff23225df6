"""A call's id: whose it is, and every place where caller and operator read it."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.call_id import call_id_of, is_caller_id, new_call_id
from bridge.events import CallEnded, Event
from bridge.sandbox import serve
from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from tests.support.engines import on_both_engines
from tests.support.whole_path import Caller, End, bridge_to, end_of

UUID_4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


TAKEN = {
    "a UUID": "f8f3c5b4-98b4-4272-9a2e-94c6cd41c350",
    "one character": "0",
    "64 characters": "x" * 64,
    "every kind": "aZ09._-",
    "dots alone": "..",
}


@pytest.mark.parametrize("text", TAKEN.values(), ids=TAKEN)
def test_a_callers_id_is_taken(text: str) -> None:
    """1 to 64 characters of A-Za-z0-9._- are the call's id as they are, whatever other metadata stands around them."""
    assert call_id_of([("x-request-id-2", "a"), ("x-request-id", text), ("traceparent", "b")]) == text


NOT_TAKEN: dict[str, list[tuple[str, str | bytes]]] = {
    "none": [],
    "empty": [("x-request-id", "")],
    "65 characters": [("x-request-id", "x" * 65)],
    "two": [("x-request-id", "a"), ("x-request-id", "b")],
    "two alike": [("x-request-id", "a"), ("x-request-id", "a")],
    "two joined by a proxy": [("x-request-id", "a,b")],
    "a good one and a bad one": [("x-request-id", "a"), ("x-request-id", "")],
    "bytes": [("x-request-id", b"a")],
    "the binary name": [("x-request-id-bin", b"a")],
    "a space around it": [("x-request-id", " a")],
    "a line break at the end": [("x-request-id", "a\n")],
    "a letter beyond ASCII": [("x-request-id", "ä")],
    "a digit beyond ASCII": [("x-request-id", "\u0663")],
    "a quote": [("x-request-id", 'a"')],
    "a slash": [("x-request-id", "a/b")],
}


@pytest.mark.parametrize("metadata", NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_anything_else_gets_a_new_id(metadata: list[tuple[str, str | bytes]]) -> None:
    """Where a caller sent no id, several, or one of another form, the bridge makes its own; the call goes on."""
    assert UUID_4.fullmatch(call_id_of(metadata))


@given(st.text(max_size=80))
def test_no_text_swells_or_forges_a_line(text: str) -> None:
    """Whatever is sent, the id has 1 to 64 characters, and none that JSON, a header or a terminal reads otherwise."""
    call_id = call_id_of([("x-request-id", text)])
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", call_id, re.ASCII)
    assert is_caller_id(call_id)


def test_new_ids_differ() -> None:
    """Ids of the bridge's own are random UUIDs, with each of the four variants that version 4 has."""
    made = {new_call_id() for _ in range(2000)}
    assert len(made) == 2000
    assert all(map(UUID_4.fullmatch, made))
    assert {call_id[19] for call_id in made} == set("89ab")


ENDS = {
    "OK": "any",
    "REJECTED": "test-rejected",
    "UNKNOWN without a word of the wallet's": "test-connection-lost",
    "NOT_SENT, the token being unset": "",
}


@on_both_engines
@pytest.mark.parametrize("token", ENDS.values(), ids=ENDS)
@pytest.mark.parametrize("sent", ["round-7.spin_3", None], ids=["the caller's", "the bridge's"])
async def test_the_trailer_and_the_report_agree(token: str, sent: str | None) -> None:
    """However a call ends, trailer and report, and so the log line, have one id: the caller's if it sent one."""
    events: list[Event] = []
    async with serve() as sandbox, bridge_to(sandbox.url, emit=events.append) as caller:
        end = await caller.terminate(token, metadata=() if sent is None else (("x-request-id", sent),))
    (ended,) = (event for event in events if isinstance(event, CallEnded))
    assert end.call_id == ended.call_id
    assert UUID_4.fullmatch(end.call_id) if sent is None else end.call_id == sent


@on_both_engines
async def test_request_info_is_the_wallets_where_it_gave_one() -> None:
    """RequestInfo has the wallet's id if there is one, and the call's id otherwise."""
    async with serve() as sandbox, bridge_to(sandbox.url) as caller:
        given = await with_id(caller, "test-rejected")
        lost = await with_id(caller, "test-connection-lost")
    assert given.details["RequestInfo"].request_id == given.wallet_error.request_id != given.call_id
    assert lost.details["RequestInfo"].request_id == lost.call_id == "call-7"


@on_both_engines
async def test_it_never_goes_to_the_wallet() -> None:
    """No header and no byte of the body holds the id, the caller's or the bridge's."""
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url) as caller:
        ends = [await with_id(caller, "any"), await caller.terminate()]
    sent = repr([(request.headers, request.body) for request in wallet.requests])
    assert [end.code for end in ends] == ["OK", "OK"]
    assert not [end.call_id for end in ends if end.call_id in sent]


@on_both_engines
async def test_a_request_that_cannot_be_read_has_one() -> None:
    """A failure before anything is known of the call but its metadata carries the id too."""
    async with bridge_to("http://127.0.0.1:1") as caller:
        method: Any = caller.channel.unary_unary("/wallet.v1.WalletService/Terminate")
        end = await end_of(method(b"\xff", metadata=(("x-request-id", "call-7"),)))
    assert (end.wallet_error.reason, end.wallet_error.call_id, end.call_id) == ("INVALID_REQUEST", "call-7", "call-7")


@on_both_engines
async def test_what_gets_no_handler_has_none() -> None:
    """What the gRPC library refuses by itself carries no id of ours: an unknown method, a message over the limit."""
    async with bridge_to("http://127.0.0.1:1") as caller:
        method: Any = caller.channel.unary_unary("/wallet.v1.WalletService/Nothing")
        ends = [await end_of(method(b"", metadata=(("x-request-id", "call-7"),))), await with_id(caller, "x" * 70_000)]
    assert [(end.code, end.call_id) for end in ends] == [("UNIMPLEMENTED", ""), ("RESOURCE_EXHAUSTED", "")]


async def with_id(caller: Caller, token: str) -> End:
    """Call Terminate with an id of the caller's."""
    return await caller.terminate(token, metadata=(("x-request-id", "call-7"),))
