"""How much CPU the pure part of one call costs: parse, validate, encode, sign, classify and the response's bytes.

`make bench-pure` prints microseconds per step and for the whole, the best of several rounds (the least disturbed one).
"""

import sys
import time
from collections.abc import Callable

from bridge.sandbox.operations import TERMINATE_REQUEST
from bridge.server.handlers import SERVICES
from bridge.transcoding.operation import operations
from bridge.transcoding.route import Route
from bridge.transcoding.verdict import Answer
from bridge.upstream.signing import Credentials
from wallet.v1.wallet_service_pb2 import TerminateRequest

TARGET_US = 40.0
CALLS, ROUNDS = 20_000, 7

ANSWER = Answer(
    200,
    b'{\n"status": true,\n"code": 1,\n"message": "",\n"request_id": "89aac521-7a56-4ad1-8310-1ed2bbf9e55d",\n'
    b'"token": "3dc8fe01-2018-486e-9632-35aef21028a5",\n"player_id": 1,\n"game_id": "example",\n"site_id": "1",\n'
    b'"provider_id": 1,\n"balance": 22085.75\n}',
    {"content-type": "application/json"},
)


def best_us(step: Callable[[], object]) -> float:
    """Return the CPU time of one run of this step in microseconds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        for _ in range(CALLS):
            step()
        rounds.append((time.process_time_ns() - started) / CALLS / 1000)
    return min(rounds)


def main() -> int:
    """Measure and print; return 1 when the whole is above the target."""
    operation = operations(SERVICES[0])[0]
    route = Route(operation, {})
    credentials = Credentials(1, "abcde12345", "e56eb966-a55f-4087-bc7d-e66df1f377a1")
    serialized = TerminateRequest(**TERMINATE_REQUEST).SerializeToString()
    request = route.parse(serialized)
    body = route.encode(request)
    response = route.classify(request, ANSWER).response

    def whole() -> bytes:
        received = route.parse(serialized)
        route.validate(received)
        credentials.headers(route.encode(received))
        return route.classify(received, ANSWER).response.SerializeToString()

    steps: dict[str, Callable[[], object]] = {
        "parse": lambda: route.parse(serialized),
        "validate": lambda: route.validate(request),
        "encode": lambda: route.encode(request),
        "sign": lambda: credentials.headers(body),
        "classify": lambda: route.classify(request, ANSWER),
        "serialize": response.SerializeToString,
    }
    print(f"pure part of one call, CPU microseconds, best of {ROUNDS} rounds of {CALLS}")
    for name, step in steps.items():
        print(f"  {name:<10}{best_us(step):6.1f}", flush=True)
    total_us = best_us(whole)
    print(f"  {'whole':<10}{total_us:6.1f}  (target: under {TARGET_US:.0f})")
    return 0 if total_us < TARGET_US else 1


if __name__ == "__main__":
    sys.exit(main())
