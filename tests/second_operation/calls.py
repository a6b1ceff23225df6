"""One call of each added operation, run in the copy with its sandbox and its bridge; prints the answers as JSON."""

import asyncio
import json
from typing import Any

import grpc.aio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass

from bridge import sandbox
from bridge.cli.demo import demo_settings
from bridge.server.app import running
from wallet.v1.wallet_service_pb2 import DESCRIPTOR

SERVICE = DESCRIPTOR.services_by_name["WalletService"]
REQUESTS: dict[str, dict[str, Any]] = {
    "Freeze": {"provider_id": "1", "player_id": "5"},
    "GrantBonus": {"provider_id": "1", "player_id": "5", "amount": {"value": "0.10"}},
}


async def answer(channel: grpc.aio.Channel, method: MethodDescriptor) -> dict[str, Any]:
    """Call one operation and return its answer without what differs between runs."""
    response = GetMessageClass(method.output_type)
    call: Any = channel.unary_unary(
        f"/{SERVICE.full_name}/{method.name}", lambda sent: sent.SerializeToString(), response.FromString
    )
    request = ParseDict(REQUESTS[method.name], GetMessageClass(method.input_type)())
    fields = MessageToDict(await call(request, timeout=60), preserving_proto_field_name=True)
    return {name: value for name, value in fields.items() if name != "request_id"}


async def main() -> None:
    """Print the answers by their method."""
    # With time for a busy machine.
    settings = {
        "BRIDGE_SERVER__LISTEN": "127.0.0.1:0",
        "BRIDGE_WALLET__CONNECT_TIMEOUT_S": "30",
        "BRIDGE_WALLET__DEADLINE_MAX_S": "60",
    }
    async with (
        sandbox.serve() as wallet,
        running(demo_settings(wallet.url, settings)) as bridge,
        grpc.aio.insecure_channel(bridge.address) as channel,
    ):
        print(json.dumps({name: await answer(channel, SERVICE.methods_by_name[name]) for name in REQUESTS}))


asyncio.run(main())
