"""`bridge call terminate` in tests: grpcio-testing's fake channel in the place of a bridge."""

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import grpc
import grpc_testing  # type: ignore[import-untyped]  # it ships no types

from bridge.cli.call import WALLET_SERVICE, run
from bridge.cli.channel import Tls
from bridge.outcome import BridgeError
from bridge.sandbox.operations import TERMINATE_REQUEST
from bridge.transcoding.status import wire_status
from tests.support.command_runs import parsed
from wallet.v1.wallet_service_pb2 import TerminateResponse

METHOD = WALLET_SERVICE.methods_by_name["Terminate"]
CALL_ID = "call-7"
EXAMPLE = tuple(f"--{name.replace('_', '-')}={value}" for name, value in TERMINATE_REQUEST.items())

Trailers = Iterable[tuple[str, str | bytes]]


class Terminated:
    """One `bridge call terminate` with a fake channel that ends the call like this."""

    def __init__(
        self,
        *arguments: str,
        response: TerminateResponse | bytes = b"",
        code: grpc.StatusCode = grpc.StatusCode.OK,
        message: str = "",
        trailers: Trailers = (("wallet-call-id", CALL_ID),),
    ) -> None:
        channel = grpc_testing.channel((WALLET_SERVICE,), grpc_testing.strict_real_time())
        serialized = response if isinstance(response, bytes) else response.SerializeToString()
        out, self.addresses = io.StringIO(), list[str]()

        def open_channel(address: str, _tls: Tls | None) -> grpc.Channel:
            self.addresses.append(address)
            opened: grpc.Channel = channel
            return opened

        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run, parsed("call", "terminate", *arguments), open_channel, out)
            self.metadata, self.request, rpc = channel.take_unary_unary(METHOD)
            rpc.send_initial_metadata(())
            rpc.terminate(serialized, trailers, code, message)
            self.exit_code = running.result()
        self.text = out.getvalue()


def failed(error: BridgeError, *arguments: str) -> Terminated:
    """Call a bridge that fails with this error."""
    wire = wire_status(error, CALL_ID)
    codes = {code.value[0]: code for code in grpc.StatusCode}
    return Terminated(*arguments, code=codes[wire.code], message=wire.message, trailers=wire.trailers)
