"""The network between bridge and wallet: names with addresses, and links that delay, break and fall silent."""

import asyncio
import contextvars
import errno
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.simulation.clock import VirtualLoop

DELAYS_S = (0.001, 0.005, 0.03)
DNS_S = 0.001
SPLIT_CHANCE = 0.4
TICK_S = 1e-7
"""What keeps two pieces of one direction in order."""


class Server(Protocol):
    """The far end of a link."""

    def data_received(self, data: bytes) -> None:
        """Take the next bytes."""

    def connection_lost(self) -> None:
        """Learn that the client has closed."""


@dataclass(slots=True)
class Address:
    """A host of the wallet. `connect_s`: how long TCP takes; None: nothing answers a SYN."""

    host: str
    connect_s: float | None = 0.002
    refuses: bool = False
    is_mute: bool = False
    """Accepts a connection and never says anything."""
    links: list["Link"] = field(default_factory=list)

    @property
    def family(self) -> int:
        """IPv4 or IPv6."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET


class Link(asyncio.Transport):
    """The client's end of a connection. Bytes arrive in order, in pieces of any size, each after a delay of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, chance: random.Random, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._loop = loop
        self._chance = chance
        self._protocol = protocol
        self._due_s = {"out": 0.0, "in": 0.0}
        # Whose connection it is stays known, whichever side makes something happen to it.
        self._context = contextvars.copy_context()
        self._is_closing = False
        self.server: Server | None = None
        self.is_silent = False
        """Whatever is sent is lost, both ways, and no event reports it."""
        self.is_lost = False
        """The client has been informed that the connection is over."""

    # --- what the bridge uses of asyncio.Transport ----------------------------------------------------------------

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        """Know nothing: there is no TLS here."""
        return default

    def is_closing(self) -> bool:
        """Say whether nothing more can be written."""
        return self._is_closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Deliver to this one from now on."""
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return to whom bytes are delivered."""
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Ignore it: nothing is buffered."""

    def get_write_buffer_size(self) -> int:
        """Return 0: what is written is on its way."""
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes to the wallet."""
        if not self._is_closing:
            for piece in self._pieces(bytes(data)):
                self._later("out", self._deliver_to_server, piece)

    def close(self) -> None:
        """Close behind what was written."""
        if not self._is_closing:
            self._is_closing = True
            self._later("out", self._close_server)
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """Close; the kernel would still send what it has."""
        self.close()

    # --- what the wallet uses -------------------------------------------------------------------------------------

    def from_server(self, data: bytes) -> None:
        """Send bytes to the client."""
        for piece in self._pieces(data):
            self._later("in", self._deliver_to_client, piece)

    def cut(self, *, with_reset: bool) -> None:
        """End the connection from the wallet's side: a TCP reset or FIN, behind what was sent before."""
        self._later("in", self._reset if with_reset else self._finish)

    # --- the rest -------------------------------------------------------------------------------------------------

    def _pieces(self, data: bytes) -> list[bytes]:
        pieces = []
        while data:
            size = self._chance.randint(1, len(data)) if self._chance.random() < SPLIT_CHANCE else len(data)
            pieces.append(data[:size])
            data = data[size:]
        return pieces

    def _later(self, way: str, act: Callable[..., None], *args: Any) -> None:
        at = max(self._due_s[way], self._loop.time() + self._chance.choice(DELAYS_S))
        self._due_s[way] = at + TICK_S
        self._loop.call_at(at, self._unless_silent, act, *args, context=self._context)

    def _unless_silent(self, act: Callable[..., None], *args: Any) -> None:
        if not self.is_silent:
            act(*args)

    def _deliver_to_server(self, data: bytes) -> None:
        if self.server is not None:
            self.server.data_received(data)

    def _close_server(self) -> None:
        if self.server is not None:
            self.server.connection_lost()

    def _deliver_to_client(self, data: bytes) -> None:
        if not self._is_closing:
            self._protocol.data_received(data)

    def _finish(self) -> None:
        if not self._is_closing:
            self._protocol.eof_received()
            self._is_closing = True
            self._lose(None)

    def _reset(self) -> None:
        self._is_closing = True
        self._lose(ConnectionResetError(errno.ECONNRESET, "reset"))

    def _lose(self, error: Exception | None) -> None:
        if not self.is_lost:
            self.is_lost = True
            self._protocol.connection_lost(error)


class Network:
    """One name with its addresses. `accept` is called with each new link."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: str, accept: Callable[[Link, Address], None]) -> None:
        self._loop = loop
        self._seed = seed
        self._accept = accept
        self._count = 0
        self.addresses = [Address("10.0.0.1")]
        self.dns_fails = False
        self.dns_s: dict[int, float] = {}
        """How long looking up an address family takes, where that is not DNS_S."""
        self.most_links = 0
        """How many links were open at once, at most."""

    @property
    def open_links(self) -> list[Link]:
        """The links that the client has not lost."""
        return [link for address in self.addresses for link in address.links if not link.is_lost]

    async def getaddrinfo(self, family: int) -> list[Any]:
        """Return the name's addresses of one family, or of all; raise socket.gaierror where there are none."""
        await asyncio.sleep(self.dns_s.get(family, DNS_S))
        found = [address for address in self.addresses if family in (socket.AF_UNSPEC, address.family)]
        if self.dns_fails or not found:
            raise socket.gaierror(socket.EAI_AGAIN if self.dns_fails else socket.EAI_NONAME, "simulated")
        return [(each.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (each.host, 80)) for each in found]

    async def reach(self, host: str) -> Address:
        """Wait until TCP is connected; raise OSError as the system would."""
        address = next(each for each in self.addresses if each.host == host)
        if address.connect_s is None:
            await asyncio.sleep(130)  # what Linux takes to give up
            raise TimeoutError(errno.ETIMEDOUT, "simulated")
        await asyncio.sleep(address.connect_s)
        if address.refuses:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "simulated")
        return address

    def link(self, address: Address, factory: Callable[[], asyncio.Protocol]) -> tuple[Link, asyncio.Protocol]:
        """Open a connection to an address that was reached."""
        self._count += 1
        protocol = factory()
        link = Link(self._loop, random.Random(f"{self._seed}/link/{self._count}"), protocol)
        address.links.append(link)
        self.most_links = max(self.most_links, len(self.open_links))
        if not address.is_mute:
            self._accept(link, address)
        self._loop.call_soon(protocol.connection_made, link)
        return link, protocol


class NetworkLoop(VirtualLoop):
    """A virtual loop whose only network is this one."""

    network: Network

    def __init__(self) -> None:
        super().__init__()
        self._reached: dict[int, Address] = {}

    # Whatever the host and port: there is one name.
    async def getaddrinfo(self, _host: Any, _port: Any, **how: Any) -> list[Any]:  # type: ignore[override]
        """Return its addresses."""
        return await self.network.getaddrinfo(how.get("family", socket.AF_UNSPEC))

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect a socket, of which nothing but its number is used."""
        self._reached[sock.fileno()] = await self.network.reach(address[0])

    # Only those of its many forms that the bridge uses.
    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.Protocol], host: str = "", _port: int = 0, **how: Any
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Connect to an address, or use a socket that is connected."""
        sock = how.get("sock")
        if sock is None:
            return self.network.link(await self.network.reach(host), protocol_factory)
        address = self._reached.pop(sock.fileno())
        sock.close()
        return self.network.link(address, protocol_factory)
