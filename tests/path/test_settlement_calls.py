"""Settlement in the call path, over sockets: which calls are taken over, what callers see, what becomes of them."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bridge.events import CallEnded, SettlementNotWritten, SettlementStore, SettlementStoreFailed
from bridge.sandbox.behaviours import answer, by_token, hang, reset_with, sequence, terminated, terminated_with
from bridge.sandbox.stream import Behaviour
from bridge.settlement.entry import State
from bridge.settlement.running import REFUSED
from tests.support.engines import current, on_both_engines
from tests.support.ports import reserved_address
from tests.support.random_wallet import abort, wallet_says
from tests.support.settling_bridge import settings_of, settled
from tests.support.whole_path import NO_SETTINGS, End, terminate_request, until
from wallet.v1.wallet_error_pb2 import Settlement
from wallet.v1.wallet_service_pb2_grpc import WalletServiceStub

pytestmark = [on_both_engines, pytest.mark.short("grpcio")]

SOON = {"WALLET__DEADLINE_DEFAULT_S": "2"}
"""The bridge gives up soon on a call before a wallet that hangs, though not before it has connected, on a busy machine
too; its caller, who says no deadline, does not."""

INTERNAL_ERROR = 2
REFUSED_STREAM = 7
LOST_ALONE = reset_with(INTERNAL_ERROR)
"""Ends a call UNKNOWN, and no other: a TCP reset would end what the settler has under way on the connection, too, and
that token would be terminated again."""


def is_reported(end: End) -> bool:
    """Say whether the caller was informed that the bridge goes on, in every place where it is reported."""
    reported = end.wallet_error.settlement == Settlement.SETTLEMENT_PENDING
    assert (end.error_info.metadata.get("settlement") == "PENDING") is reported
    if reported:
        assert "wallet-safe-to-repeat" not in end.trailers
        # The native engine cannot send it.
        assert end.trailers.get("grpc-retry-pushback-ms") == ("-1" if current() == "grpcio" else None)
    return reported


UNKNOWN: dict[str, tuple[Behaviour, str]] = {
    "no answer in time": (hang, "WALLET_TIMEOUT"),
    "stream reset": (reset_with(INTERNAL_ERROR), "WALLET_CONNECTION_LOST"),
    "TCP reset": (abort, "WALLET_CONNECTION_LOST"),
    "gateway error": (answer(502, b"<html>", ()), "WALLET_GATEWAY_ERROR"),
    "code 2": (wallet_says(500, code=2), "WALLET_UNKNOWN_ERROR"),
    "5xx with an unknown code": (wallet_says(500, code=9), "WALLET_REJECTED"),
    "not JSON": (answer(200, b"OK"), "WALLET_RESPONSE_INVALID"),
}


@pytest.mark.parametrize(("behaviour", "reason"), UNKNOWN.values(), ids=UNKNOWN)
async def test_what_ends_unknown_is_settled(behaviour: Behaviour, reason: str, tmp_path: Path) -> None:
    """The caller is answered PENDING, the bridge asks again by itself, and the caller can ask what came of it."""
    settings = SOON if behaviour is hang else NO_SETTINGS
    async with settled(sequence(behaviour, terminated), tmp_path, settings) as bridge:
        end = await bridge.caller.terminate("token-1", metadata=(("x-request-id", "call-1"),))
        assert (end.wallet_error.reason, is_reported(end)) == (reason, True)
        (entry,) = await bridge.until_states(State.SETTLED)
        assert [request.token for request in bridge.wallet.requests] == ["token-1", "token-1"]
        assert bridge.wallet.processed == ["token-1"]
        reported = await bridge.get("call-1")
        assert (reported.count, reported.entry.state, reported.entry.attempts) == (1, Settlement.SETTLEMENT_SETTLED, 1)
        assert (reported.entry.entry_id, list(reported.entry.call_ids)) == (entry.entry_id, ["call-1"])
        assert entry.ciphertext == b""
        assert bridge.changes() == ["PENDING", "SETTLED"]
        (ended,) = [event for event in bridge.events if isinstance(event, CallEnded)]
        assert ended.is_pending


CERTAIN: dict[str, Behaviour] = {
    "OK": terminated,
    "rejected": wallet_says(400, code=7),
    "throttled": wallet_says(429, code=8),
    "unavailable": wallet_says(503, code=8),
    "keys refused": wallet_says(401, code=8),
    "refused stream": reset_with(REFUSED_STREAM),
    "no such endpoint": answer(404, b"<html>", ()),
}


@pytest.mark.parametrize("behaviour", CERTAIN.values(), ids=CERTAIN)
@pytest.mark.parametrize("durability", ["unknown", "before"])
@pytest.mark.short("grpcio-before", "grpcio-unknown-OK")
async def test_what_ends_for_certain_leaves_nothing(behaviour: Behaviour, durability: str, tmp_path: Path) -> None:
    """No entry, nothing reported, and nothing sent again, also where the call was written down before it was sent."""
    async with settled(behaviour, tmp_path, DURABILITY=durability) as bridge:
        end = await bridge.caller.terminate()
        assert end.code == "OK" or not is_reported(end)
        await bridge.until_states()
        sent = len(bridge.wallet.requests)
        await asyncio.sleep(0.3)  # there is nothing that could be waited for
        assert len(bridge.wallet.requests) == sent
        assert bridge.changes() == []


async def test_an_answer_about_another_player_is_never_retried(tmp_path: Path) -> None:
    """WALLET_ECHO_MISMATCH is kept as REJECTED for a person to see; its call is not reported as PENDING."""
    async with settled(terminated_with(token="other"), tmp_path) as bridge:
        assert not is_reported(await bridge.caller.terminate("token-1"))
        (entry,) = await bridge.until_states(State.REJECTED)
        assert (entry.never_repeat, entry.last.reason) == (True, "WALLET_ECHO_MISMATCH")
        # A further call of the same request attaches to it.
        assert not is_reported(await bridge.caller.terminate("token-1"))
        await asyncio.sleep(1.2)  # there is nothing that could be waited for
        assert len(bridge.wallet.requests) == 2
        assert len(await bridge.entries()) == 1


FAILED: dict[str, tuple[Behaviour | None, str]] = {
    "unreachable": (None, "WALLET_UNREACHABLE"),
    "not processed": (reset_with(REFUSED_STREAM), "WALLET_NOT_PROCESSED"),
    "throttled": (wallet_says(429, code=8), "WALLET_THROTTLED"),
    "unavailable": (wallet_says(503, code=8), "WALLET_UNAVAILABLE"),
}


@pytest.mark.parametrize("settle", ["unknown", "failed"])
@pytest.mark.parametrize(("behaviour", "reason"), FAILED.values(), ids=FAILED)
async def test_what_failed_is_settled_where_that_is_wanted(
    behaviour: Behaviour | None, reason: str, settle: str, tmp_path: Path
) -> None:
    """With settle = "failed" these are taken over too; then nothing says any more that retrying is the caller's."""
    with reserved_address() as address:
        url = {"WALLET__URL": f"http://{address}"} if behaviour is None else {}
        async with settled(behaviour or terminated, tmp_path, url, SETTLE=settle) as bridge:
            end = await bridge.caller.terminate()
            assert (end.wallet_error.reason, is_reported(end)) == (reason, settle == "failed")
            await bridge.until_states(*([State.PENDING] if settle == "failed" else []))
            if settle == "unknown" and end.code == "UNAVAILABLE":
                assert end.trailers["wallet-safe-to-repeat"] == "true"


