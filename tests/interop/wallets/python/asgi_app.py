"""The wallet as an ASGI application: for hypercorn and granian, and on granian behind every proxy."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import terminate_wallet as wallet

Message = MutableMapping[str, Any]


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answer a request."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    status, content, is_slow = 404, b"", False
    if scope["path"] == wallet.PATH and scope["method"] == "POST":
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        status, content, is_slow = wallet.answer(headers, body)
    if is_slow:
        await asyncio.sleep(wallet.SLOW_S)
    fields = [(b"content-type", wallet.JSON.encode()), (b"content-length", b"%d" % len(content))]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": content})
