"""The call's side of settlement in virtual time: no call waits for the store longer than it may."""

import asyncio
from collections.abc import Sequence

import pytest

from bridge.errors import WalletEchoMismatch, WalletTimeout
from bridge.events import Event, SettlementNotWritten
from bridge.outcome import Outcome
from bridge.server.handlers import SERVICES
from bridge.settlement.entry import Added, State, WriteOrder
from bridge.settlement.intake import WAIT_S, Intake
from bridge.settlement.known import Known
from bridge.settlement.writer import Writer
from bridge.settlement.written import Write
from bridge.settling import Sending, Ticket
from bridge.transcoding.operation import operations
from tests.support.inline_store import InlineStore
from tests.support.settlement_calls import KEYS
from tests.support.virtual_time import virtually

TERMINATE = next(each for each in operations(SERVICES[0]) if each.method == "Terminate")


class SlowStore(InlineStore):
    """A store that takes its time to write."""

    write_s = 0.0

    async def write(self, writes: Sequence[Write], order: WriteOrder | None = None) -> list[Added | None]:
        """Write late."""
        await asyncio.sleep(self.write_s)
        return await super().write(writes, order)


class Scene:
    """An intake with a store that takes so long, and a writer that runs."""

    def __init__(self, write_s: float, *, before: bool = False, entries_max: int = 100) -> None:
        self.clock = asyncio.get_running_loop().time
        self.store = SlowStore(self.clock)
        self.store.write_s = write_s
        self.events: list[Event] = []
        self.confirmed: list[str] = []
        self.blocked: list[str] = []
        self.writer = Writer(self.store, lambda _: None, lambda: None, lambda _: None, entries_max)
        self.intake = Intake(
            *(self.writer, KEYS, Known(), self.events.append, lambda _: None, self.confirmed.append),
            *(self.blocked.append, self.blocked.remove),
            settles_failed=False,
            writes_before=before,
        )
        self.task = asyncio.create_task(self.writer.run())

    def ticket(self, body: bytes = b"{}") -> Ticket:
        """Return the ticket of a call."""
        return self.intake.ticket(Sending(TERMINATE, 1, "call", b"request", body, "print", (), None))

    async def end(self) -> None:
        """End the writer."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.mark.parametrize(
    ("write_s", "is_reported"), [(0.0, True), (WAIT_S - 0.001, True), (WAIT_S + 0.001, False), (3600.0, False)]
)
@virtually
async def test_a_call_waits_no_longer_than_it_may(write_s: float, *, is_reported: bool) -> None:
    """50 ms: what the store has confirmed by then is reported, and the write goes on behind what is not."""
    scene = Scene(write_s)
    assert await scene.ticket().failed(WalletTimeout()) is is_reported
    assert scene.clock() == pytest.approx(min(write_s, 0.05), abs=1e-6)
    await asyncio.sleep(write_s)
    assert len((await scene.store.page(10)).entries) == 1
    await scene.end()


@virtually
async def test_while_the_store_fails_no_call_waits() -> None:
    """Neither before a call is sent nor at its end."""
    scene = Scene(3600.0, before=True)
    scene.writer.is_failing = True
    ticket = scene.ticket()
    await ticket.before_send(1.0)
    assert not await ticket.failed(WalletTimeout())
    assert scene.clock() == 0.0
    await scene.end()


@virtually
async def test_a_call_that_was_written_before_is_reported_at_once() -> None:
    """Its entry falls due by itself, whatever becomes of the second write."""
    scene = Scene(0.01, before=True)
    ticket = scene.ticket()
    await ticket.before_send(1.0)
    scene.store.write_s = 3600.0
    began = scene.clock()
    assert await ticket.failed(WalletTimeout())
    assert scene.clock() == began
    await scene.end()


@pytest.mark.parametrize(("outcome", "entries"), [(Outcome.UNKNOWN, 1), (Outcome.NOT_SENT, 0)])
@virtually
async def test_a_call_that_is_cut_off(outcome: Outcome, entries: int) -> None:
    """A cancelled task is settled where its outcome is UNKNOWN, and leaves nothing where it is certain."""
    scene = Scene(0.0, before=True)
    ticket = scene.ticket()
    await ticket.before_send(1.0)
    ticket.cut_off(outcome)
    await asyncio.sleep(1.0)
    assert len((await scene.store.page(10)).entries) == entries
    await scene.end()


@virtually
async def test_what_finds_no_room_is_reported() -> None:
    """The call is not answered PENDING, and people can find it."""
    scene = Scene(3600.0, entries_max=1)
    assert not await scene.ticket(b"1").failed(WalletTimeout())
    assert not await scene.ticket(b"2").failed(WalletTimeout())
    (lost,) = [event for event in scene.events if isinstance(event, SettlementNotWritten)]
    assert (lost.call_id, lost.reason, lost.token_fingerprint) == ("call", "WALLET_TIMEOUT", "print")
    await scene.end()


@virtually
async def test_a_success_confirms_the_open_entry_of_its_request_alone() -> None:
    """The same request's entry, once; another request's stays."""
    scene = Scene(0.0)
    assert await scene.ticket(b"1").failed(WalletTimeout())
    assert await scene.ticket(b"2").failed(WalletTimeout())
    await asyncio.sleep(0)
    second, first = (await scene.store.page(10)).entries
    scene.ticket(b"1").succeeded()
    scene.ticket(b"1").succeeded()
    assert scene.confirmed == [first.entry_id]
    assert second.entry_id not in scene.confirmed
    await scene.end()


@pytest.mark.parametrize("is_held", [True, False], ids=["its own entry", "an earlier call's entry"])
@virtually
async def test_another_tokens_answer_blocks_the_entry_until_the_store_knows(*, is_held: bool) -> None:
    """The settler of this process must not send the request while the write that rejects it waits."""
    scene = Scene(0.0, before=is_held)
    ticket = scene.ticket()
    if is_held:
        await ticket.before_send(1.0)
    else:
        assert await scene.ticket().failed(WalletTimeout())
    (entry,) = (await scene.store.page(10)).entries
    scene.store.write_s = 5.0
    assert not await ticket.failed(WalletEchoMismatch())
    assert scene.blocked == [entry.entry_id]
    await asyncio.sleep(10.0)
    assert scene.blocked == []
    (entry,) = (await scene.store.page(10)).entries
    assert (entry.state, entry.never_repeat) == (State.REJECTED, True)
    await scene.end()


@virtually
async def test_another_tokens_answer_without_an_entry_blocks_nothing() -> None:
    """There is nothing that the settler could send: the call's own write makes the entry, REJECTED at once."""
    scene = Scene(0.0)
    assert not await scene.ticket().failed(WalletEchoMismatch())
    assert scene.blocked == []
    await scene.end()