async def test_the_bridges_own_refusals_are_never_settled(tmp_path: Path) -> None:
    """A bridge that has no room for a call does not take it over instead."""
    full = {"SERVER__MAX_IN_FLIGHT": "1", "SERVER__MAX_QUEUED": "0"}
    async with settled(hang, tmp_path, full, SETTLE="failed") as bridge:
        held = asyncio.create_task(bridge.caller.terminate("held", timeout_s=5.0))
        await bridge.wallet.until(lambda: len(bridge.wallet.requests) == 1)
        end = await bridge.caller.terminate("refused")
        assert (end.wallet_error.reason, is_reported(end)) == ("BRIDGE_OVERLOADED", False)
        end = await bridge.caller.terminate("unknown provider", provider_id=999)
        assert (end.wallet_error.reason, is_reported(end)) == ("PROVIDER_NOT_CONFIGURED", False)
        assert await bridge.entries() == ()
        held.cancel()


@pytest.mark.parametrize("durability", ["unknown", "before"])
async def test_a_caller_may_refuse_it(durability: str, tmp_path: Path) -> None:
    """With wallet-settle: never the call ends as without settlement, and nothing is written."""
    async with settled(sequence(abort, terminated), tmp_path, DURABILITY=durability) as bridge:
        end = await bridge.caller.terminate(metadata=(("wallet-settle", "never"),))
        assert (end.wallet_error.outcome, is_reported(end)) == (4, False)
        assert await bridge.entries() == ()


