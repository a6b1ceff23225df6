"""The schedule of a connect, in virtual time: which address is tried when, which one wins, and what that leaves."""

import asyncio
import functools
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any

import pytest

from bridge.http2.addresses import ANSWER_KEPT_S, Addresses
from bridge.http2.causes import Http2RequiredError
from bridge.http2.connect import Race, Sockets
from bridge.http2.connection import Connection
from bridge.http2.transport import CONNECT_TIMEOUT_S
from tests.support.virtual_time import virtually

NEVER = float("inf")


@dataclass(frozen=True)
class Host:
    """How an address behaves: how long TCP and then the handshake take, in seconds, and how each ends."""

    tcp_s: float = 0.0
    handshake_s: float = 0.0
    tcp_error: Exception | None = None
    handshake_error: Exception | None = None


REFUSES = Host(tcp_error=ConnectionRefusedError("x"))
DROPS = Host(tcp_s=NEVER)
MUTE = Host(handshake_s=NEVER)
GOOD = Host()


@dataclass
class World:
    """A network in virtual time. `hosts` are tried in their order; `events` says what happened, and when."""

    hosts: dict[str, Host]
    events: list[tuple[str, float]] = field(default_factory=list)
    most_sockets: int = 0

    def __post_init__(self) -> None:
        """Take the place of the running loop's network."""
        loop: Any = asyncio.get_running_loop()
        loop.getaddrinfo = self._getaddrinfo
        loop.sock_connect = self._sock_connect
        self.loop = loop
        self.addresses = Addresses("wallet.example", 443)
        self._by_socket: dict[int, str] = {}
        self._made: dict[Connection, str] = {}

    async def connect(self, timeout_s: float = 1.0, limit: int = 10) -> str:
        """Make a connection as the transport does; return what came of it, with the time that it took."""
        began_at, sockets = self.loop.time(), Sockets(limit)
        deadline = began_at + timeout_s
        handshake = functools.partial(self._handshake, sockets)
        try:
            async with asyncio.timeout_at(deadline):
                connection = await Race(self.addresses, handshake, deadline, sockets).run()
            end = self._made[connection]
        except (OSError, Http2RequiredError) as error:
            end = type(error).__name__
        assert sockets.open == 0
        return f"{end} {self.loop.time() - began_at:.3f}"

    def begun(self) -> list[tuple[str, float]]:
        """Return the attempts since the last time that this was asked."""
        events, self.events = self.events, []
        return events

    async def _getaddrinfo(self, _host: str, port: int, *, family: int, **_options: Any) -> list[tuple[Any, ...]]:
        found = [host for host in self.hosts if (":" in host) == (family == socket.AF_INET6)]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "x")
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)) for host in found]

    async def _sock_connect(self, connecting: socket.socket, where: tuple[str, int]) -> None:
        host = self.hosts[where[0]]
        self.events.append((where[0], round(self.loop.time(), 3)))
        self._by_socket[connecting.fileno()] = where[0]
        await _pass(host.tcp_s, host.tcp_error)

    async def _handshake(self, sockets: Sockets, connected: socket.socket) -> Connection:
        self.most_sockets = max(self.most_sockets, sockets.open)
        name = self._by_socket[connected.fileno()]
        connected.close()
        await _pass(self.hosts[name].handshake_s, self.hosts[name].handshake_error)
        connection = Connection(self.loop, 0, lambda: None)
        self._made[connection] = name
        return connection


async def _pass(seconds: float, error: Exception | None) -> None:
    if seconds == NEVER:
        await asyncio.Event().wait()
    await asyncio.sleep(seconds)
    if error is not None:
        raise error


CASES: dict[str, tuple[dict[str, Host], str, list[tuple[str, float]]]] = {
    "the first one works": ({"a": GOOD, "b": GOOD}, "a 0.000", [("a", 0)]),
    "silence costs 250 ms": ({"a": DROPS, "b": GOOD}, "b 0.250", [("a", 0), ("b", 0.25)]),
    "twice": ({"a": DROPS, "b": DROPS, "c": GOOD}, "c 0.500", [("a", 0), ("b", 0.25), ("c", 0.5)]),
    "a refusal costs nothing": ({"a": REFUSES, "b": GOOD}, "b 0.000", [("a", 0), ("b", 0)]),
    "slow is not dead: the first to connect wins": (
        {"a": Host(tcp_s=0.3), "b": Host(tcp_s=0.2)},
        "a 0.300",
        [("a", 0), ("b", 0.25)],
    ),
    "a mute one leaves half of the time": ({"a": MUTE, "b": GOOD}, "b 0.500", [("a", 0), ("b", 0.5)]),
    "and is not given up for that": ({"a": Host(handshake_s=0.7), "b": MUTE}, "a 0.700", [("a", 0), ("b", 0.5)]),
    "closed in the handshake": (
        {"a": Host(handshake_s=0.1, handshake_error=ConnectionResetError("x")), "b": GOOD},
        "b 0.100",
        [("a", 0), ("b", 0.1)],
    ),
    "TLS just ends": ({"a": Host(handshake_error=ssl.SSLEOFError(8, "x")), "b": GOOD}, "b 0.000", [("a", 0), ("b", 0)]),
    "a refused certificate ends all": (
        {"a": Host(handshake_error=ssl.SSLCertVerificationError("x")), "b": GOOD},
        "SSLCertVerificationError 0.000",
        [("a", 0)],
    ),
    "so does a server without HTTP/2": (
        {"a": Host(handshake_error=Http2RequiredError("x")), "b": GOOD},
        "Http2RequiredError 0.000",
        [("a", 0)],
    ),
    "a loser is tried again when the winner is mute": (
        {"a": Host(tcp_s=0.3), "b": MUTE},
        "a 0.925",
        [("a", 0), ("b", 0.25), ("a", 0.625)],
    ),
    "refused by all": ({"a": REFUSES, "b": REFUSES}, "ConnectionRefusedError 0.000", [("a", 0), ("b", 0)]),
    "the limit holds": ({"a": DROPS, "b": MUTE}, "TimeoutError 1.000", [("a", 0), ("b", 0.25), ("a", 0.625)]),
    "families alternate, IPv6 first": (
        {"1": DROPS, "2": DROPS, "::1": DROPS, "::2": GOOD},
        "::2 0.500",
        [("::1", 0), ("1", 0.25), ("::2", 0.5)],
    ),
}


