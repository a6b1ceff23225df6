"""The wallet as an ASGI application (asgi.readthedocs.io, HTTP and WebSocket specification 2.x).

It reads a request, has `wallet.py` decide, and carries out the plan until it is done or the client has gone.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from bridge.sandbox.answers import Answer
from bridge.sandbox.checks import BODY_BYTES_MAX, Request
from bridge.sandbox.plans import Cut, Drip, Endless, Plan, Reply, Silence
from bridge.sandbox.wallet import Received, Wallet

# hypercorn's send comes back before the bytes are on their way, unless more than 32 KiB of a stream wait; then it
# waits until the socket has them. So much padding makes sure that the client gets a part of a body that is cut.
_CUT_PADDING = b" " * 40_960


@dataclass(frozen=True, slots=True)
class WalletApp:
    """The application of one connection."""

    wallet: Wallet
    on_received: Callable[[Received], None]
    """Called once a request, before its answer begins."""
    hang_up: Callable[[], None]
    """Ends the connection from our side once what is written has been sent, whatever is open on it."""

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one request. WebSocket, which hypercorn offers by itself, is left unanswered: hypercorn says 500."""
        if scope["type"] != "http":
            return
        request = await _read(scope, receive)
        if request is None:
            return
        received, plan = self.wallet.decide(request)
        self.on_received(received)
        await _while_client_is_there(self._carry_out(plan, send), receive)

    async def _carry_out(self, plan: Plan, send: ASGISendCallable) -> None:
        match plan:
            case Reply(answer, delay_s):
                await asyncio.sleep(delay_s)
                await _send_head(answer, len(answer.body), send)
                await _send_body(answer.body, send, is_last=True)
            case Drip(answer, interval_s):
                await _send_head(answer, len(answer.body), send)
                await _drip(answer.body, interval_s, send)
            case Endless(answer):
                await _send_head(answer, None, send)
                while True:
                    await _send_body(answer.body, send)
                    # To a stream that is gone a send returns at once: without this nobody else would get a turn.
                    await asyncio.sleep(0)
            case Cut(answer):
                await _send_head(answer, len(answer.body) + len(_CUT_PADDING), send)
                await _send_body(_CUT_PADDING, send)
                # A second time, because an event that was left set from before lets the first send through.
                await _send_body(answer.body[:-1], send)
                self.hang_up()
            case Silence():
                await asyncio.get_running_loop().create_future()


async def _read(scope: HTTPScope, receive: ASGIReceiveCallable) -> Request | None:
    """Return the whole request; None when the client went before it was complete.

    A body that is too long is read to its end all the same, and dropped: hypercorn cannot take in the rest of a body
    on a stream that has had its answer.
    """
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message["body"][: BODY_BYTES_MAX + 1 - len(body)]
        if not message["more_body"]:
            path = scope["raw_path"].decode("ascii")
            return Request(scope["http_version"], scope["method"], path, tuple(scope["headers"]), bytes(body))


async def _while_client_is_there(answering: Coroutine[Any, Any, None], receive: ASGIReceiveCallable) -> None:
    """Answer, and stop when the client resets the stream or the connection ends.

    Without this an answer that waits for time or for flow control would outlive its client.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(answering), group.create_task(_client_gone(receive))]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


async def _client_gone(receive: ASGIReceiveCallable) -> None:
    await receive()  # after a whole request there is only http.disconnect to come


async def _send_head(answer: Answer, content_length: int | None, send: ASGISendCallable) -> None:
    length = () if content_length is None else ((b"content-length", b"%d" % content_length),)
    await send({"type": "http.response.start", "status": answer.status, "headers": (*answer.headers, *length)})


async def _send_body(body: bytes, send: ASGISendCallable, *, is_last: bool = False) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": not is_last})


async def _drip(body: bytes, interval_s: float, send: ASGISendCallable) -> None:
    for position in range(len(body)):
        await _send_body(body[position : position + 1], send)
        await asyncio.sleep(interval_s)
    await _send_body(b"", send, is_last=True)
