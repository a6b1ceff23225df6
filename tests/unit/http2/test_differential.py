"""The same calls through our transport, httpx's stock one and pyqwest (Rust): a good server's answers are equal.

None of them shares code with another above the sockets but h2, which ours and the stock one use and pyqwest does not.
"""

import asyncio
import ssl
from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass
from typing import cast

import httpx
import pytest
from pyqwest import HTTPTransport, HTTPVersion
from pyqwest.httpx import AsyncPyqwestTransport

from bridge.http2.transport import Http2Transport
from bridge.sandbox.answers import JSON
from bridge.sandbox.behaviours import answer
from bridge.sandbox.connection import Headers
from bridge.sandbox.record import Request
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour, Stream
from tests.support.http2.calls import PATIENCE_S

CONCURRENCY, CALLS_EACH = 20, 10
STRIDE = 7
"""How far a caller's next case is from its last one: neighbours in the table are alike, and neighbours in time not."""
FRAME_BYTES_MAX = 16 * 1024  # RFC 9113, section 6.5.2
SIZES = (0, 1, FRAME_BYTES_MAX - 1, FRAME_BYTES_MAX, FRAME_BYTES_MAX + 1, 60 * 1024)
STATUSES = (200, 201, 202, 302, 400, 401, 404, 409, 422, 429, 500, 502, 503, 504, 599)
EVERY_BYTE = bytes(range(256))
UNICODE = "Zürich 東京 🎲".encode()
REQUEST_HEADERS = {"content-type": "application/json", "x-first": "1", "x-second": "a, b"}