@pytest.mark.short
async def test_calls_whose_caller_has_left_are_settled(tmp_path: Path) -> None:
    """No caller is answered, but the token must die all the same."""
    async with settled(sequence(hang, terminated), tmp_path, SOON) as bridge:
        stub: Any = WalletServiceStub(bridge.caller.channel)
        call = stub.Terminate(terminate_request("left"), metadata=(("x-request-id", "left-1"),))
        await bridge.wallet.until(lambda: len(bridge.wallet.requests) == 1)
        call.cancel()
        await bridge.until_states(State.SETTLED)
        assert (await bridge.get("left-1")).entry.state == Settlement.SETTLEMENT_SETTLED
        assert bridge.wallet.processed == ["left"]
        (ended,) = [event for event in bridge.events if isinstance(event, CallEnded)]
        assert (ended.is_detached, ended.outcome) == (True, "UNKNOWN")


async def test_calls_of_one_request_share_an_entry(tmp_path: Path) -> None:
    """Ten callers who retry make one entry, and every one of them is informed; another player's is another one."""
    async with settled(abort, tmp_path) as bridge:
        ends = await asyncio.gather(*(bridge.caller.terminate("same") for _ in range(10)))
        assert all(map(is_reported, ends))
        assert is_reported(await bridge.caller.terminate("same", player_id=2))
        newest, oldest = await bridge.entries()
        assert {call.call_id for call in oldest.calls} == {end.call_id for end in ends}
        assert len(newest.calls) == 1


@pytest.mark.parametrize("durability", ["unknown", "before"])
async def test_a_callers_own_success_settles_earlier_calls(durability: str, tmp_path: Path) -> None:
    """A caller that retries by hand and is answered OK has ended the matter: the bridge does not ask again."""
    unreachable_after = {"WALLET__CODES__9__GRPC": "UNAVAILABLE", "WALLET__CODES__9__REASON": "LATER"}
    async with settled(
        sequence(abort, wallet_says(400, code=9), terminated), tmp_path, unreachable_after, DURABILITY=durability
    ) as bridge:
        assert is_reported(await bridge.caller.terminate("token-1"))
        # The settler is answered "later" once, and waits.
        await bridge.wallet.until(lambda: len(bridge.wallet.requests) >= 2)
        assert (await bridge.caller.terminate("token-1")).code == "OK"
        await bridge.until_states(State.SETTLED)


async def test_before_a_call_is_written_ahead_of_its_first_byte(tmp_path: Path) -> None:
    """While the wallet is at work the entry stands, held for its call; after the end it is due."""
    async with settled(
        sequence(hang, terminated), tmp_path, {"WALLET__DEADLINE_DEFAULT_S": "2"}, DURABILITY="before"
    ) as bridge:
        call = asyncio.create_task(bridge.caller.terminate("token-1"))
        await bridge.wallet.until(lambda: len(bridge.wallet.requests) == 1)
        (entry,) = await bridge.entries()
        assert entry.state is State.PENDING
        assert 4.0 < entry.due - entry.read_at < 2.0 + 5.0
        assert is_reported(await call)
        await bridge.until_states(State.SETTLED)
        assert bridge.wallet.processed == ["token-1"]


async def test_the_next_bridge_goes_on(tmp_path: Path) -> None:
    """What one bridge has written another settles, though the first has never had an answer."""
    async with settled(hang, tmp_path, SOON) as bridge:
        assert is_reported(await bridge.caller.terminate("token-1"))
    async with settled(terminated, tmp_path) as bridge:
        await bridge.until_states(State.SETTLED)
        assert bridge.wallet.processed == ["token-1"]


