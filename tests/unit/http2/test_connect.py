"""A name with addresses that do not work: RFC 8305, over real sockets. Its schedule is in test_race.py.

So is how long the first call to such a name may take, in virtual time: over sockets it depends on the machine. Here a
connect has PATIENCE_S, and an address that is silent costs 50 ms, so that the tests are fast.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bridge.http2 import addresses, connect
from bridge.sandbox.behaviours import terminated
from bridge.sandbox.server import FaultServer
from tests.support.certificates import Certificates
from tests.support.dead_addresses import given, mute, resolve, unanswered
from tests.support.http2.calls import OK, PATIENCE_S, UNREACHABLE, Calls, calls_to

pytest_plugins = ["tests.support.two_loops"]
pytestmark = [pytest.mark.asyncio(loop_factories=["asyncio", "uvloop"]), pytest.mark.usefixtures("nothing_left")]

Hold = Callable[[str, int], contextlib.AbstractContextManager[object]]


DEAD: dict[str, Hold] = {
    "no answer": unanswered,
    "refuses": (lambda _host, _port: contextlib.nullcontext()),
    "accepts and is silent": mute,
}
PLACES = {
    "first": ("127.0.0.2", "127.0.0.1"),
    "second": ("127.0.0.1", "127.0.0.2"),
    "IPv6": ("::1", "127.0.0.1"),
    "both families, half of each": ("::1", "127.0.0.2", "127.0.0.1"),
}


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try the next address sooner, and use an answer of the name server for longer than any test takes."""
    monkeypatch.setattr(connect, "HANDSHAKE_S", 0.05)
    monkeypatch.setattr(connect, "ATTEMPT_DELAY_S", 0.05)
    monkeypatch.setattr(addresses, "ANSWER_KEPT_S", 10 * PATIENCE_S)


@asynccontextmanager
async def calls_by_name(server: FaultServer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Calls]:
    """Yield calls to a name."""
    async with calls_to(server, tls=tls) as calls:
        yield Calls(calls.transport, calls.url.replace("127.0.0.1", "localhost"))


def set_connect_timeout(calls: Calls, seconds: float) -> None:
    """Give further connects so long."""
    calls.transport._connect_timeout_s = seconds  # a bridge never changes it


def attempts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of addresses to which the running loop connects from now on."""
    loop = asyncio.get_running_loop()
    really, tried = loop.sock_connect, list[str]()

    async def sock_connect(connecting: socket.socket, where: tuple[Any, ...]) -> None:
        tried.append(where[0])
        await really(connecting, where)

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    return tried


@contextlib.contextmanager
def held(hold: Hold, hosts: tuple[str, ...], port: int) -> Iterator[None]:
    """Let all of these be dead but 127.0.0.1."""
    with contextlib.ExitStack() as stack:
        for host in hosts:
            if host != "127.0.0.1":
                stack.enter_context(hold(host, port))
        yield


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("hosts", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("hold", DEAD.values(), ids=DEAD)
async def test_dead_address(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates, hold: Hold, hosts: tuple[str, ...], *, secure: bool
) -> None:
    """Wherever a dead address stands: the first call is OK, and the next connect tries the good one first."""
    served = certificates.server.server_context() if secure else None
    resolve(monkeypatch, given(*hosts))
    async with FaultServer(terminated, tls=served) as server:
        tls = certificates.client_context() if secure else None
        with held(hold, hosts, server.port):
            async with calls_by_name(server, tls) as calls:
                assert await calls.end() == OK
                server.open_connections[0].goaway()
                await server.until(lambda: not server.open_connections)
                tried, before = attempts(monkeypatch), server.connections
                # A busy machine may take longer for TLS than the bridge waits before it tries the other address.
                monkeypatch.setattr(connect, "ATTEMPT_DELAY_S", PATIENCE_S)
                assert await calls.end() == OK
                # Not how long it takes, which depends on the machine: what a dead address costs is in virtual time.
                assert tried[0] == "127.0.0.1"
                assert server.connections == before + 1
                assert calls.transport.connections == 1


@pytest.mark.parametrize("flaw", ["expired", "untrusted"])
async def test_refused_certificate_ends_all(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates, flaw: str
) -> None:
    """After an address with a certificate that is not trusted, no other address is tried."""
    resolve(monkeypatch, given("127.0.0.1", "127.0.0.2"))
    async with FaultServer(terminated, tls=getattr(certificates, flaw).server_context()) as server:
        with mute("127.0.0.2", server.port) as other:
            async with calls_by_name(server, certificates.client_context()) as calls:
                assert await calls.end() == f"{UNREACHABLE} tls"
            other.settimeout(0)
            with pytest.raises(BlockingIOError):
                other.accept()


async def test_name_server_without_answers_for_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that never answers for IPv6 does not cost the call."""

    async def answers(family: int) -> list[str]:
        if family == socket.AF_INET6:
            await asyncio.Event().wait()
        return ["127.0.0.1"]

    asked = resolve(monkeypatch, answers)
    async with FaultServer(terminated) as server, calls_by_name(server) as calls:
        assert await calls.end() == OK
        assert asked == [socket.AF_INET6, socket.AF_INET]
        server.open_connections[0].goaway()
        await server.until(lambda: not server.open_connections)
        assert await calls.end() == OK
        # A lookup holds a thread: one that still runs is joined, and an answer of just now is used again.
        assert asked == [socket.AF_INET6, socket.AF_INET]


async def test_name_server_slower_than_a_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that comes when its connect has given up serves the next one."""
    gate = asyncio.Event()

    async def answers(family: int) -> list[str]:
        await gate.wait()
        return await given("127.0.0.1")(family)

    asked = resolve(monkeypatch, answers)
    async with FaultServer(terminated) as server, calls_to(server, connect_timeout_s=0.1) as calls:
        named = Calls(calls.transport, calls.url.replace("127.0.0.1", "localhost"))
        assert await named.end() == f"{UNREACHABLE} timeout"
        set_connect_timeout(named, PATIENCE_S)
        gate.set()
        assert await named.end() == OK
        assert asked.count(socket.AF_INET) == 1


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_AGAIN, "x"), UnicodeError("x")], ids=["again", "no name"])
async def test_no_address(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """A name without addresses is cause dns, at once, and looked up again by the next call."""
    errors = [error, error]

    async def answers(family: int) -> list[str]:
        if errors:
            raise errors.pop()
        return await given("127.0.0.1")(family)

    resolve(monkeypatch, answers)
    async with FaultServer(terminated) as server, calls_by_name(server) as calls:
        assert await calls.end() == f"{UNREACHABLE} dns"
        assert await calls.end() == OK
