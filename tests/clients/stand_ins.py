"""The bridges that the samples call, and what stands behind them in the wallet's place."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from h2.errors import ErrorCodes

from bridge import sandbox
from bridge.sandbox.behaviours import reset_with
from bridge.sandbox.server import FaultServer, bound_socket
from bridge.server.app import BridgeServer, running
from bridge.settings.model import load
from tests.support.random_wallet import abort
from tests.support.settling_bridge import patient_calls, settings_of
from tests.support.whole_path import environment

DRAIN_S = 3600.0
"""Longer than any run of the samples takes."""

WALLETS = {
    "refusing": "refusing",
    "unreachable": "none",
    "settling": "none",
    # The settler retries these whenever it likes: no one counts its POSTs.
    "settling after it was sent": "uncounted",
}
"""What stands behind a bridge, by the bridge's name; behind any other the sandbox."""

SETTINGS: Mapping[str, Mapping[str, str]] = {
    # It gives up long before its caller does, so that its words arrive on a busy machine too, and not before its
    # request has reached the wallet.
    "impatient": {"WALLET__DEADLINE_DEFAULT_S": "2", "WALLET__DEADLINE_MAX_S": "2"},
    # Its connections get a GOAWAY about once a second.
    "aging": {"SERVER__CONNECTION_AGE_S": "1"},
}
"""Of those bridges that are not as by default."""


@dataclass(frozen=True, slots=True)
class Posts:
    """What reached the wallet's stand-ins, counted by their name and token."""

    count: Callable[[], Counter[tuple[str, str]]]


@asynccontextmanager
async def bridges() -> AsyncIterator[tuple[Mapping[str, str], Posts]]:
    """Run bridges before the sandbox, one before a wallet that refuses every stream, and one before nothing."""
    async with AsyncExitStack() as stack:
        wallet = await stack.enter_async_context(sandbox.serve())
        refusing = await stack.enter_async_context(FaultServer(reset_with(ErrorCodes.REFUSED_STREAM)))
        # Bound and not listening: connecting is refused, and no other process can take the port.
        unbound = stack.enter_context(bound_socket())
        urls = {"wallet": wallet.url, "refusing": refusing.url}
        urls["unreachable"] = f"http://127.0.0.1:{unbound.getsockname()[1]}"
        urls |= dict.fromkeys(("draining", "impatient", "aging"), wallet.url)
        stack.enter_context(patient_calls())
        losing = await stack.enter_async_context(FaultServer(abort))
        urls |= {"settling": urls["unreachable"], "settling after it was sent": losing.url}
        folder = Path(stack.enter_context(TemporaryDirectory()))
        servers = {
            name: await stack.enter_async_context(running(load(None, environment(url, _settings(name, folder)))))
            for name, url in urls.items()
        }
        await stack.enter_async_context(draining(servers["draining"]))

        def count() -> Counter[tuple[str, str]]:
            seen = Counter(("wallet", received.token or "") for received in wallet.received)
            return seen + Counter(("refusing", request.token) for request in refusing.requests)

        yield {name: server.address for name, server in servers.items()}, Posts(count)


def _settings(name: str, folder: Path) -> Mapping[str, str]:
    if not name.startswith("settling"):
        return SETTINGS.get(name, {})
    own = folder / name.replace(" ", "-")  # a URL has no spaces
    own.mkdir()
    return settings_of(own, SETTLE="failed")


@asynccontextmanager
async def draining(bridge: BridgeServer) -> AsyncIterator[None]:
    """Hold a bridge in the first step of its drain: health says NOT_SERVING, calls are still served."""
    drain = asyncio.create_task(bridge.drain(DRAIN_S))
    try:
        yield
    finally:
        drain.cancel()
        await asyncio.gather(drain, return_exceptions=True)
