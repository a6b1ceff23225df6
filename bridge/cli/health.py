"""`bridge health`: asks a running bridge for its health (grpc.health.v1), for what waits for it or restarts it.

The image has neither a shell nor another program that could ask: `helm test`, a Compose file and a script use this one.
"""

import argparse
import sys

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest as Request
from grpc_health.v1.health_pb2 import HealthCheckResponse as Response

from bridge.address import LISTEN
from bridge.cli.channel import TLS_FLAGS, hint_of, open_channel, tls_of
from bridge.cli.listen_flag import listen_address

PATIENCE_S = 5.0
"""Time for the bridge's answer: its probes give it less."""

CHECK = "/grpc.health.v1.Health/Check"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `bridge health`."""
    address = "server.listen or server.health_listen of the bridge; default: %(default)s"
    service = 'a service, or "liveness", which stays SERVING in a drain; default: the bridge as a whole'
    parser.add_argument("--address", type=listen_address, default=LISTEN, metavar="HOST:PORT", help=address)
    parser.add_argument("--service", default="", metavar="NAME", help=service)
    for flag, options in TLS_FLAGS.items():
        parser.add_argument(flag, **options)


def run(parsed: argparse.Namespace) -> int:
    """Print the status; return 0 where it is SERVING, else 1, also where no answer comes within 5 seconds.

    Raise SettingsError where the TLS flags are wrong.
    """
    tls = tls_of(parsed)
    with open_channel(parsed.address, tls) as channel:
        check = channel.unary_unary(CHECK, Request.SerializeToString, Response.FromString)
        try:
            answer: Response = check(Request(service=parsed.service), timeout=PATIENCE_S)
        except grpc.RpcError as error:
            print(
                f"bridge: {parsed.address}: {_problem(error, parsed.service, is_tls=tls is not None)}", file=sys.stderr
            )
            return 1
    print(Response.ServingStatus.Name(answer.status))
    return 0 if answer.status == Response.SERVING else 1


def _problem(error: grpc.RpcError, service: str, *, is_tls: bool) -> str:
    code: grpc.StatusCode = error.code()
    known = {
        grpc.StatusCode.NOT_FOUND: f'it has no service "{service}"; --service must be a full name, or "liveness"',
        grpc.StatusCode.DEADLINE_EXCEEDED: f"no answer within {PATIENCE_S:g} s",
        grpc.StatusCode.UNAVAILABLE: f"no connection; {hint_of(error.details() or '', is_tls=is_tls)}",
        grpc.StatusCode.UNIMPLEMENTED: "what listens there has no health service (grpc.health.v1)",
    }
    return known.get(code, f"no health, but {code.name}")
