"""Content-Length of an answer: what is a length, and that one that is none costs its own call only, at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.http2.content_length import content_length
from bridge.sandbox.behaviours import by_token, hang, in_turn
from bridge.sandbox.stream import Behaviour
from tests.support.http2.calls import TIMEOUT, alone_fails, wallet

pytest_plugins = ["tests.support.two_loops"]
both_loops = pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"])

LENGTHS: dict[str, tuple[list[bytes], int | None]] = {
    "none": ([], None),
    "zero": ([b"0"], 0),
    "leading zeros": ([b"0042"], 42),
    "thousands of leading zeros": ([b"0" * 5000 + b"7"], 7),
    "equal fields": ([b"42", b"42"], 42),
    "equal in a list": ([b"42, 42"], 42),
    "equal numbers, written differently": ([b"42", b"042"], 42),
    "the longest": ([b"9" * 19], 10**19 - 1),
}
NO_LENGTHS: dict[str, list[bytes]] = {
    "5000 digits": [b"9" * 5000],
    "20 digits": [b"1" + b"0" * 19],
    "different fields": [b"42", b"43"],
    "different in a list": [b"42, 43"],
    "a list with a gap": [b"42,,42"],
    "empty": [b""],
    "empty beside a number": [b"42", b""],
    "sign": [b"+42"],
    "negative": [b"-1"],
    "fraction": [b"4.2"],
    "hexadecimal": [b"0x2a"],
    "underscore": [b"4_2"],
    "inner space": [b"4 2"],
    "Arabic-Indic digits": ["٤٢".encode()],
    "superscript in latin-1": [b"\xb2"],
}


@pytest.mark.parametrize(("values", "length"), LENGTHS.values(), ids=LENGTHS)
def test_length(values: list[bytes], length: int | None) -> None:
    """RFC 9110, section 8.6: decimal digits; equal values count as one."""
    fields = [(b"content-type", b"text/plain"), *((b"content-length", value) for value in values)]
    assert content_length(tuple(fields)) == length


@pytest.mark.parametrize("values", NO_LENGTHS.values(), ids=NO_LENGTHS)
def test_no_length(values: list[bytes]) -> None:
    """Anything else is a ValueError, whose text holds nothing of the value."""
    with pytest.raises(ValueError, match=r"content-length: (not a length|several that differ)"):
        content_length(tuple((b"content-length", value) for value in values))


@given(st.lists(st.binary(max_size=12) | st.text("0123456789, +-_²٤", max_size=12).map(str.encode), max_size=3))
def test_any_value(values: list[bytes]) -> None:
    """Any bytes give a length or a ValueError, never another exception."""
    try:
        length = content_length(tuple((b"content-length", value) for value in values))
    except ValueError:
        return
    assert (length is None) == (not values)


def begins(*lengths: str, body: bytes = b"") -> Behaviour:
    """Begin an answer with these content-lengths and this body, and leave it unfinished."""
    fields = [("content-length", length) for length in lengths]
    return in_turn(lambda stream: stream.respond(200, body, fields, end=False), hang)


BAD: dict[str, Behaviour] = {
    "5000 digits": begins("9" * 5000),
    "sign": begins("+2"),
    "two": begins("2", "3"),
    "empty": begins(""),
    "other digits": begins("²"),
    # It exceeds what was declared: malformed before its end (RFC 9113, section 8.1.1).
    "more than declared": begins("2", body=b"{}}"),
}


@both_loops
@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("behaviour", BAD.values(), ids=BAD)
async def test_only_that_call_fails_at_once(behaviour: Behaviour) -> None:
    """The answer is malformed: UNKNOWN when that is known, not at its deadline; neighbours and connection go on."""
    await alone_fails(behaviour, checked=False)


@both_loops
@pytest.mark.usefixtures("nothing_left")
async def test_less_than_declared_waits_for_the_rest() -> None:
    """A body that is still shorter than declared is not malformed: the call ends at its deadline."""
    async with wallet(by_token({"bad": begins("3", body=b"{}")})) as (server, calls):
        bad = calls.start("bad")
        await server.until(lambda: len(server.requests) == 1)
        await server.open_connections[0].ping()  # the client has read what came of the body, too
        assert not bad.done()
        calls.expire("bad")
        assert await bad == TIMEOUT


@both_loops
@pytest.mark.usefixtures("nothing_left")
async def test_304_declares_the_length_of_another_answer() -> None:
    """RFC 9110, section 15.4.5: a 304 has no content, whatever its content-length."""
    not_modified = in_turn(lambda stream: stream.send_headers(304, [("content-length", "9")], end=True))
    async with wallet(not_modified, checked=False) as (_, calls):
        assert (await calls.post()).status_code == 304
