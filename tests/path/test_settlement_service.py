"""SettlementService over sockets: what it answers, and to whom."""

import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from cryptography import x509

from bridge.sandbox.behaviours import reset_with, terminated
from bridge.sandbox.server import FaultServer
from bridge.settlement.entry import State
from tests.support.certificates import Authority
from tests.support.engines import on_both_engines
from tests.support.processes import unmeasured
from tests.support.random_wallet import abort
from tests.support.serving import channel_to, listening_bridge, tls_settings
from tests.support.settling_bridge import SettlingBridge, patient_calls, settings_of, settled
from tests.support.whole_path import bridge_to, end_of, terminate_request
from wallet.v1 import settlement_service_pb2 as pb
from wallet.v1.settlement_service_pb2_grpc import SettlementServiceStub
from wallet.v1.wallet_error_pb2 import Settlement
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

SECRET = "token-that-must-stay-secret"
INTERNAL_ERROR = 2


async def refused(call: Any) -> tuple[str, str]:
    """Return code and text of a question that is not answered."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call
    return refusal.value.code().name, refusal.value.details() or ""


async def pages(bridge: SettlingBridge, size: int, state: Any = 0) -> list[list[str]]:
    """Return the entry ids of all pages."""
    found, token = list[list[str]](), ""
    while True:
        page = await bridge.stub.ListSettlements(
            pb.ListSettlementsRequest(page_size=size, page_token=token, state=state)
        )
        found.append([entry.entry_id for entry in page.entries])
        token = page.next_page_token
        if not token:
            return found


@on_both_engines
async def test_all_entries_are_listed_in_pages(tmp_path: Path) -> None:
    """Newest first, each once, by state where one is asked for, and without anything secret."""
    # In any order: the settler may be sooner with the first entry than the caller with the last call.
    async with settled(reset_with(INTERNAL_ERROR), tmp_path) as bridge:
        for number in range(5):
            await bridge.caller.terminate(f"{SECRET}-{number}", metadata=(("x-request-id", f"call-{number}"),))
        kept = [entry.entry_id for entry in await bridge.entries()]
        assert await pages(bridge, 2) == [kept[:2], kept[2:4], kept[4:]]
        assert await pages(bridge, 100) == [kept]
        assert await pages(bridge, 0) == [kept]
        assert await pages(bridge, 10_000) == [kept]
        assert await pages(bridge, 10, Settlement.SETTLEMENT_CLOSED) == [[]]
        page = await bridge.stub.ListSettlements(pb.ListSettlementsRequest())
        assert [list(entry.call_ids) for entry in page.entries] == [[f"call-{number}"] for number in (4, 3, 2, 1, 0)]
        assert {entry.operation for entry in page.entries} == {"wallet.v1.WalletService/Terminate"}
        assert SECRET not in str(page)


MALFORMED: dict[str, tuple[str, Any, str]] = {
    "no call_id": ("GetSettlement", pb.GetSettlementRequest(), "call_id must be"),
    "call_id with a space": ("GetSettlement", pb.GetSettlementRequest(call_id="a b"), "call_id must be"),
    "call_id too long": ("GetSettlement", pb.GetSettlementRequest(call_id="a" * 65), "call_id must be"),
    "page_size below 0": ("ListSettlements", pb.ListSettlementsRequest(page_size=-1), "page_size must be"),
    "unknown page_token": ("ListSettlements", pb.ListSettlementsRequest(page_token="x"), "page_token must be"),
    "unknown state": ("ListSettlements", pb.ListSettlementsRequest(state=99), "state must be"),  # type: ignore[arg-type]
}


@on_both_engines
@pytest.mark.parametrize(("method", "request_", "text"), MALFORMED.values(), ids=MALFORMED)
async def test_a_question_that_cannot_be_answered(method: str, request_: Any, text: str, tmp_path: Path) -> None:
    """INVALID_ARGUMENT, with the field and what it must be."""
    async with settled(terminated, tmp_path) as bridge:
        code, said = await refused(getattr(bridge.stub, method)(request_))
        assert code == "INVALID_ARGUMENT"
        assert said.startswith(text)


@on_both_engines
async def test_what_is_not_there_proves_nothing(tmp_path: Path) -> None:
    """NOT_FOUND for a call_id that is not settled; what is no message at all is INVALID_ARGUMENT."""
    async with settled(terminated, tmp_path) as bridge:
        code, said = await refused(bridge.get("unknown"))
        assert (code, "proves nothing" in said) == ("NOT_FOUND", True)
        bare: Any = bridge.caller.channel.unary_unary("/wallet.v1.SettlementService/GetSettlement")
        assert (await refused(bare(b"\xff")))[0] == "INVALID_ARGUMENT"


@on_both_engines
async def test_a_call_id_that_was_used_twice(tmp_path: Path) -> None:
    """The newest entry is returned, and how many there are."""
    async with settled(abort, tmp_path) as bridge:
        for token in ("one", "two", "three"):
            await bridge.caller.terminate(token, metadata=(("x-request-id", "again"),))
        newest = (await bridge.until_states(*[State.PENDING] * 3))[0]
        reported = await bridge.get("again")
        assert (reported.count, reported.entry.entry_id) == (3, newest.entry_id)
        assert reported.entry.HasField("due_time")
        assert not reported.entry.HasField("end_time")


@on_both_engines
async def test_a_store_that_fails_is_unavailable(tmp_path: Path) -> None:
    """No answer says anything about the store."""
    settings = {"SETTLEMENT__STORE": f"sqlite://{tmp_path}/missing/settlement.db"}
    async with settled(terminated, tmp_path, settings) as bridge:
        code, said = await refused(bridge.get("call"))
        assert code == "UNAVAILABLE"
        assert str(tmp_path) not in said


@on_both_engines
async def test_without_settlement_there_is_no_such_service() -> None:
    """UNIMPLEMENTED, on either engine."""
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url) as caller:
        stub: Any = SettlementServiceStub(caller.channel)
        assert (await refused(stub.GetSettlement(pb.GetSettlementRequest(call_id="a"))))[0] == "UNIMPLEMENTED"


@pytest.mark.long
def test_without_settlement_nothing_of_it_is_imported(tmp_path: Path) -> None:
    """Off costs nothing: neither the command nor a server that runs has any of its modules, nor a database library."""
    code = """