@pytest.mark.parametrize(("hosts", "end", "begun"), CASES.values(), ids=CASES)
@virtually
async def test_schedule(hosts: dict[str, Host], end: str, begun: list[tuple[str, float]]) -> None:
    """Within the default of 1 s, each address is tried exactly when RFC 8305 and the module's own rules say."""
    world = World(hosts)
    assert await world.connect() == end
    assert world.begun() == begun


DEAD = {"no answer": DROPS, "refuses": REFUSES, "accepts and is silent": MUTE}
PLACES = {
    "first": ("dead", "good"),
    "second": ("good", "dead"),
    "IPv6": ("dead::", "good"),
    "both families, half of each": ("dead::", "dead", "good"),
}
FIRST_CALL_S = 1.5
"""A requirement: how long the first call to a name with dead addresses may take, with a default connect timeout."""


@pytest.mark.parametrize("names", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("dead", DEAD.values(), ids=DEAD)
@virtually
async def test_first_connect_in_time(dead: Host, names: tuple[str, ...]) -> None:
    """Wherever dead addresses stand and however they are dead, the default limit of a connect is enough."""
    world = World({name: dead if name.startswith("dead") else GOOD for name in names})
    name, took_s = (await world.connect(CONNECT_TIMEOUT_S)).split()
    assert name == "good"
    assert float(took_s) <= CONNECT_TIMEOUT_S < FIRST_CALL_S


@virtually
async def test_winner_has_a_second_where_there_is_time() -> None:
    """With a long limit the next address is tried 1 s after TCP has connected, and 1 s after that again."""
    world = World({"a": MUTE, "b": MUTE, "c": GOOD})
    assert await world.connect(timeout_s=30) == "c 2.000"
    assert world.begun() == [("a", 0), ("b", 1), ("c", 2)]


@virtually
async def test_what_worked_comes_first_and_what_failed_last() -> None:
    """The second connect tries the address that worked first; when that one fails, it loses its place."""
    world = World({"a": DROPS, "b": GOOD, "c": GOOD})
    assert await world.connect() == "b 0.250"
    world.begun()
    assert await world.connect() == "b 0.000"
    world.hosts["b"] = REFUSES
    assert await world.connect() == "c 0.250"
    assert [host for host, _ in world.begun()] == ["b", "b", "a", "c"]


@virtually
async def test_a_success_makes_up_for_a_failure() -> None:
    """An address that has failed once and worked since stands where the name has it, and not behind the others."""
    world = World({"a": REFUSES, "dropped": DROPS, "b": GOOD})
    assert await world.connect() == "b 0.250"
    world.hosts |= {"a": GOOD, "b": REFUSES}
    assert await world.connect() == "a 0.250"
    world.hosts |= {"a": Host(tcp_s=0.9), "b": GOOD}
    assert await world.connect() == "b 0.500"
    world.hosts |= {"a": GOOD, "b": REFUSES}
    assert await world.connect() == "a 0.000"


@virtually
async def test_every_address_is_reached_in_the_end() -> None:
    """A name with more dead addresses than fit into one limit is no outage: the next connect tries the others first."""
    world = World({**{f"dead-{number}": DROPS for number in range(20)}, "good": GOOD})
    ends = [await world.connect() for _ in range(3)]
    assert any(end.startswith("good") for end in ends)


@pytest.mark.parametrize("limit", [1, 2])
@virtually
async def test_never_more_sockets_than_allowed(limit: int) -> None:
    """Where no further socket is allowed, the oldest one is closed before the next address is tried."""
    world = World({"a": MUTE, "b": MUTE, "c": MUTE, "d": GOOD})
    assert (await world.connect(timeout_s=30, limit=limit)).startswith("d ")
    assert world.most_sockets == limit


@virtually
async def test_addresses_that_the_name_has_lost_are_forgotten() -> None:
    """What failed is remembered only of addresses that the name still has."""
    world = World({"old": REFUSES})
    for number in range(50):
        await world.connect()
        world.hosts = {f"new-{number}": REFUSES}
        await asyncio.sleep(ANSWER_KEPT_S + 1)
    await world.connect()
    assert len(world.addresses._failed) == 1  # a leak of months cannot be seen from outside


@pytest.mark.parametrize(("ipv6_s", "begun"), [(0.04, ("::1", 0.04)), (0.06, ("1", 0.05)), (NEVER, ("1", 0.05))])
@virtually
async def test_resolution_delay(ipv6_s: float, begun: tuple[str, float]) -> None:
    """IPv4 addresses wait 50 ms for IPv6 ones (RFC 8305, section 3), and not for ever."""
    world = World({"1": GOOD, "::1": GOOD})
    resolve = world.loop.getaddrinfo

    async def slowly(host: str, port: int, *, family: int, **options: Any) -> list[tuple[Any, ...]]:
        await _pass(ipv6_s if family == socket.AF_INET6 else 0.0, None)
        return list(await resolve(host, port, family=family, **options))

    world.loop.getaddrinfo = slowly
    await world.connect()
    assert world.begun() == [begun]
    await world.addresses.aclose()
