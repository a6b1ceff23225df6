"""A call on the native front that is answered by a stream of messages, such as a health watch."""

import asyncio
from contextlib import aclosing
from typing import Any, Protocol

from pygrpc_native import STREAM_FULL, STREAM_SENT

FULL_S = (0.001, 0.1)
"""First and longest delay before a look whether a stream's caller takes the next message: there is no event for it."""


class Streamed(Protocol):
    """What takes the messages: a NativeCall."""

    def try_send(self, message: bytes) -> int:
        """Send a message if it can be sent now; return STREAM_SENT, STREAM_FULL, or what says that the call is over."""

    def end_stream(self) -> None:
        """End it with OK."""


async def stream(call: Streamed, handler: Any, request: Any) -> None:
    """Send what a handler answers, message by message, until it or the call ends."""
    serialize = handler.response_serializer
    async with aclosing(handler.unary_stream(request, call)) as responses:
        async for response in responses:
            if not await _sent(call, response if serialize is None else serialize(response)):
                return
    call.end_stream()


async def _sent(call: Streamed, message: bytes) -> bool:
    pause_s, longest_s = FULL_S
    while (sent := call.try_send(message)) == STREAM_FULL:
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, longest_s)
    return sent == STREAM_SENT