NO_TRUST = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For all: the server has no TLS, and to read all authorities of the machine takes longer than a test."""


def _pyqwest() -> httpx.AsyncBaseTransport:
    transport = HTTPTransport(
        http_version=HTTPVersion.HTTP2,
        enable_gzip=False,
        enable_brotli=False,
        enable_zstd=False,
        follow_redirects=False,
        enable_otel=False,
    )
    return _ClosedPyqwest(transport)


class _ClosedPyqwest(AsyncPyqwestTransport):
    """The adapter, which leaves its transport open, as one that closes it."""

    def __init__(self, transport: HTTPTransport) -> None:
        super().__init__(transport)
        self._connections = transport

    async def aclose(self) -> None:
        await self._connections.aclose()


TRANSPORTS: dict[str, Callable[[], httpx.AsyncBaseTransport]] = {
    "ours": (lambda: Http2Transport(NO_TRUST, connect_timeout_s=PATIENCE_S)),
    "stock": (lambda: httpx.AsyncHTTPTransport(verify=NO_TRUST, http1=False, http2=True)),
    "pyqwest": _pyqwest,
}


@dataclass(frozen=True)
class Answered:
    """What a transport made of an answer. Header values in their order, by lower-case name."""

    status: int
    headers: dict[bytes, list[bytes]]
    body: bytes


@dataclass(frozen=True)
class Case:
    """What is sent, and what the server does with it."""

    behaviour: Behaviour
    request_body: bytes = b"{}"
    peers: tuple[str, ...] = ("stock", "pyqwest")
    """Whose answers are compared with ours."""


async def _echo(stream: Stream) -> None:
    await stream.respond(200, stream.request.body, JSON)


def _pieces(*pieces: bytes) -> Behaviour:
    async def behaviour(stream: Stream) -> None:
        stream.send_headers(200, JSON)
        for piece in pieces:
            await stream.send_data(piece)
        await stream.end()

    return behaviour


def _informed(*statuses: int) -> Behaviour:
    async def behaviour(stream: Stream) -> None:
        for status in statuses:
            stream.informational(status, (("link", "</style.css>; rel=preload"),))
        await _echo(stream)

    return behaviour


def _with_trailers(trailers: Headers, body: bytes) -> Behaviour:
    async def behaviour(stream: Stream) -> None:
        stream.send_headers(200, JSON)
        if body:
            await stream.send_data(body)
        stream.trailers(trailers)

    return behaviour


def _headers(*headers: tuple[str, str]) -> Case:
    return Case(answer(200, b"{}", headers))


CASES: dict[str, Case] = {
    **{f"body of {size}": Case(answer(200, b"x" * size)) for size in SIZES},
    **{
        f"body of {size}, with its length": Case(answer(200, b"x" * size, (*JSON, ("content-length", str(size)))))
        for size in SIZES
    },
    **{f"request of {size}": Case(_echo, b"y" * size) for size in SIZES},
    **{f"status {status}": Case(answer(status, b'{"status":false}')) for status in STATUSES},
    "status 204": Case(answer(204, headers=())),
    "every byte": Case(_echo, EVERY_BYTE),
    "unicode": Case(_echo, UNICODE),
    "one byte a frame": Case(_pieces(*(bytes([byte]) for byte in UNICODE))),
    "empty frames": Case(_pieces(b"", b"{", b"", b"}", b"")),
    "many headers": _headers(*((f"x-{number}", str(number) * 20) for number in range(100))),
    "a header many times": _headers(*(("x-many", str(number)) for number in range(20))),
    "no headers": _headers(),
    "empty header": _headers(("x-empty", "")),
    "long header": _headers(("x-long", "z" * 8000)),
    # For pyqwest a header is ASCII text: it makes an empty one of this.
    "unicode header": Case(answer(200, b"{}", (("x-city", UNICODE.decode()),)), peers=("stock",)),
    "encoded": _headers(*JSON, ("content-encoding", "gzip")),
    "cookies": _headers(("set-cookie", "a=1"), ("set-cookie", "b=2")),
    "103 before": Case(_informed(103)),
    "100 and two 103 before": Case(_informed(100, 103, 103)),
    "trailers": Case(_with_trailers((("x-trailer", "1"), ("x-second", "2")), b"{}")),
    "trailers without a body": Case(_with_trailers((("x-trailer", "1"),), b"")),
}


def _by_case(cases: dict[str, Case]) -> Behaviour:
    """Choose the behaviour by the case that the request names."""

    async def behaviour(stream: Stream) -> None:
        await cases[dict(stream.request.headers)["x-case"]].behaviour(stream)

    return behaviour


async def _call(transport: httpx.AsyncBaseTransport, url: str, name: str) -> Answered:
    request = httpx.Request(
        "POST",
        f"{url}/api/wallet/terminate?x=%20",
        headers=REQUEST_HEADERS | {"x-case": name},
        content=CASES[name].request_body,
    )
    response = await transport.handle_async_request(request)
    # Not `aread`, which would decode.
    body = b"".join([part async for part in cast("AsyncIterable[bytes]", response.stream)])
    await response.aclose()
    headers: dict[bytes, list[bytes]] = {}
    for header, value in response.headers.raw:
        headers.setdefault(header.lower(), []).append(value)
    return Answered(response.status_code, headers, body)


@pytest.mark.parametrize("name", CASES)
async def test_same_answer(name: str) -> None:
    """All transports send the same request and make the same of its answer."""
    which = ("ours", *CASES[name].peers)
    async with FaultServer(_by_case(CASES)) as server:
        answers = [await _alone(each, server.url, name) for each in which]
        requests = [_said(request) for request in server.requests]
    assert answers == answers[:1] * len(which)
    assert requests == requests[:1] * len(which)


async def _alone(which: str, url: str, name: str) -> Answered:
    async with TRANSPORTS[which]() as transport:
        return await _call(transport, url, name)


def _said(request: Request) -> tuple[list[tuple[str, str]], bytes]:
    """Return what a request says, without what each client adds about itself."""
    own = {"accept", "accept-encoding", "user-agent", "connection"}
    return sorted(header for header in request.headers if header[0] not in own), request.body


@pytest.mark.parametrize("peer", ["stock", "pyqwest"])
@pytest.mark.short("stock")
async def test_same_answers_at_once(peer: str) -> None:
    """Twenty callers at once, each with other cases than its neighbours, get the same answers from both transports."""
    names = [name for name, case in CASES.items() if peer in case.peers]
    async with FaultServer(_by_case(CASES)) as server:
        answers = [await _at_once(which, server.url, names) for which in ("ours", peer)]
    assert answers[0] == answers[1]


async def _at_once(which: str, url: str, names: list[str]) -> list[list[Answered]]:
    async with TRANSPORTS[which]() as transport:

        async def calls(caller: int) -> list[Answered]:
            turns = range(caller, caller + CALLS_EACH)
            return [await _call(transport, url, names[turn * STRIDE % len(names)]) for turn in turns]

        return await asyncio.gather(*map(calls, range(CONCURRENCY)))
