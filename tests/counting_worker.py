"""A worker process that only counts: for each line of JSON, so many calls, and a state with so many in flight.

    {"calls": 3, "in_flight": 2}

It says when it is ready, and when it has counted a line. PROMETHEUS_MULTIPROC_DIR says where.
"""

import json
import sys

from bridge.telemetry.events import CallEnded, Draining, ReloadFailed, StateSampled
from bridge.telemetry.metrics import Metrics

SERVICE, RPC = "wallet.v1.WalletService", "Terminate"
METHOD = f"{SERVICE}/{RPC}"


def main() -> None:
    """Count until standard input ends."""
    metrics = Metrics([METHOD])
    say("ready")
    for line in sys.stdin:
        order = json.loads(line)
        for _ in range(order["calls"]):
            metrics(CallEnded(SERVICE, RPC, provider_id=1, grpc_code="OK", duration_s=0.08, wallet_code=1))
        metrics(StateSampled(order["in_flight"], queued=0, detached=0, connections=1, streams=0))
        metrics(ReloadFailed("wallet.ca_file", "wants a PEM certificate"))
        metrics(Draining(5.0))
        say("counted")


def say(word: str) -> None:
    """Say a word to whoever started the process."""
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