async def test_a_store_that_cannot_be_reached_harms_no_call(tmp_path: Path) -> None:
    """The bridge starts and serves; no caller gets PENDING; what waits in memory is written when the store is there."""
    folder = tmp_path / "missing"
    settings = {**settings_of(tmp_path), "SETTLEMENT__STORE": f"sqlite://{folder}/settlement.db"}
    async with settled(sequence(abort, terminated), tmp_path, settings) as bridge:
        began = time.monotonic()
        end = await bridge.caller.terminate("token-1")
        assert (end.wallet_error.outcome, is_reported(end)) == (4, False)
        assert time.monotonic() - began < 5.0
        assert [event.is_failing for event in bridge.events if isinstance(event, SettlementStore)] == [True]
        folder.mkdir()
        await until(bridge.changes, lambda changes: changes == ["PENDING", "SETTLED"])
        assert bridge.wallet.processed == ["token-1"]


async def test_a_write_that_the_store_refuses_holds_no_other_up(tmp_path: Path) -> None:
    """SQLite itself refuses one call's entry and takes all others: they are settled, and that call is logged."""
    tokens = [f"token-{number}" for number in range(3)]
    lost_once = {token: sequence(LOST_ALONE, terminated) for token in tokens}
    async with settled(by_token({"token-refused": abort, **lost_once}), tmp_path) as bridge:
        with closing(sqlite3.connect(tmp_path / "settlement.db")) as file:
            file.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON entries WHEN NEW.provider_id = '12345' "
                "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            )
        call = asyncio.create_task(bridge.caller.terminate("token-refused", provider_id=12345))
        await until(lambda: any(isinstance(each, SettlementStoreFailed) for each in bridge.events))
        others = [await bridge.caller.terminate(token) for token in tokens]
        await bridge.until_states(*[State.SETTLED] * 3)
        assert sorted(bridge.wallet.processed) == tokens
        refused = await call
        (lost,) = [each for each in bridge.events if isinstance(each, SettlementNotWritten)]
    assert (lost.call_id, lost.cause) == (refused.call_id, REFUSED)
    assert not is_reported(refused)
    assert {end.wallet_error.outcome for end in (refused, *others)} == {4}


async def test_an_end_that_the_store_refuses_holds_no_other_up(tmp_path: Path) -> None:
    """SQLite itself refuses that one entry becomes SETTLED: the others do, and no token is terminated twice."""
    tokens = [f"token-{number}" for number in range(4)]
    lost_once = {token: sequence(LOST_ALONE, terminated) for token in tokens}
    async with settled(by_token(lost_once), tmp_path) as bridge:
        with closing(sqlite3.connect(tmp_path / "settlement.db")) as file:
            file.execute(
                "CREATE TRIGGER refuse BEFORE UPDATE ON entries "
                "WHEN NEW.state = 'SETTLED' AND NEW.provider_id = '12345' "
                "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            )
        await bridge.caller.terminate(tokens[0], provider_id=12345)
        await until(lambda: any(isinstance(each, SettlementStoreFailed) for each in bridge.events))
        for token in tokens[1:]:
            await bridge.caller.terminate(token)
        await bridge.until_states(*[State.SETTLED] * 3, State.PENDING)
        assert sorted(bridge.wallet.processed) == tokens


async def test_what_stays_unwritten_is_logged_at_the_end(tmp_path: Path) -> None:
    """One line for each call, by which people find it; no token in it."""
    settings = {**settings_of(tmp_path), "SETTLEMENT__STORE": f"sqlite://{tmp_path}/never there/settlement.db"}
    async with settled(abort, tmp_path, settings) as bridge:
        ends = [await bridge.caller.terminate(f"token-{number}") for number in range(3)]
    lost = [event for event in bridge.events if isinstance(event, SettlementNotWritten)]
    assert [event.call_id for event in lost] == [end.call_id for end in ends]
    assert all(event.token_fingerprint and "token-" not in str(event) for event in lost)
