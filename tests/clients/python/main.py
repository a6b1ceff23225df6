"""Runs the cases of cases.json and prints what each ends with, as the samples in all languages do.

Usage: main.py FOLDER, where run.py has written cases.json, bridges.json and the service configs.
"""

import io
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from terminate import Answer, Failure, Next, connect, terminate

from wallet.v1.wallet_error_pb2 import Outcome, WalletError
from wallet.v1.wallet_service_pb2 import TerminateRequest


def main() -> None:
    """Run every case in its order."""
    # The terminal's encoding is the machine's; what is compared is UTF-8.
    cast("io.TextIOWrapper", sys.stdout).reconfigure(encoding="utf-8")
    folder = Path(sys.argv[1])
    bridges = json.loads((folder / "bridges.json").read_text())
    for case in json.loads((folder / "cases.json").read_text()):
        run(case, bridges[case["bridge"]], (folder / f"{case['config']}.json").read_text())


Case = Mapping[str, Any]


def run(case: Case, address: str, config: str) -> None:
    """Make a case's calls, one after the other on a channel of its own, and print how they end."""
    request = TerminateRequest(
        token=case["token"],
        player_id=int(case["playerId"]),
        site_id=int(case["siteId"]),
        provider_id=int(case["providerId"]),
        game_id=case["gameId"],
        currency=case["currency"],
    )
    with connect(address, config, case["keepaliveMs"] / 1000) as channel:
        if case["warm"]:
            end_text(case, terminate(channel, warm_up(request), 20))
        time.sleep(case["idleMs"] / 1000)
        ends = Counter(
            end_text(case, terminate(channel, request, case["deadlineMs"] / 1000, case["requestId"]))
            for _ in range(case["calls"])
        )
    print(f"# {case['name']}")
    for text, count in ends.items():
        print(text if case["calls"] == 1 else f"{count} x {text}")


def warm_up(request: TerminateRequest) -> TerminateRequest:
    """Return a call that connects and loads everything, so that the case's own calls are timed alone."""
    warming = TerminateRequest()
    warming.CopyFrom(request)
    warming.token = "warm"
    return warming


def end_text(case: Case, end: Answer | Failure) -> str:
    """Return how a call ended."""
    return failure_text(end, case) if isinstance(end, Failure) else success_text(end, case)


def success_text(answer: Answer, case: Case) -> str:
    """Return what a typed answer says."""
    response = answer.response
    balance = response.balance.value if response.HasField("balance") else "-"
    return (
        f"OK code={response.code} token={response.token} player_id={response.player_id} site_id={response.site_id} "
        f"provider_id={response.provider_id} game_id={response.game_id} balance={balance} "
        f"call_id={call_id(answer.call_id, case)}\n-> {Next.DONE.name}"
    )


def failure_text(failure: Failure, case: Case) -> str:
    """Return what a failure says."""
    wallet = failure.wallet or WalletError()
    code = wallet.code if wallet.HasField("code") else "-"
    domain = failure.info.domain if failure.info else ""
    cause = failure.info.metadata.get("cause", "") if failure.info else ""
    retry_after_ms = failure.retry.retry_delay.ToMilliseconds() if failure.retry else "-"
    return (
        f"{failure.code.name} {wallet.reason} outcome={Outcome.Name(wallet.outcome)} code={code} "
        f"http_status={wallet.http_status} attempts={wallet.attempts}\n"
        f"   domain={domain or '-'} cause={cause or '-'} retry_after_ms={retry_after_ms} "
        f"request_id={request_id(failure, wallet)} call_id={failed_call_id(failure, wallet, case)}\n"
        f"-> {failure.next.name}"
    )


def request_id(failure: Failure, wallet: WalletError) -> str:
    """Say whose id RequestInfo carries: the wallet's, else the call's. The values are others in every run."""
    reported = failure.request.request_id if failure.request else ""
    if reported != (wallet.request_id or wallet.call_id):
        return "differs"
    if not reported:
        return "-"
    return "given" if wallet.request_id else "call_id"


def failed_call_id(failure: Failure, wallet: WalletError, case: Case) -> str:
    """Say whose id the call has, the same in the trailer and in both details that carry it."""
    in_info = failure.info.metadata.get("call_id", "") if failure.info else ""
    return call_id(failure.call_id, case) if failure.call_id == wallet.call_id == in_info else "differs"


def call_id(reported: str, case: Case) -> str:
    """Say whose id it is: sent with the case, made by the bridge, or none."""
    if not reported:
        return "-"
    return "sent" if reported == case["requestId"] else "made"


if __name__ == "__main__":
    main()