import asyncio, sys
import bridge.cli.main
from bridge.server.app import running
from bridge.settings.model import load

async def main():
    environ = {"BRIDGE_WALLET__URL": "http://127.0.0.1:9", "BRIDGE_WALLET__ALLOW_PLAINTEXT": "true",
        "BRIDGE_SERVER__LISTEN": "127.0.0.1:0", "BRIDGE_WALLET__PROVIDERS__1__ACCESS_KEY": "a",
        "BRIDGE_WALLET__PROVIDERS__1__PRIVATE_KEY": "e56eb966-a55f-4087-bc7d-e66df1f377a1"}
    async with running(load(None, environ)):
        pass

asyncio.run(main())
print(sorted(name for name in sys.modules if name.startswith(("bridge.settlement", "sqlite3", "redis"))))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=unmeasured(), capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


GAMES, OTHERS, OPS = ("spiffe://cluster.local/ns/games/sa/slots", "spiffe://cluster.local/ns/games/sa/c", "ops.example")


@dataclass(frozen=True)
class Callers:
    """A bridge with mutual TLS and settlement, and a channel for each identity."""

    channels: Mapping[str, grpc.aio.Channel]

    def stub(self, name: str) -> Any:
        """Return SettlementService as this identity reaches it."""
        return SettlementServiceStub(self.channels[name])

    async def get(self, name: str, call_id: str) -> pb.GetSettlementResponse:
        """Ask as this identity what came of a call."""
        response: pb.GetSettlementResponse = await self.stub(name).GetSettlement(
            pb.GetSettlementRequest(call_id=call_id)
        )
        return response

    async def list(self, name: str) -> pb.ListSettlementsResponse:
        """List as this identity."""
        response: pb.ListSettlementsResponse = await self.stub(name).ListSettlements(pb.ListSettlementsRequest())
        return response


