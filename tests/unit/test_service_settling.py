"""The hooks of settlement in the call path: when a call has a ticket, and what reaches its ticket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from bridge.outcome import BridgeError, Outcome
from bridge.sandbox.behaviours import answer, hang, terminated
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour, Stream
from bridge.service import BridgeService, Watchers
from bridge.settling import Sending
from bridge.upstream.client import WalletClient
from tests.support.whole_path import TOKEN
from tests.unit.test_service import KEYRING, PATIENT, REQUEST, ROUTE, transport_to_wallet


class Recorder:
    """A ticket, and the settlement that gave it: both remember what reached them."""

    is_on = True
    reserve_s = 0.0

    def __init__(self, *, writes_before: bool = False, needs_successes: bool = False) -> None:
        self.writes_before = writes_before
        self.needs_successes = needs_successes
        self.sendings: list[Sending] = []
        self.seen: list[object] = []

    def ticket(self, sending: Sending) -> "Recorder":
        """Return itself as a ticket."""
        self.sendings.append(sending)
        return self

    async def before_send(self, remaining_s: float) -> None:
        """Remember that the call is about to be sent."""
        self.seen.append(("before", remaining_s > 0))

    async def failed(self, error: BridgeError) -> bool:
        """Remember the failure, and take it over."""
        self.seen.append(error.outcome)
        return True

    def cut_off(self, outcome: Outcome) -> None:
        """Remember the outcome."""
        self.seen.append(("cut off", outcome))

    def succeeded(self) -> None:
        """Remember the success."""
        self.seen.append("success")


class Wallet:
    """A wallet that remembers the bodies it was sent, and then behaves."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.bodies: list[bytes] = []
        self._behaviour = behaviour

    async def __call__(self, stream: Stream) -> None:
        """Answer one request."""
        self.bodies.append(stream.request.body)
        await self._behaviour(stream)


@asynccontextmanager
async def service_of(recorder: Recorder, wallet: Wallet) -> AsyncIterator[BridgeService]:
    """Put a service together whose fingerprints are the token backwards."""
    async with FaultServer(wallet) as server:
        client = WalletClient(transport_to_wallet(), server.url)
        watchers = Watchers(fingerprint=lambda token: token[::-1])
        yield BridgeService(KEYRING, client, PATIENT, watchers, settling=recorder)
        await client.aclose()


CASES: dict[str, tuple[Behaviour, dict[str, bool], list[object]]] = {
    "nothing was written": (terminated, {}, []),
    "its success matters": (terminated, {"needs_successes": True}, ["success"]),
    "written before": (terminated, {"writes_before": True, "needs_successes": True}, [("before", True), "success"]),
    "a failure": (answer(500), {}, [Outcome.UNKNOWN]),
    "a failure, written before": (answer(500), {"writes_before": True}, [("before", True), Outcome.UNKNOWN]),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_call_has_a_ticket_where_settlement_needs_it(case: str) -> None:
    """One at most, and none for a success that concerns nothing: what it holds is what was sent."""
    behaviour, needs, expected = CASES[case]
    recorder, wallet = Recorder(**needs), Wallet(behaviour)
    async with service_of(recorder, wallet) as service:
        with suppress(BridgeError):
            await service.handle(ROUTE, REQUEST, None, call_id="the call")
    assert (len(recorder.sendings), recorder.seen) == (bool(expected), expected)
    for sending in recorder.sendings:
        assert (sending.request, sending.body, sending.call_id) == (REQUEST, wallet.bodies[0], "the call")
        assert (sending.operation, sending.provider_id, sending.fingerprint) == (ROUTE.operation, 1, TOKEN[::-1])


async def test_a_call_that_is_cut_off_has_a_ticket_too() -> None:
    """Its task was cancelled twice after it was sent: settlement learns that its outcome is UNKNOWN."""
    recorder, asked = Recorder(), asyncio.Event()

    async def asks_and_hangs(stream: Stream) -> None:
        asked.set()
        await hang(stream)

    async with service_of(recorder, Wallet(asks_and_hangs)) as service:
        call = asyncio.create_task(service.handle(ROUTE, REQUEST, None))
        await asked.wait()
        for _ in range(2):
            call.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([call])
    assert recorder.seen == [("cut off", Outcome.UNKNOWN)]


async def test_a_refused_call_has_no_ticket() -> None:
    """It was never about to be sent: there is nothing to settle, whatever settlement needs."""
    recorder = Recorder(writes_before=True, needs_successes=True)
    async with service_of(recorder, Wallet(terminated)) as service:
        service.admission.refuse()
        with pytest.raises(BridgeError):
            await service.handle(ROUTE, REQUEST, None)
    assert (recorder.sendings, recorder.seen) == ([], [])


async def test_a_fingerprint_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """The call is settled and answered all the same, without the fingerprint; the log says where it failed, once."""

    def broken(token: str) -> str:
        raise ValueError(token)

    recorder = Recorder(writes_before=True, needs_successes=True)
    async with service_of(recorder, Wallet(terminated)) as service:
        service._watchers = Watchers(fingerprint=broken)
        await service.handle(ROUTE, REQUEST, None)
    assert [sending.fingerprint for sending in recorder.sendings] == [""]
    assert caplog.text.count("ValueError at service.py:") == 1
    assert TOKEN not in caplog.text
