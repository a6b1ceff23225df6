"""Callers of a mesh: a few calls, and many callers who do not stop calling."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import grpc.aio

from bridge.sandbox.record import Pulse
from tests.mesh.bridges import Bridges
from tests.mesh.envoy import Envoy
from tests.support.serving import channel_to
from tests.support.whole_path import End, end_of, terminate_request
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

CHANNELS, CALLERS_EACH = 4, 4


async def call(channel: grpc.aio.Channel, token: str, timeout_s: float | None = None) -> End:
    """Call Terminate for this token."""
    return await end_of(WalletServiceStub(channel).Terminate(terminate_request(token), timeout=timeout_s))


async def calls(address: str, tokens: Iterable[str]) -> dict[str, End]:
    """Call for these tokens, all at once, and return their ends by token."""
    async with channel_to(address) as channel:
        waiting = {token: asyncio.create_task(call(channel, token)) for token in tokens}
        return {token: await task for token, task in waiting.items()}


def names(prefix: str, number: int) -> list[str]:
    """Return that many tokens."""
    return [f"{prefix}-{each}" for each in range(number)]


@dataclass(eq=False)
class Load:
    """Callers who call again and again. Each token is used for one call."""

    began: list[str] = field(default_factory=list)
    """Tokens, in the order in which their calls began."""
    ends: dict[str, End] = field(default_factory=dict)
    """How calls have ended, by token."""
    is_over: bool = False
    _changed: Pulse = field(default_factory=Pulse)

    @property
    def failed(self) -> dict[str, End]:
        """The calls that were not OK."""
        return {token: end for token, end in self.ends.items() if end.code != "OK"}

    async def more(self) -> None:
        """Return when every caller has, on average, had the ends of two more calls."""
        wanted = len(self.ends) + 2 * CHANNELS * CALLERS_EACH
        await self._changed.until(lambda: len(self.ends) >= wanted)

    async def keep_calling(self, channel: grpc.aio.Channel) -> None:
        """Call until it is over."""
        while not self.is_over:
            token = f"call-{len(self.began)}"
            self.began.append(token)
            self.ends[token] = await call(channel, token)
            self._changed.beat()


@asynccontextmanager
async def under_load(address: str) -> AsyncIterator[Load]:
    """Call from many sides for as long as the context lasts; afterwards every call has ended."""
    load = Load()
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(channel_to(address)) for _ in range(CHANNELS)]
        async with asyncio.TaskGroup() as callers:
            for channel in channels * CALLERS_EACH:
                callers.create_task(load.keep_calling(channel))
            try:
                await load.more()
                yield load
            finally:
                load.is_over = True


async def restarted_under_load(bridges: Bridges, front: Envoy) -> None:
    """Restart both bridges, one after the other: no call may fail, and the wallet's log must have each exactly once.

    `front` must have them in this order, or what stands before each.
    """
    async with under_load(front.address) as load:
        for bridge, upstream in zip((bridges.a, bridges.b), front.upstreams, strict=True):
            await bridge.restart()
            await front.until_healthy(upstream)
            before = bridges.by(bridge).total()
            await load.more()
            assert bridges.by(bridge).total() > before
    assert not load.failed, load.failed
    assert bridges.posts() == Counter(load.began)
    assert Counter(bridges.wallet.processed) == Counter(load.began)
