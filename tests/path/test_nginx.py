"""Debian's nginx as the wallet's front: it recycles connections and reloads under load, and no caller notices."""

import asyncio
import contextlib
import signal
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bridge.sandbox.behaviours import success_body
from bridge.sandbox.record import Pulse, Request
from tests.support.certificates import Certificates, Identity
from tests.support.nginx import MISSING, NGINX, Front, running_nginx
from tests.support.processes import Command
from tests.support.whole_path import Caller, bridge_to

pytestmark = pytest.mark.skipif(NGINX is None, reason=MISSING)

CALLERS = 40
CALLS_EACH = 12
RECYCLE_REQUESTS = 20
RELOADS = 3
WORKERS = 2
PROXY = "proxy_set_header x-front-connection $connection; proxy_pass http://127.0.0.1:{port};"
TOKENS = [f"{caller}-{call}" for caller in range(CALLERS) for call in range(CALLS_EACH)]


@dataclass(frozen=True)
class Upstream:
    """A wallet behind nginx, over HTTP/1.1, one request a connection."""

    server: asyncio.Server
    log: list[str] = field(default_factory=list)
    """The token of every POST that came."""
    front_connections: set[str] = field(default_factory=set)
    """nginx's numbers of the bridge's connections on which they had come."""
    changed: Pulse = field(default_factory=Pulse)

    @property
    def port(self) -> int:
        """The TCP port on 127.0.0.1."""
        return int(self.server.sockets[0].getsockname()[1])


@asynccontextmanager
async def wallet() -> AsyncIterator[Upstream]:
    """Run an upstream that answers every Terminate with success."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        request = Request(0, 0, [], await reader.readexactly(int(headers["content-length"])))
        upstream.log.append(request.token)
        upstream.front_connections.add(headers["x-front-connection"])
        upstream.changed.beat()
        body = success_body(request)
        writer.write(b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n")
        writer.write(b"content-length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    upstream = Upstream(await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024))
    async with upstream.server:
        yield upstream


@pytest.fixture(params=[None, "server"], ids=["plaintext", "tls"])
def identity(request: pytest.FixtureRequest, certificates: Certificates) -> Identity | None:
    """Give nginx a certificate, or none."""
    return certificates.server if request.param else None


async def load(caller: Caller) -> Counter[str]:
    """Make every call of a steady load, each caller one after the other; count how they end: OK or the message."""

    async def calls_of(number: int) -> list[str]:
        ends = [await caller.terminate(f"{number}-{call}") for call in range(CALLS_EACH)]
        return ["OK" if end.code == "OK" else end.message for end in ends]

    said = await asyncio.gather(*map(calls_of, range(CALLERS)))
    return Counter(one for each in said for one in each)


async def reload_under_load(nginx: Command, upstream: Upstream) -> None:
    """Reload, as `nginx -s reload` does, each time that a further part of the load has reached the wallet."""
    for part in range(1, RELOADS + 1):
        threshold = len(TOKENS) * part // (RELOADS + 1)
        await upstream.changed.until(lambda: len(upstream.log) >= threshold)  # noqa: B023 - awaited in this very turn
        nginx.process.send_signal(signal.SIGHUP)
        for _ in range(WORKERS):
            await nginx.line("gracefully shutting down")


@pytest.mark.short("tls")
async def test_no_call_fails(certificates: Certificates, identity: Identity | None, tmp_path: Path) -> None:
    """While nginx recycles each 20 requests and reloads thrice, all of 40 callers' calls are OK, each made once."""
    settings = {"WALLET__CA_FILE": str(certificates.ca_file)}
    recycling = f"keepalive_requests {RECYCLE_REQUESTS};"
    async with wallet() as upstream:
        front = Front(PROXY.format(port=upstream.port), recycling, WORKERS, identity)
        async with (
            running_nginx(front, tmp_path) as (nginx, url),
            bridge_to(url, settings) as caller,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(reload_under_load(nginx, upstream))
            assert await load(caller) == {"OK": len(TOKENS)}
    assert Counter(upstream.log) == Counter(TOKENS)
    assert len(upstream.front_connections) >= len(TOKENS) / RECYCLE_REQUESTS
