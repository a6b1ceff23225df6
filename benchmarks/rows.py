"""What the bridge is compared with, each a server of its own: `python -m benchmarks.rows ROW PORT UPSTREAM_URL`.

floor  an empty grpc.aio handler with our proto on uvloop: nothing that grpc.aio hosts can be cheaper
native floor  the floor's handler on pygrpc_native.aio, a server whose HTTP/2 is in Rust
textbook  what one would write: grpc.aio, json, hmac and `httpx.AsyncClient(http2=True).post`, on uvloop, too
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import sys
from typing import Any

import grpc.aio
import httpx
import pygrpc_native.aio
import uvloop

from wallet.v1.wallet_service_pb2 import TerminateRequest, TerminateResponse
from wallet.v1.wallet_service_pb2_grpc import WalletServiceServicer, add_WalletServiceServicer_to_server

ACCESS_KEY = "abcde12345"
PRIVATE_KEY = b"e56eb966-a55f-4087-bc7d-e66df1f377a1"

ANSWER = {
    "status": True,
    "code": 1,
    "message": "",
    "request_id": "89aac521-7a56-4ad1-8310-1ed2bbf9e55d",
    "token": "3dc8fe01-2018-486e-9632-35aef21028a5",
    "player_id": 1,
    "game_id": "example",
    "site_id": "1",
    "provider_id": 1,
    "balance": 22085.75,
}
"""The wallet page's answer to the wallet page's request."""

Context = grpc.aio.ServicerContext[TerminateRequest, TerminateResponse]


def response(answer: dict[str, Any]) -> TerminateResponse:
    """Return the typed form of the wallet's answer."""
    fields = {name: answer[name] for name in TerminateResponse.DESCRIPTOR.fields_by_name if name in answer}
    return TerminateResponse(
        **fields | {"site_id": int(answer["site_id"]), "balance": {"value": str(answer["balance"])}}
    )


class Floor(WalletServiceServicer):
    """Answers always the same, from memory."""

    def __init__(self) -> None:
        self._response = response(ANSWER)

    async def Terminate(self, request: TerminateRequest, context: Context) -> TerminateResponse:  # noqa: N802 - the proto's name
        """Answer."""
        del request, context
        return self._response


class Textbook(WalletServiceServicer):
    """Asks the wallet, in the plainest way."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/api/wallet/terminate"
        self._client = httpx.AsyncClient(http1=False, http2=True, trust_env=False)

    async def Terminate(self, request: TerminateRequest, context: Context) -> TerminateResponse:  # noqa: N802 - the proto's name
        """Sign, post, read."""
        del context
        fields = {field.name: getattr(request, field.name) for field in request.DESCRIPTOR.fields}
        body = json.dumps(fields).encode()
        basic = base64.b64encode(f"{request.provider_id}:{ACCESS_KEY}".encode()).decode()
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Authorization": f"Basic {basic}",
            "X-Request-Signature": hmac.new(PRIVATE_KEY, body, hashlib.sha256).hexdigest(),
        }
        answer = await self._client.post(self._url, content=body, headers=headers)
        answer.raise_for_status()
        return response(answer.json())


async def serve(row: str, port: int, url: str) -> None:
    """Serve until the process is ended."""
    # It has grpc.aio's interface.
    server: grpc.aio.Server = pygrpc_native.aio.server() if row == "native floor" else grpc.aio.server()
    add_WalletServiceServicer_to_server(Textbook(url) if row == "textbook" else Floor(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
