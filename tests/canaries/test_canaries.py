"""No secret comes out of a bridge, at DEBUG, through everything that can happen: the last row of docs/design/faults.md.

One run, and one test for each place where its secrets could have come out. It starts some twenty processes, so that
`make test` leaves it to `make check`.
"""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from bridge.errors import REASONS
from bridge.telemetry.fingerprint import Fingerprint
from tests.canaries.bridges import alone, settling, with_tls, workers
from tests.canaries.commands import before_the_sandbox, commands
from tests.canaries.record import Record
from tests.support.canaries import CANARIES, found_in

# All of it happens before the first test: 20 seconds of CPU, minutes on a busy machine.
pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

AT_ONCE = 3
"""More processes that start side by side than a small machine has cores wait for one another beyond all patience."""

EVIDENCE: dict[str, tuple[str, ...]] = {
    "log": ("call ended", "attempt ended", "reload failed", "BRIDGE_DRAINING", "is_detached", '"stopped"'),
    "log, of workers": ("call ended", "attempt ended", "reload failed", "worker ended", "stopped"),
    "log, with TLS": ("CALLER_NOT_ALLOWED", "server.tls_key_file", "wallet.client_key_file", '"stopped"'),
    "log, before the sandbox": ("WALLET_ENDPOINT", "WALLET_ECHO_MISMATCH", "WALLET_RESPONSE_INVALID", "WALLET_TIMEOUT"),
    "log, with settlement": ("call ended", '"PENDING"', '"SETTLED"', "reload failed", '"stopped"'),
    "metrics": ("wallet_bridge_calls_total", 'reason="WALLET_REJECTED"', "wallet_bridge_reload_failures_total"),
    "metrics, of workers": ("wallet_bridge_calls_total", "wallet_bridge_worker_restarts_total 1.0"),
    "metrics, with settlement": ("wallet_bridge_settlement_entries", "wallet_bridge_calls_total"),
    "spans, with settlement": ("wallet.v1.WalletService/Terminate", "WALLET_CONNECTION_LOST"),
    "settlement store": ("settlement.db", "wallet.v1.WalletService/Terminate"),
    "settlement list": ('"state"', '"SETTLED"'),
    "spans, of workers": ("wallet.v1.WalletService/Terminate", "POST /api/wallet/terminate", "WALLET_CONNECTION_LOST"),
    "statuses": ("WALLET_REJECTED", "wallet.v1.WalletError", "request_id"),
    "health": ("SERVING",),
    "files left behind": (),
    "command lines": ("serve\0--check", "doctor", "serve\0--worker"),
    "doctor": ("ok ",),
    "doctor, as JSON": ('"level"',),
    "serve --check": ('wallet.providers.3.private_key = "********"',),
    "settings that are refused": ("wallet.providers.3.private_key: ", "wallet.url: ", "telemetry.fingerprint_key: "),
    "sandbox": ("POST /api/wallet/terminate: 200 (success)", "test-auth-rejected"),
    "call": ("code: 1", "request_id: "),
    "call --json": ('"WALLET_AUTH_REJECTED"',),
    "call --dry-run": ("authorization: Basic ********", "x-request-signature: "),
}
"""The places where something is said, and words that must be among it."""

SHOWN_BY_CALL = frozenset({"token", "player"})
"""What `bridge call` gets as arguments, and what the answer echoes: it is for its caller."""


async def _everything(folder: Path) -> Record:
    """Let everything happen, side by side, each in a folder of its own; return what was said."""
    record = Record()
    at_once = asyncio.Semaphore(AT_ONCE)

    async def play(part: Callable[[Record, Path], Awaitable[None]]) -> None:
        async with at_once:
            own = folder / part.__name__
            own.mkdir()
            await part(record, own)

    async with asyncio.TaskGroup() as tasks:
        for part in (before_the_sandbox, workers, settling, alone, with_tls, commands):
            tasks.create_task(play(part))
    return record


@pytest.fixture(scope="module")
def what_was_said(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """Let everything happen, once for all tests."""
    record = asyncio.run(_everything(tmp_path_factory.mktemp("canaries")))
    assert record.said.keys() <= EVIDENCE.keys(), "each place is searched"
    return record


@pytest.mark.parametrize("place", EVIDENCE)
def test_no_secret_comes_out(what_was_said: Record, place: str) -> None:
    """No key, token, player, signature or authorization, in no form, nor what a caller or the collector may know."""
    shown = SHOWN_BY_CALL if place.startswith("call") else frozenset[str]()
    secrets = {name: secret for name, secret in what_was_said.secrets.items() if name not in shown}
    found = found_in(what_was_said.said[place], secrets.values())
    assert [name for name, secret in secrets.items() if secret in found] == []


@pytest.mark.parametrize("place", EVIDENCE)
def test_there_was_something_to_search(what_was_said: Record, place: str) -> None:
    """Each place has said what it is there for."""
    text = what_was_said.said[place].decode(errors="replace")
    assert [word for word in EVIDENCE[place] if word not in text] == [], text[-2_000:]


def test_every_failure_was_among_them(what_was_said: Record) -> None:
    """Every reason there is was sent to a caller, but for the one that needs a fault of the bridge's own."""
    reported = {end.error_info.reason for end in what_was_said.ends if "ErrorInfo" in end.details}
    assert REASONS - reported == {"BRIDGE_FAULT"}


def test_every_secret_was_in_use(what_was_said: Record) -> None:
    """Requests were signed with the keys of each place, old and new; fingerprints and batches of spans have theirs."""
    users = {
        base64.b64encode(f"{provider}:{CANARIES[name]}".encode()).decode()
        for provider, name in (
            (1, "access key"),
            (1, "new access key"),
            (2, "access key"),
            (3, "access key in the environment"),
        )
    }
    assert {
        dict(request.headers)["authorization"].removeprefix("Basic ") for request in what_was_said.received
    } == users
    for log, key in (
        ("log", "fingerprint key"),
        ("log, of workers", "fingerprint key in the environment"),
    ):
        fingerprint = Fingerprint(CANARIES[key].encode())(f"{CANARIES['token']}-0")
        assert fingerprint.encode() in what_was_said.said[log]
    assert all(CANARIES["collector key"].encode() in head for head in what_was_said.heads)


SECRET = CANARIES["private key"]

DISGUISES = {
    "as it is": SECRET.encode(),
    "without dashes": SECRET.replace("-", "").encode(),
    "hex": SECRET.encode().hex().encode(),
    "HEX": SECRET.encode().hex().upper().encode(),
    "base64": base64.b64encode(SECRET.encode()),
    "base64 of more around it": base64.b64encode(f"1:{SECRET}:".encode()),
    "base64 of more before it": base64.b64encode(f"12:{SECRET}".encode()),
    "base64 for URLs": base64.urlsafe_b64encode(f"?>:{SECRET}".encode()),
    "for URLs": quote(CANARIES["bad new access key"]).encode(),
    "for URLs, all of it": "".join(f"%{byte:02X}" for byte in SECRET.encode()).encode(),
    "JSON": json.dumps(CANARIES["bad new access key"]).encode(),
    "JSON, all of it": "".join(f"\\u{ord(character):04x}" for character in SECRET).encode(),
    "backwards": SECRET[::-1].encode(),
    "escaped": repr(CANARIES["bad new access key"]).encode(),
}


@pytest.mark.parametrize("text", DISGUISES.values(), ids=DISGUISES)
def test_the_search_sees_through(text: bytes) -> None:
    """The search finds a secret in every form."""
    assert found_in(b"some text, " + text + b", more text", CANARIES.values())
