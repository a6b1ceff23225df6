"""One call through sandbox and bridge as they are installed: `python -I one_call.py MODULE...`, from any folder.

It prints, as JSON, the files that these modules were imported from, and what the call came back with.
"""

import asyncio
import importlib
import json
import sys

import grpc.aio

from bridge import sandbox
from bridge.cli.demo import demo_settings
from bridge.sandbox.operations import TERMINATE_REQUEST
from bridge.server.app import running
from wallet.v1.wallet_service_pb2 import TerminateRequest
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub


async def answered_token() -> str:
    """Return the token that the wallet's answer to the example of its page has."""
    environ = {"BRIDGE_SERVER__LISTEN": "127.0.0.1:0"}
    async with sandbox.serve() as wallet, running(demo_settings(wallet.url, environ)) as bridge:
        async with grpc.aio.insecure_channel(bridge.address, options=(("grpc.enable_http_proxy", 0),)) as channel:
            answer = await WalletServiceStub(channel).Terminate(TerminateRequest(**TERMINATE_REQUEST), timeout=60)
        await bridge.drain(0)
    return str(answer.token)


if __name__ == "__main__":
    files = [importlib.import_module(name).__file__ for name in sys.argv[1:]]
    sys.stdout.write(json.dumps({"files": files, "token": asyncio.run(answered_token())}))