@asynccontextmanager
async def callers(wallet: FaultServer, folder: Path, *, calls: str = "", lists: str = "") -> AsyncIterator[Callers]:
    """Run a bridge that lets these identities call, and list."""
    authority = Authority(folder, "ca")
    identities = {
        GAMES: authority.client("games", x509.UniformResourceIdentifier(GAMES)),
        OTHERS: authority.client("others", x509.UniformResourceIdentifier(OTHERS)),
        OPS: authority.client("ops", x509.DNSName(OPS)),
    }
    settings = {
        **tls_settings(authority.server("server"), authority.ca_file, calls),
        **settings_of(folder),
        **({"SETTLEMENT__ALLOWED_IDENTITIES": lists} if lists else {}),
    }
    async with listening_bridge(wallet.url, settings) as bridge, AsyncExitStack() as stack:
        stack.enter_context(patient_calls())
        channels = {
            name: await stack.enter_async_context(channel_to(bridge.address, authority.ca_file, identity))
            for name, identity in identities.items()
        }
        yield Callers(channels)


async def call(channel: grpc.aio.Channel, token: str, call_id: str) -> None:
    """Make a call that ends PENDING."""
    stub: Any = WalletServiceStub(channel)
    end = await end_of(stub.Terminate(terminate_request(token), metadata=(("x-request-id", call_id),)))
    assert end.wallet_error.settlement == Settlement.SETTLEMENT_PENDING


async def test_a_call_is_reported_to_the_identity_that_made_it(tmp_path: Path) -> None:
    """To anybody else there is no such call, though the request is the same and shares an entry."""
    async with FaultServer(abort) as wallet, callers(wallet, tmp_path) as each:
        await call(each.channels[GAMES], "token", "call-of-games")
        await call(each.channels[OTHERS], "token", "call-of-others")
        reported = await each.get(GAMES, "call-of-games")
        assert list(reported.entry.call_ids) == ["call-of-games"]
        assert list((await each.get(OTHERS, "call-of-others")).entry.call_ids) == ["call-of-others"]
        for name, call_id in ((OTHERS, "call-of-games"), (GAMES, "call-of-others"), (OPS, "call-of-games")):
            assert (await refused(each.get(name, call_id)))[0] == "NOT_FOUND"
        assert [len(entry.call_ids) for entry in (await each.list(OPS)).entries] == [2]


LISTS: dict[str, tuple[str, str, set[str]]] = {
    "neither list": ("", "", {GAMES, OTHERS, OPS}),
    "calls alone": (f"{GAMES},{OTHERS}", "", set()),
    "settlements alone": ("", OPS, {OPS}),
    "both": (f"{GAMES},{OTHERS}", OPS, {OPS}),
    "a pattern": (GAMES, "spiffe://cluster.local/ns/games/sa/*", {GAMES, OTHERS}),
}


@pytest.mark.parametrize(("calls", "lists", "allowed"), LISTS.values(), ids=LISTS)
async def test_who_may_list(calls: str, lists: str, allowed: set[str], tmp_path: Path) -> None:
    """Where calls have a list of identities and settlements have none, no one may."""
    async with FaultServer(terminated) as wallet, callers(wallet, tmp_path, calls=calls, lists=lists) as each:
        for name in (GAMES, OTHERS, OPS):
            if name in allowed:
                assert list((await each.list(name)).entries) == []
            else:
                assert (await refused(each.list(name)))[0] == "PERMISSION_DENIED"


async def test_who_may_not_call_may_not_ask(tmp_path: Path) -> None:
    """Get is for callers: an identity that may list alone is refused."""
    async with FaultServer(terminated) as wallet, callers(wallet, tmp_path, calls=GAMES, lists=OPS) as each:
        assert (await refused(each.get(OPS, "call")))[0] == "PERMISSION_DENIED"
        assert (await refused(each.get(GAMES, "call")))[0] == "NOT_FOUND"
