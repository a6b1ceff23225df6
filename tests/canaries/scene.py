"""A real bridge that lives through everything that can happen, with canaries for secrets: one wallet, one caller."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio

from bridge.sandbox.server import FaultServer
from tests.support.canaries import CANARIES
from tests.support.processes import Command
from tests.support.random_wallet import FAULTS, GOOD, RandomWallet
from tests.support.whole_path import NO_SETTINGS, PATIENCE_S, End, call_over, end_of, environment, until

METHOD = "/wallet.v1.WalletService/Terminate"
TIMEOUT_S = 0.15
"""Of calls that the wallet may leave without an answer."""
LEFT_S = 1.0
"""Of a call that its client cancels: until then the bridge goes on."""
NEVER = "no answer"

IN_FILES, IN_BAD_FILES, IN_ENVIRONMENT, UNKNOWN = 1, 2, 3, 999
"""Providers by where their keys are: in files, in files that come to hold nonsense, in the environment, nowhere."""
NAMES = ("access_key", "private_key")

METADATA = tuple((name, CANARIES["caller metadata"]) for name in ("authorization", "x-request-signature", "baggage"))


@dataclass
class Scene:
    """What plays at one bridge."""

    command: Command
    address: str
    """Where the bridge takes calls."""
    further: str
    """Where it answers what else it is asked."""
    server: FaultServer
    wallet: RandomWallet
    channel: grpc.aio.Channel
    folder: Path
    """Where the key files are."""
    ends: list[End] = field(default_factory=list)
    """Of all calls that were no success."""
    then: Sequence[str] = ()
    """What a request meets that is sent again, one after the other. Nothing: the same each time."""

    async def call(self, fault: str = GOOD, timeout_s: float = PATIENCE_S, token: str = "", **fields: Any) -> End:
        """Call about a canary; keep the end, unless it is a success, which echoes the token to its caller."""
        fields = {"timeout_s": timeout_s, "metadata": METADATA, "player_id": int(CANARIES["player"]), **fields}
        return self._kept(await call_over(self.channel, token or self._plan(fault), **fields))

    async def send(self, method: str, serialized: bytes) -> End:
        """Send what may be no request at all."""
        send: Any = self.channel.unary_unary(method)
        return self._kept(await end_of(send(serialized, metadata=METADATA)))

    async def hold(self, timeout_s: float = PATIENCE_S) -> asyncio.Task[End]:
        """Make a call that the wallet leaves without an answer until `release`; return when the wallet has it.

        One that ends before that is made again: on a busy machine calls of before may still fill the bridge.
        """
        while True:
            token = self._plan(NEVER)
            held = asyncio.create_task(self.call(NEVER, timeout_s, token))
            # Not until any request has come: the settler sends some, too.
            await until(lambda: held.done() or token in self.tokens)  # noqa: B023 - awaited in this very turn
            if not held.done():
                return held

    @property
    def tokens(self) -> Counter[str]:
        """How often the wallet has got each."""
        return Counter(request.token for request in self.server.requests)

    def release(self) -> None:
        """End what is held: the wallet drops its connections."""
        for connection in self.server.open_connections:
            connection.abort()

    async def answers(self) -> None:
        """Meet every answer and every fault of a wallet, with the keys of each provider."""
        for provider_id in (IN_FILES, IN_BAD_FILES, IN_ENVIRONMENT):
            assert (await self.call(provider_id=provider_id)).code == "OK"
        for fault in reversed(FAULTS):  # the last is none, so that no connection is closing when all are reset
            await self.call(fault, TIMEOUT_S)
        async with self.server.offline():
            await self.call()

    async def refusals(self) -> None:
        """Meet everything that the bridge and gRPC refuse by themselves."""
        token = CANARIES["token"]
        await self.call(currency="", game_id=token * 100)
        await self.call(provider_id=UNKNOWN)
        await self.call(timeout_s=TIMEOUT_S / 3)
        for serialized in (b"\x0a" + bytes([len(token)]) + token.encode()[:-1] + b"\xff", token.encode() * 5000):
            await self.send(METHOD, serialized)
        await self.send(f"/{token}/{token}", token.encode())

    async def cancels(self) -> None:
        """Leave while the wallet is at work, and wait until the bridge has reported the end, at its deadline."""
        held = await self.hold(LEFT_S)
        held.cancel()
        await asyncio.wait([held])
        await self.command.until("is_detached")

    async def overload(self) -> None:
        """Call while as many calls are in flight as may be: 2, by the settings."""
        held = [await self.hold(), await self.hold()]
        await self.call()
        self.release()
        await asyncio.wait(held)

    async def drain(self) -> None:
        """Ask the bridge to stop, call once more, and see it end."""
        held = await self.hold()
        self.command.process.terminate()
        await self.command.until("draining")
        while (await self.call()).code == "OK":
            pass
        self.release()
        await held
        assert await self.command.end() == 0

    def _plan(self, fault: str) -> str:
        """Return a new token, whose first request meets this fault."""
        token = f"{CANARIES['token']}-{len(self.wallet.plans)}"
        self.wallet.plans[token] = (fault, *self.then)
        return token

    def _kept(self, end: End) -> End:
        if end.code != "OK":
            self.ends.append(end)
        return end

    def replace_keys(self) -> None:
        """Give one provider new keys, and another one nonsense."""
        for name in NAMES:
            words = name.replace("_", " ")
            (self.folder / f"{IN_FILES}_{name}").write_text(CANARIES[f"new {words}"], encoding="utf-8")
            (self.folder / f"{IN_BAD_FILES}_{name}").write_text(CANARIES[f"bad new {words}"], encoding="utf-8")

    async def use_replaced_keys(self) -> None:
        """Wait until the bridge has noticed, and call with what it has now."""
        await self.command.until("reloaded", f"providers.{IN_FILES}")
        await self.command.until("reload failed", f"providers.{IN_BAD_FILES}")
        for provider_id in (IN_FILES, IN_BAD_FILES):
            assert (await self.call(provider_id=provider_id)).code == "OK"


def canary_environment(url: str, folder: Path, settings: Mapping[str, str] = NO_SETTINGS) -> dict[str, str]:
    """Return the environment of a bridge for this wallet, whose secrets are canaries and whose log is at debug.

    The keys of the providers are there, or in files that it writes.
    """
    given = {"TELEMETRY__LOG_LEVEL": "debug", **settings}
    for name in NAMES:
        words, provider = name.replace("_", " "), f"WALLET__PROVIDERS__%d__{name.upper()}"
        given[provider % IN_ENVIRONMENT] = CANARIES[f"{words} in the environment"]
        for provider_id in (IN_FILES, IN_BAD_FILES):
            file = folder / f"{provider_id}_{name}"
            file.write_text(CANARIES[words], encoding="utf-8")
            given[f"{provider % provider_id}_FILE"] = str(file)
    return environment(url, given)
