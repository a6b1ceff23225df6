"""A bridge with settlement on a SQLite store, before a wallet of the test's own, and what it reports."""

import base64
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bridge.events import Event, SettlementChanged
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour
from bridge.settlement import intake
from bridge.settlement.entry import Entry, State
from bridge.settlement.sqlite import SqliteStore
from tests.support.whole_path import NO_SETTINGS, PATIENCE_S, Caller, bridge_to, until
from wallet.v1 import settlement_service_pb2 as pb
from wallet.v1.settlement_service_pb2_grpc import SettlementServiceStub


@contextmanager
def patient_calls() -> Iterator[None]:
    """Let calls wait for the store for longer than 50 ms: what is reported must not depend on the machine's load."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intake, "WAIT_S", PATIENCE_S)
        yield


@dataclass(frozen=True)
class SettlingBridge:
    """A bridge with settlement, a caller, and a second look into its store."""

    wallet: FaultServer
    caller: Caller
    store: SqliteStore
    events: list[Event] = field(default_factory=list)

    async def get(self, call_id: str) -> pb.GetSettlementResponse:
        """Ask what came of a call."""
        response: pb.GetSettlementResponse = await self.stub.GetSettlement(pb.GetSettlementRequest(call_id=call_id))
        return response

    @property
    def stub(self) -> Any:
        """Of SettlementService, on the channel of the calls."""
        return SettlementServiceStub(self.caller.channel)

    async def entries(self) -> tuple[Entry, ...]:
        """Return what the store holds, newest first."""
        return (await self.store.page(100)).entries

    async def until_states(self, *states: State) -> tuple[Entry, ...]:
        """Wait until the store holds entries in exactly these states, newest first; return them."""
        found: tuple[Entry, ...] = await until(
            self.entries, lambda entries: tuple(entry.state for entry in entries) == states
        )
        return found

    def changes(self) -> list[str]:
        """Return the states that were reported, oldest first."""
        return [event.state for event in self.events if isinstance(event, SettlementChanged)]


def settings_of(folder: Path, **settings: str) -> dict[str, str]:
    """Return the settings of settlement on a store in this folder: SETTLE="failed" and so on."""
    (folder / "settlement.key").write_bytes(base64.b64encode(bytes(range(32))))
    return {
        "SETTLEMENT__STORE": f"sqlite://{folder}/settlement.db",
        "SETTLEMENT__KEY_FILE": str(folder / "settlement.key"),
        **{f"SETTLEMENT__{name}": value for name, value in settings.items()},
    }


@asynccontextmanager
async def settled(
    behaviour: Behaviour, folder: Path, settings: Mapping[str, str] = NO_SETTINGS, **section: str
) -> AsyncIterator[SettlingBridge]:
    """Run a bridge with settlement and its wallet, which does this."""
    events: list[Event] = []
    settings = {**settings_of(folder, **section), **settings}
    store = SqliteStore(folder / "settlement.db")
    async with FaultServer(behaviour) as wallet, AsyncExitStack() as stack:
        stack.enter_context(patient_calls())
        caller = await stack.enter_async_context(bridge_to(wallet.url, settings, emit=events.append))
        stack.push_async_callback(store.close)
        yield SettlingBridge(wallet, caller, store, events)
