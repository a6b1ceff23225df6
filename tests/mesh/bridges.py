"""Bridges for a mesh: real processes on ports that stay theirs over a restart, known to the wallet by their keys."""

import asyncio
import base64
import signal
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.x509 import UniformResourceIdentifier
from h2.errors import ErrorCodes

from bridge.sandbox.behaviours import after, reset_with, terminated
from bridge.sandbox.record import Request
from bridge.sandbox.server import FaultServer, bound_socket
from bridge.sandbox.stream import Behaviour, Stream
from tests.mesh.envoy import Trust
from tests.support.certificates import Authority, Identity
from tests.support.processes import Command, bridge_command
from tests.support.serving import tls_settings
from tests.support.whole_path import NO_SETTINGS, environment

ENVOY_ID = "spiffe://mesh.example/ns/game/sa/envoy"
"""The only identity that the bridges let in."""
DRAIN_S = 0.5
"""Several times the interval of health checks."""
CONNECTION_AGE_S = 0.5
"""Every Envoy gets GOAWAY again and again, in every test."""
WALLET_LATENCY_S = 0.1
HELD = "held"
"""How the tokens begin that `held_until` is about."""


class Bridge:
    """A `bridge serve` that can be started again on its port."""

    def __init__(self, name: str, port: int, environ: Mapping[str, str]) -> None:
        self.name = name
        self.address = f"127.0.0.1:{port}"
        self._environ = environ
        self._command: Command | None = None
        self._stack = AsyncExitStack()

    async def start(self) -> None:
        """Start it unless it runs, and return when it serves."""
        if self._command is not None and self._command.process.returncode is None:
            return
        self._command = await self._stack.enter_async_context(bridge_command("serve", environ=self._environ))
        assert await self._command.address() == self.address

    def terminate(self) -> None:
        """Ask it to end, as an operator does: it drains first."""
        self._running.process.terminate()

    async def ended(self) -> None:
        """Wait for its end, which must be a good one."""
        assert await self._running.end() == 0, self._running.output

    async def restart(self) -> None:
        """End it as an operator does, and start it again."""
        self.terminate()
        await self.ended()
        await self.start()

    async def kill(self) -> None:
        """End it at once, in the middle of whatever it does."""
        self._running.process.kill()
        assert await self._running.end() == -signal.SIGKILL

    async def aclose(self) -> None:
        """Leave nothing of it behind."""
        await self._stack.aclose()

    @property
    def _running(self) -> Command:
        assert self._command is not None
        return self._command


@dataclass(eq=False)
class Bridges:
    """Two bridges before one wallet, and what an Envoy needs for their TLS."""

    wallet: FaultServer
    a: Bridge
    b: Bridge
    certificates: "Certificates | None"
    """None: they serve in plaintext."""

    @property
    def addresses(self) -> tuple[str, str]:
        """Where both serve."""
        return self.a.address, self.b.address

    @property
    def trust(self) -> Trust | None:
        """What Envoy must be and believe."""
        return self.certificates.trust if self.certificates else None

    async def renew(self) -> None:
        """Start who has ended; the wallet is good again and has forgotten everything."""
        await asyncio.gather(self.a.start(), self.b.start())
        self.wallet.behaviour = slowly_terminated
        self.wallet.requests.clear()
        self.wallet.processed.clear()

    def by(self, bridge: Bridge) -> Counter[str]:
        """Count the POSTs of a bridge by token, from the wallet's log."""
        return Counter(request.token for request in self.wallet.requests if sender(request) == bridge.name)

    def posts(self) -> Counter[str]:
        """Count all POSTs by token, from the wallet's log."""
        return self.by(self.a) + self.by(self.b)


def sender(request: Request) -> str:
    """Return the name of the bridge that has sent it: the access key in its credentials."""
    _, _, encoded = dict(request.headers)["authorization"].partition(" ")
    return base64.b64decode(encoded).decode().partition(":")[2]


async def slowly_terminated(stream: Stream) -> None:
    """Answer well, after the time that a wallet takes: so that calls are in flight."""
    await asyncio.sleep(WALLET_LATENCY_S)
    await terminated(stream)


def held_until(gate: asyncio.Event) -> Behaviour:
    """Keep the calls whose token begins with HELD in flight until the gate opens; the others are as usual."""
    held = after(gate, terminated)

    async def behaviour(stream: Stream) -> None:
        await (held if stream.request.token.startswith(HELD) else slowly_terminated)(stream)

    return behaviour


def refused_for(bridge: Bridge) -> Behaviour:
    """Refuse the streams of this bridge, which proves that they were not processed; the other is served as usual."""
    refuse = reset_with(ErrorCodes.REFUSED_STREAM)

    async def behaviour(stream: Stream) -> None:
        await (refuse if sender(stream.request) == bridge.name else slowly_terminated)(stream)

    return behaviour


@dataclass(frozen=True)
class Certificates:
    """What mutual TLS between Envoy and the bridges needs."""

    authority: Authority
    server: Identity
    envoy: Identity

    @classmethod
    def written(cls, folder: Path) -> "Certificates":
        """Issue them into a folder."""
        authority = Authority(folder, "mesh_ca")
        return cls(
            authority, authority.server("bridge"), authority.client("envoy", UniformResourceIdentifier(ENVOY_ID))
        )

    @property
    def trust(self) -> Trust:
        """Envoy's part."""
        return Trust(self.authority.ca_file, self.envoy)

    @property
    def settings(self) -> Mapping[str, str]:
        """The bridges' part."""
        return tls_settings(self.server, self.authority.ca_file, ENVOY_ID)


@asynccontextmanager
async def two_bridges(
    certificates: Certificates | None, settings: Mapping[str, str] = NO_SETTINGS
) -> AsyncIterator[Bridges]:
    """Run two bridges before a wallet; without certificates in plaintext, as beside a sidecar."""
    settings = {**settings, **(certificates.settings if certificates else NO_SETTINGS)}
    async with AsyncExitStack() as stack:
        wallet = await stack.enter_async_context(FaultServer(slowly_terminated))
        a, b = (_bridge(name, stack, wallet, settings) for name in ("bridge-a", "bridge-b"))
        await asyncio.gather(a.start(), b.start())
        yield Bridges(wallet, a, b, certificates)


def _bridge(name: str, stack: AsyncExitStack, wallet: FaultServer, settings: Mapping[str, str]) -> Bridge:
    # Bound and not listening, all the time: no other process gets the port, not even between two of its processes.
    port = stack.enter_context(bound_socket()).getsockname()[1]
    own = {
        "SERVER__LISTEN": f"127.0.0.1:{port}",
        "SERVER__DRAIN_S": str(DRAIN_S),
        "SERVER__CONNECTION_AGE_S": str(CONNECTION_AGE_S),
        # A busy machine must not make an unreachable wallet of a slow one.
        "WALLET__CONNECT_TIMEOUT_S": "10",
        "WALLET__PROVIDERS__1__ACCESS_KEY": name,
    }
    bridge = Bridge(name, port, environment(wallet.url, {**own, **settings}))
    stack.push_async_callback(bridge.aclose)
    return bridge
