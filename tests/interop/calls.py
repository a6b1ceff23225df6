"""Calls of the matrix: what is asked, the exact body that must reach the wallet, and how each call ended."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.serving import serving
from tests.support.whole_path import End, end_of, terminate_request
from wallet.v1.wallet_error_pb2 import Outcome
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

PATIENT_S = 15.0
"""The deadline of a call that has nothing to fear but a busy machine."""
SHORT_S = 0.5
"""The deadline of a call that is to expire."""
# Both ends of uint64's range that a float would lose, and text of two, three and four bytes a character.
_FIELDS: Mapping[str, Any] = {
    "player_id": 2**64 - 1,
    "site_id": 2**53 + 1,
    "provider_id": 1,
    "game_id": "jeu d'été 東京 🎲",
    "currency": "EUR",
}


@dataclass(frozen=True)
class Ended:
    """A call and its end."""

    token: str
    code: str
    """gRPC's name of the status."""
    outcome: str = ""
    """NOT_SENT, NOT_PROCESSED, REJECTED or UNKNOWN; "" for OK."""
    reason: str = ""
    is_healthy: bool = True
    """False: it was made to expire."""


def body(token: str) -> bytes:
    """Return the exact bytes that must reach the wallet for a call with this token."""
    return json.dumps({"token": token, **_FIELDS}, ensure_ascii=False, separators=(",", ":")).encode()


Terminate = Callable[..., Any]
"""Makes a call: token, and timeout_s by name."""


async def make(terminate: Terminate, token: str, *, timeout_s: float = PATIENT_S) -> Ended:
    """Make one call with fields that a careless encoder would spoil."""
    return ended(token, await terminate(token, timeout_s=timeout_s, **_FIELDS))


def ended(token: str, end: End) -> Ended:
    """Return what the matrix keeps of a call's end."""
    if end.code == "OK":
        return Ended(token, "OK")
    if "WalletError" not in end.details:
        late = end.code == "DEADLINE_EXCEEDED"
        return Ended(
            token, end.code, "", "WALLET_TIMEOUT (details too late)" if late else f"{end.code} without details"
        )
    error = end.wallet_error
    cause = end.error_info.metadata.get("cause", "")
    reason = f"{error.reason} ({cause})" if cause else error.reason
    return Ended(token, end.code, Outcome.Name(error.outcome).removeprefix("OUTCOME_"), reason)


@asynccontextmanager
async def bridge_process(url: str, settings: Mapping[str, str]) -> AsyncIterator[Terminate]:
    """Run `bridge serve` before this wallet and return what calls it."""
    async with serving(url, settings) as (command, channel):
        # Read on, or the pipe fills.
        reading = asyncio.create_task(command.end())
        try:
            stub = WalletServiceStub(channel)

            async def terminate(token: str, *, timeout_s: float, **fields: Any) -> End:
                return await end_of(stub.Terminate(terminate_request(token, **fields), timeout=timeout_s))

            yield terminate
        finally:
            command.process.kill()
            await reading
