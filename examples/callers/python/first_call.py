"""The first call of a game service in Python: one that succeeds, one that fails, and what the failure says.

Usage: first_call.py ADDRESS [TOKEN...]
"""

import sys
from importlib.resources import files

import grpc
from grpc_status import rpc_status

from wallet.v1.wallet_error_pb2 import Outcome, WalletError
from wallet.v1.wallet_service_pb2 import TerminateRequest
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub


def main(address: str, tokens: list[str]) -> None:
    """Terminate the session of each token and print how that ended."""
    config = files("wallet.v1").joinpath("service_config.json").read_text()
    with grpc.insecure_channel(f"dns:///{address}", options=[("grpc.service_config", config)]) as channel:
        for token in tokens:
            request = TerminateRequest(
                token=token, player_id=1, site_id=1, provider_id=1, game_id="example", currency="EUR"
            )
            try:
                answer = WalletServiceStub(channel).Terminate(request, timeout=20)
            except grpc.RpcError as error:
                print(failure_text(error))
            else:
                print(f"OK code={answer.code} balance={answer.balance.value}")


def failure_text(error: grpc.Call) -> str:
    """Decide by the outcome, the first field of the first detail; without details nothing is certain."""
    status = rpc_status.from_call(error)
    wallet = WalletError()
    if not status or not any(detail.Unpack(wallet) for detail in status.details):
        return f"{error.code().name} without details: the token may be alive or dead"
    return f"{error.code().name} {Outcome.Name(wallet.outcome)} {wallet.reason} call_id={wallet.call_id}"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or ["first-call", "test-echo-player"])
