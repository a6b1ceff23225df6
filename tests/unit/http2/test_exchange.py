"""An exchange ends once, and its end is reported, also to who was cancelled in the very turn in which it came."""

import asyncio
from collections.abc import Callable

import httpx
import pytest

from bridge.http2.errors import AnswerTimeoutError, ConnectionLostError
from bridge.http2.exchange import Exchange
from bridge.http2.transport import exchange
from bridge.sandbox.behaviours import hang
from bridge.sandbox.server import FaultServer
from tests.support.http2.calls import PATIENCE_S, calls_to
from tests.support.http2_client import terminate_body

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
