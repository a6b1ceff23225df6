"""An exchange ends once, and its end is reported, also to who was cancelled in the very turn in which it came.

A server that has begun to answer has begun to work: what it denies afterwards proves nothing, and is not retried.
"""

import asyncio
from collections.abc import Callable

import httpx
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, HeadersFrame

from bridge.http2.errors import AnswerTimeoutError, ConnectionLostError
from bridge.http2.exchange import Exchange
from bridge.http2.transport import exchange
from bridge.sandbox.behaviours import after, by_token, hang, in_turn
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Stream
from tests.support.http2.calls import LOST, NOT_PROCESSED, OK, PATIENCE_S, calls_to, terminate_body, wallet

pytest_plugins = ["tests.support.two_loops"]
pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]), pytest.mark.usefixtures("nothing_left")]

FAILURES: dict[str, tuple[Callable[[Exchange], None], type[Exception]]] = {
    "time over": (Exchange.expire, AnswerTimeoutError),
    "connection lost": (lambda sent: sent.fail("lost"), ConnectionLostError),
    "stream reset": (lambda sent: sent.reset(2), ConnectionLostError),
}


def sent_and_cancelled() -> Exchange:
    """Return an exchange whose request was written, and whose waiter was cancelled but has not run yet."""
    sent = Exchange((), b"", asyncio.get_running_loop().create_future())
    sent.written()
    sent.answer.cancel()
    return sent


@pytest.mark.parametrize(("end", "error"), FAILURES.values(), ids=FAILURES)
async def test_failure_between_cancel_and_resume(end: Callable[[Exchange], None], error: type[Exception]) -> None:
    """Who goes on learns that it has failed meanwhile."""
    sent = sent_and_cancelled()
    end(sent)
    sent.resume(asyncio.get_running_loop().create_future())
    assert isinstance(sent.answer.exception(), error)


async def test_answer_between_cancel_and_resume() -> None:
    """Who goes on gets the answer that has come meanwhile; what comes later changes nothing."""
    sent = sent_and_cancelled()
    sent.status = 200
    sent.complete()
    sent.expire()
    sent.resume(asyncio.get_running_loop().create_future())
    assert sent.answer.result().status == 200


async def test_time_over_in_the_turn_of_the_cancel() -> None:
    """A client cancels, and its call's time is over before the call has noticed: it ends, and not never."""
    async with FaultServer(hang) as server, calls_to(server) as calls:
        headers = ((b":method", b"POST"), (b":scheme", b"http"), (b":authority", b"a"), (b":path", b"/"))
        pool = calls.transport.pool(httpx.URL(server.url))
        call = asyncio.create_task(exchange(pool, headers, terminate_body("t"), 2 * PATIENCE_S, lambda: True))
        await server.until(lambda: len(server.requests) == 1)
        call.cancel()
        calls.expire()  # in one turn with it, as when a busy loop finds both
        with pytest.raises(AnswerTimeoutError):
            await asyncio.wait_for(call, PATIENCE_S)


def informational(*statuses: int) -> Callable[[Stream], None]:
    """Send these informational answers."""

    def sign(stream: Stream) -> None:
        for status in statuses:
            stream.informational(status, (("link", "</style.css>; rel=preload"),))

    return sign


def no_status(stream: Stream) -> None:
    """Send the headers of an answer without a status."""
    block = stream.connection.encode([("content-type", "text/plain")])
    stream.connection.frame(HeadersFrame(stream.id, data=block, flags=["END_HEADERS"]))


SIGNS: dict[str, Callable[[Stream], None]] = {
    "100": informational(100),
    "102": informational(102),
    "103": informational(103),
    "several": informational(100, 102, 103),
    "headers without a status": no_status,
    "body without headers": lambda stream: stream.connection.frame(DataFrame(stream.id, b"x")),
}
DENIALS: dict[str, Callable[[Stream], None]] = {
    "REFUSED_STREAM": lambda stream: stream.reset(ErrorCodes.REFUSED_STREAM),
    "GOAWAY below": lambda stream: stream.connection.goaway(0),
}


@pytest.mark.parametrize("deny", DENIALS.values(), ids=DENIALS)
@pytest.mark.parametrize("sign", SIGNS.values(), ids=SIGNS)
async def test_begun_is_unknown(sign: Callable[[Stream], None], deny: Callable[[Stream], None]) -> None:
    """After a header or a piece of an answer, also an informational one, no denial makes a call NOT_PROCESSED."""
    begins_and_denies = in_turn(sign, lambda stream: stream.connection.ping(), deny)  # the client has seen the sign
    async with wallet(begins_and_denies, checked=False) as (server, calls):
        assert await calls.end() == LOST
        assert len(server.requests) == 1


@pytest.mark.parametrize("deny", DENIALS.values(), ids=DENIALS)
async def test_not_begun_is_not_processed(deny: Callable[[Stream], None]) -> None:
    """Without such a sign a denial is believed, also where a neighbour's answer has begun."""
    gate = asyncio.Event()
    neighbour = in_turn(lambda stream: stream.informational(103), after(gate))
    async with wallet(by_token({"neighbour": neighbour, "denied": in_turn(deny)})) as (server, calls):
        first = calls.start("neighbour")
        await server.until(lambda: len(server.requests) == 1)
        assert await calls.end("denied") == NOT_PROCESSED
        gate.set()
        assert await first in {OK, LOST}  # GOAWAY denies both
