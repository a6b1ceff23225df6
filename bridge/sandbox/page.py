"""Page of the sandbox for a browser: the last requests, each check step by step, the answers, the test tokens. Live.

HTTP/1.1 (RFC 9112) on a loopback address, one request a connection; what happens comes as server-sent events (HTML
standard, section 9.2). The page shows tokens and signatures, and of keys only the published samples.
"""

import asyncio
import contextlib
import ipaddress
import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from importlib import resources
from typing import Any

from bridge.sandbox.explain import explain
from bridge.sandbox.providers import SAMPLE_PROVIDERS
from bridge.sandbox.rows import ROWS
from bridge.sandbox.service import Sandbox
from bridge.sandbox.tokens import HEADINGS, cells
from bridge.sandbox.wallet import Received, Wallet

SHOWN_MAX = 100
"""Requests that a page shows; a page that is slow to read may miss older ones."""

_HEAD_BYTES_MAX = 16_384
_HEAD_TIMEOUT_S = 10.0
_BODY_CHARACTERS_MAX = 4_000
# Between two looks for news: a busy sandbox is not slowed down by a page that is open.
_PAUSE_S = 0.1

_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_ALWAYS = (
    "connection: close\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n"
    "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; frame-ancestors 'none'\r\n"
)
_OWN_NAMES = {"localhost", "127.0.0.1", "[::1]"}


def is_loopback(host: str) -> bool:
    """Say whether an address can be reached from this machine alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.asynccontextmanager
async def serve_page(sandbox: Sandbox, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Show a sandbox's page in the running loop, and yield its URL. OSError if it cannot listen.

    Port 0 takes a free one. ValueError for a host that is not a loopback address.
    """
    if not is_loopback(host):
        raise ValueError(f"{host} is not a loopback address: the page shows tokens and signatures")
    visits: set[asyncio.Task[None]] = set()

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 -- a coroutine that runs has one
        visits.add(task)
        task.add_done_callback(visits.discard)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await _Visit(sandbox, reader, writer).serve()
        writer.close()

    try:
        server = await asyncio.start_server(visit, host, port, limit=_HEAD_BYTES_MAX)
    except (OSError, OverflowError) as error:  # OverflowError: a port above 65535
        raise OSError(f"the page of the sandbox cannot listen on {host}:{port}: {_reason(error)}") from error
    try:
        bound = server.sockets[0].getsockname()
        yield f"http://{f'[{bound[0]}]' if ':' in bound[0] else bound[0]}:{bound[1]}"
    finally:
        server.close()
        for task in visits:
            task.cancel()
        await asyncio.gather(*visits, return_exceptions=True)


def _reason(error: Exception) -> str:
    """Return what the kernel says: asyncio puts a sentence of its own into the error's text."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error)


class _Visit:
    def __init__(self, sandbox: Sandbox, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sandbox = sandbox
        self._reader = reader
        self._writer = writer

    async def serve(self) -> None:
        try:
            async with asyncio.timeout(_HEAD_TIMEOUT_S):
                head = await self._reader.readuntil(b"\r\n\r\n")
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return
        method, path, headers = _parse(head)
        if _name(headers.get("host", "")) not in _OWN_NAMES:
            # Another site's script, whose name was made to lead here (DNS rebinding), must not read the page.
            await self._say("403 Forbidden", "text/plain", b"This page is for this machine alone.\n")
        elif method != "GET":
            await self._say("405 Method Not Allowed", "text/plain", b"GET only.\n")
        elif path == "/events":
            await self._report()
        elif path in _FILES:
            name, kind = _FILES[path]
            body = resources.files("bridge.sandbox").joinpath("web", name).read_bytes()
            await self._say("200 OK", f"{kind}; charset=utf-8", body)
        else:
            await self._say("404 Not Found", "text/plain", b"There is nothing here; the page is at /.\n")

    async def _say(self, status: str, kind: str, body: bytes) -> None:
        head = f"HTTP/1.1 {status}\r\n{_ALWAYS}content-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        await self._writer.drain()

    async def _report(self) -> None:
        """Send events until the browser goes."""
        self._writer.write(f"HTTP/1.1 200 OK\r\n{_ALWAYS}content-type: text/event-stream\r\n\r\n".encode())
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._send_events()), group.create_task(self._reader.read())]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()

    async def _send_events(self) -> None:
        self._event("sandbox", _about(self._sandbox))
        sent = 0
        while True:
            count = self._sandbox.count
            calls = self._sandbox.received[-min(count - sent, SHOWN_MAX) :] if count > sent else ()
            for number, received in enumerate(calls, count - len(calls) + 1):
                self._event("call", {"number": number, **describe(received, self._sandbox.wallet)})
            sent = count
            await self._writer.drain()
            await asyncio.sleep(_PAUSE_S)
            await self._sandbox.changed.until(lambda: self._sandbox.count > sent)  # noqa: B023 -- called here only

    def _event(self, name: str, value: Mapping[str, Any]) -> None:
        self._writer.write(f"event: {name}\ndata: {json.dumps(value)}\n\n".encode())


def describe(received: Received, wallet: Wallet) -> dict[str, Any]:
    """Return what the page shows of a request, as JSON's types; of its credentials no more than the user."""
    request = received.request
    return {
        "method": request.method,
        "path": request.path,
        "headers": [[name, _shown(name, value)] for name, value in request.headers if not name.startswith(":")],
        "body": request.body.decode(errors="backslashreplace")[:_BODY_CHARACTERS_MAX],
        "body_bytes": len(request.body),
        "steps": [asdict(step) for step in explain(request, wallet)],
        "refusal": received.refusal,
        "test_token": received.test_token,
        "status": received.status,
        "answer": received.answer.decode(errors="backslashreplace"),
    }


def _about(sandbox: Sandbox) -> dict[str, Any]:
    providers = sandbox.wallet.providers.values()
    return {
        "url": sandbox.url,
        "operations": sorted(sandbox.wallet.operations),
        "samples": [
            {"provider_id": str(each.provider_id), "access_key": each.access_key, "private_key": each.private_key}
            for each in SAMPLE_PROVIDERS
            if each in providers
        ],
        "providers": [str(provider.provider_id) for provider in providers],
        "headings": HEADINGS,
        "tokens": [cells(row) for row in ROWS],
    }


def _shown(name: str, value: str) -> str:
    if name != "authorization":
        return value
    scheme, _, credentials = value.partition(" ")
    return f"{scheme} ... ({len(credentials)} characters)"


def _parse(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Return method, path and headers of a request; empty texts for what is not there."""
    first, *lines = head.decode("latin-1").split("\r\n")
    method, _, rest = first.partition(" ")
    pairs = (line.partition(":") for line in lines if line)
    return method, rest.partition(" ")[0], {name.strip().lower(): value.strip() for name, _, value in pairs}


def _name(host: str) -> str:
    """Return the name of a Host header, without the port."""
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
