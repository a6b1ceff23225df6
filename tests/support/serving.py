"""`bridge serve` as a process of its own, and what is asked of it over a channel."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.processes import Command, bridge_command
from tests.support.whole_path import CHANNEL_OPTIONS, NO_SETTINGS, TOKEN, End, end_of, environment, terminate_request
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

health_of: Any = health_pb2_grpc.HealthStub
"""A stub for health on a channel; its generated type is that of another kind of channel."""


@asynccontextmanager
async def serving(
    wallet_url: str, settings: Mapping[str, str] = NO_SETTINGS, within: Sequence[str] = (), **variables: str
) -> AsyncIterator[tuple[Command, grpc.aio.Channel]]:
    """Run `bridge serve` until it serves, with these variables beside the settings; yield a channel to it, too."""
    environ = {**environment(wallet_url, settings), **variables}
    async with (
        bridge_command("serve", environ=environ, within=within) as command,
        grpc.aio.insecure_channel(await command.address(), options=CHANNEL_OPTIONS) as channel,
    ):
        yield command, channel


async def call_over(channel: grpc.aio.Channel, token: str = TOKEN, **fields: Any) -> End:
    """Call Terminate with the wallet page's example, but this token and these fields."""
    return await end_of(WalletServiceStub(channel).Terminate(terminate_request(token, **fields)))


def watch_health(channel: grpc.aio.Channel) -> Any:
    """Watch the health of the whole."""
    return health_of(channel).Watch(health_pb2.HealthCheckRequest())
