"""Wrong calls, and what a bridge shows to observers: limits, deadlines, and that reflection can be off."""

from typing import Any

import pytest

from bridge.sandbox.behaviours import hang, terminated
from bridge.sandbox.operations import TERMINATE_REQUEST
from bridge.sandbox.server import FaultServer
from tests.support.engines import on_both_engines
from tests.support.whole_path import PATIENCE_S, Caller, End, Failure, bridge_to, end_of

pytestmark = on_both_engines

INVALID = ("INVALID_ARGUMENT", "INVALID_REQUEST", "NOT_SENT")
REQUIRED = "is required"
TOO_LONG = "is longer than 4096 bytes"
METHOD = "/wallet.v1.WalletService/Terminate"


@pytest.mark.parametrize("name", TERMINATE_REQUEST)
async def test_unset_field(name: str) -> None:
    """A REQUIRED field that is unset is named in BadRequest, and nothing is sent."""
    unset = {name: type(TERMINATE_REQUEST[name])()}
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url) as caller:
        end = await caller.terminate(**unset)
        assert wallet.connections == 0
    Failure(*INVALID, violations=((name, REQUIRED),), attempts=0).check(end)


async def test_every_violation_is_listed() -> None:
    """BadRequest lists every field that is unset or too long, in one answer."""
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url) as caller:
        end = await caller.terminate("é" * 2049, player_id=0, currency="", game_id="x" * 4097)
    found = (("player_id", REQUIRED), ("currency", REQUIRED), ("token", TOO_LONG), ("game_id", TOO_LONG))
    Failure(*INVALID, violations=found, attempts=0).check(end)


@pytest.mark.parametrize("request_bytes", [b"\xff\xff\xff", b"\x0a\x02\xff\xfe"], ids=["malformed", "invalid UTF-8"])
async def test_bytes_that_are_no_request(request_bytes: bytes) -> None:
    """Bytes that are no TerminateRequest are INVALID_REQUEST like any other bad request, with details."""
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url) as caller:
        end = await raw_call(caller, request_bytes)
        assert wallet.connections == 0
    text = "the request is no wallet.v1.TerminateRequest: it is malformed, or a string in it is not UTF-8"
    Failure(*INVALID, violations=(("", text),), attempts=0).check(end)


async def raw_call(caller: Caller, request_bytes: bytes, method: str = METHOD) -> End:
    """Send these bytes as a request."""
    send: Any = caller.channel.unary_unary(method)
    return await end_of(send(request_bytes))


async def test_unknown_provider() -> None:
    """A provider_id without credentials is PROVIDER_NOT_CONFIGURED, and nothing is sent."""
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url) as caller:
        end = await caller.terminate(provider_id=999)
        assert wallet.connections == 0
    Failure("FAILED_PRECONDITION", "PROVIDER_NOT_CONFIGURED", "NOT_SENT", attempts=0).check(end)


async def test_message_over_64_kib() -> None:
    """A request over 64 KiB is refused by the server's own limit."""
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url) as caller:
        end = await raw_call(caller, bytes(64 * 1024 + 1))
        assert (end.code, wallet.connections) == ("RESOURCE_EXHAUSTED", 0)


async def test_metadata_over_16_kib() -> None:
    """Metadata over 16 KiB is refused by the server's own limit."""
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url) as caller:
        end = await caller.terminate(metadata=(("x-large", "x" * 17 * 1024),))
        assert (end.code, wallet.connections) == ("RESOURCE_EXHAUSTED", 0)


async def test_unknown_method() -> None:
    """A method that no proto declares is UNIMPLEMENTED."""
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url) as caller:
        assert (await raw_call(caller, b"", "/wallet.v1.WalletService/Debit")).code == "UNIMPLEMENTED"


async def test_deadline_too_short() -> None:
    """A deadline with less than the minimum after the margin is refused before anything is sent."""
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url) as caller:
        # The channel is connected first, so that the short deadline meets the bridge and not a handshake.
        assert (await caller.terminate()).code == "OK"
        end = await caller.terminate(timeout_s=0.069)
        assert len(wallet.requests) == 1
    assert end.code == "DEADLINE_EXCEEDED"
    # Should the caller's own clock win the race, then no status arrives; what matters is that nothing was sent.
    if end.details:
        Failure("DEADLINE_EXCEEDED", "DEADLINE_TOO_SHORT", "NOT_SENT", attempts=0).check(end)


async def test_default_deadline() -> None:
    """A call without a deadline gets the bridge's default."""
    limits = {"WALLET__DEADLINE_DEFAULT_S": "0.3"}
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url, limits) as caller:
        # The connection to the wallet is there first, so that the short deadline meets the wallet's silence.
        assert (await caller.terminate(timeout_s=PATIENCE_S)).code == "OK"
        wallet.behaviour = hang
        end = await caller.terminate()
    Failure("DEADLINE_EXCEEDED", "WALLET_TIMEOUT", "UNKNOWN").check(end)


async def test_deadline_is_capped() -> None:
    """A deadline of an hour is cut to the bridge's maximum."""
    limits = {"WALLET__DEADLINE_DEFAULT_S": "1", "WALLET__DEADLINE_MAX_S": "1"}
    async with FaultServer(hang) as wallet, bridge_to(wallet.url, limits) as caller:
        end = await caller.terminate(timeout_s=3600)
    Failure("DEADLINE_EXCEEDED", "WALLET_TIMEOUT", "UNKNOWN").check(end)


async def test_reflection_can_be_off() -> None:
    """With server.reflection = false there is none."""
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url, {"SERVER__REFLECTION": "false"}) as caller:
        for version in ("v1", "v1alpha"):
            method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
            assert (await raw_call(caller, b"", method)).code == "UNIMPLEMENTED"
