"""Calls through `Http2Transport` for tests: how each ended, in one word."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from h2.settings import SettingCodes

from bridge.headers import Headers
from bridge.http2.exchange import Exchange
from bridge.http2.pool import Pool
from bridge.http2.reset_budget import ResetBudget
from bridge.http2.transport import Http2Transport
from bridge.sandbox.behaviours import after, by_token
from bridge.sandbox.operations import TERMINATE_REQUEST
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour

# Long enough for a busy machine, short enough to end a test that hangs; no test waits for it to pass.
PATIENCE_S = 60.0

OK = "OK"
UNREACHABLE = "UnreachableError"
NOT_PROCESSED = "NotProcessedError"
LOST = "ConnectionLostError"
TIMEOUT = "AnswerTimeoutError"


def terminate_body(token: str = "t", **changes: object) -> bytes:
    """Build the wallet page's Terminate request with this token; `changes` replace or add fields."""
    return json.dumps(TERMINATE_REQUEST | {"token": token} | changes).encode()


@dataclass(frozen=True)
class Calls:
    """Sends Terminate requests to one wallet."""

    transport: Http2Transport
    url: str
    _begun: list[tuple[str, Exchange]] = field(default_factory=list)
    """Every request to `url` that has begun or waits, with its token."""

    async def post(self, token: str = "t", *, timeout_s: float = PATIENCE_S, **fields: object) -> httpx.Response:
        """Send one as bridge.wallet does; return the answer."""
        request = httpx.Request(
            "POST",
            f"{self.url}/api/wallet/terminate",
            headers=[("x-request-signature", "s")],
            stream=httpx.ByteStream(terminate_body(token, **fields)),
            extensions={"timeout": {"read": timeout_s}},
        )
        return await self.transport.handle_async_request(request)

    async def end(self, token: str = "t", *, timeout_s: float = PATIENCE_S, **fields: object) -> str:
        """Send one; return OK for its own success answer, else the name of the error's class, `cause` behind it."""
        try:
            response = await self.post(token, timeout_s=timeout_s, **fields)
        except httpx.TransportError as error:
            cause = getattr(error, "cause", None)
            return type(error).__name__ + (f" {cause}" if cause else "")
        assert response.status_code == 200
        assert json.loads(await response.aread())["token"] == token
        return OK

    def expire(self, token: str = "t") -> None:
        """End the time of all calls with this token, now.

        For a call that must expire at a certain point, such as after its request was sent: a short time of its own
        is over before that where the machine is busy.
        """
        pool = self.transport.pool(httpx.URL(self.url))
        for exchange in self.under_way(token):
            pool.expire(exchange)

    def under_way(self, token: str = "t") -> list[Exchange]:
        """Return the requests with this token that have not ended; one that was cancelled in this turn has not."""
        begun = (exchange for each, exchange in self._begun if each == token)
        return [each for each in begun if not each.answer.done() or each.answer.cancelled()]

    def watch(self, pool: Pool) -> None:
        """Note the requests of a pool, so that `expire` finds them."""
        submit = pool.submit

        def noting(headers: Headers, body: bytes) -> Exchange:
            exchange = submit(headers, body)
            self._begun.append((json.loads(body).get("token", ""), exchange))
            return exchange

        pool.submit = noting  # type: ignore[method-assign] # the transport makes its pools by itself

    def start(self, token: str = "t", *, timeout_s: float = PATIENCE_S, **fields: object) -> asyncio.Task[str]:
        """Send one on a task of its own."""
        return asyncio.create_task(self.end(token, timeout_s=timeout_s, **fields))


@asynccontextmanager
async def calls_to(server: FaultServer, *, tls: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[Calls]:
    """Open a transport with these options for calls to a server; at the end, no stream of theirs may be open there.

    It has PATIENCE_S to connect: on a busy machine a connection to the same process can take longer than the default.
    """
    context = tls or ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    transport = Http2Transport(context, **{"connect_timeout_s": PATIENCE_S, **options})
    calls = Calls(transport, f"{'https' if server.tls else 'http'}://127.0.0.1:{server.port}")
    calls.watch(transport.pool(httpx.URL(calls.url)))
    try:
        yield calls
        async with asyncio.timeout(PATIENCE_S):
            await server.until(lambda: server.open_streams == 0)
    finally:
        await transport.aclose()


@asynccontextmanager
async def wallet(behaviour: Behaviour, **options: Any) -> AsyncIterator[tuple[FaultServer, Calls]]:
    """Start a server with this behaviour and open calls to it, with the options of FaultServer and of `calls_to`."""
    names = ("settings", "early", "checked", "opening", "resets_max")
    of_server = {name: options.pop(name) for name in names if name in options}
    async with FaultServer(behaviour, **of_server) as server, calls_to(server, **options) as calls:
        yield server, calls


async def alone_fails(bad: Behaviour, end: str = LOST, *, checked: bool = True) -> FaultServer:
    """See that a call at which the server does so ends so, and its neighbour and connection do not notice.

    Returns the server, for what else it saw. `checked`: whether the server itself must keep to HTTP/2.
    """
    gate = asyncio.Event()
    table: dict[str, Behaviour] = {"bad": bad, "neighbour": after(gate)}
    async with FaultServer(by_token(table), checked=checked) as server, calls_to(server) as calls:
        neighbour = calls.start("neighbour")
        await server.until(lambda: len(server.requests) == 1)
        assert await calls.end("bad") == end
        gate.set()
        assert [await neighbour, await calls.end("next")] == [OK, OK]
        assert (server.connections, server.goaways, server.client_errors) == (1, [], [])
        return server


def streams_max(number: int) -> dict[int, int]:
    """Return the SETTINGS of a server that allows so many streams at once."""
    return {SettingCodes.MAX_CONCURRENT_STREAMS: number}


async def cancelled(*tasks: asyncio.Task[str]) -> None:
    """Cancel these and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def freeze_reset_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the budget of resets of every further connection be spent and never refilled, however long a test takes."""
    monkeypatch.setattr("bridge.http2.connection.ResetBudget", lambda _clock: ResetBudget(lambda: 0.0))
