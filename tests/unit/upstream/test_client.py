"""The wallet's client by itself: what a transport proves decides, and a foreign transport is never believed blindly."""

import ssl
from typing import NoReturn

import httpx
import pytest
from h2.errors import ErrorCodes

from bridge.deadline import Deadline
from bridge.errors import WalletConnectionLost, WalletNotProcessed, WalletTimeout, WalletUnreachable
from bridge.http2.transport import Http2Transport
from bridge.outcome import BridgeError, WalletFacts
from bridge.sandbox.behaviours import answer, reset_with
from bridge.sandbox.server import FaultServer
from bridge.server.handlers import SERVICES
from bridge.transcoding.operation import operations
from bridge.transcoding.verdict import Answer, Verdict
from bridge.upstream.client import Post, WalletClient
from bridge.upstream.retry import RetryBudget, RetryPolicy
from bridge.upstream.signing import Credentials, KeyVersions
from tests.support.forms import NEEDS_SOURCES
from tests.support.ports import reserved_address
from tests.support.whole_path import PATIENCE_S
from wallet.v1.wallet_service_pb2 import TerminateResponse

TERMINATE = operations(SERVICES[0])[0]
POST = Post(TERMINATE, b"{}", KeyVersions(Credentials(1, "access", "private")))


class ForeignTransport(httpx.AsyncBaseTransport):
    """Any httpx transport: its errors carry no outcome."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def handle_async_request(self, _request: httpx.Request) -> NoReturn:
        """Fail."""
        raise self.error


def accept(_answer: Answer) -> Verdict:
    """Take any answer for a success."""
    return Verdict(TerminateResponse(), WalletFacts(), (), 0)


def patient_transport() -> Http2Transport:
    """Return a transport that connects also where the machine is busy for longer than the default timeout."""
    return Http2Transport(ssl.create_default_context(), connect_timeout_s=PATIENCE_S)


async def failure_of(client: WalletClient) -> BridgeError:
    """Make one call and return the error that it must end with."""
    with pytest.raises(BridgeError) as raised:
        await client.call(POST, accept, Deadline.after(PATIENCE_S))
    await client.aclose()
    return raised.value


FOREIGN = {
    "ConnectError": (httpx.ConnectError("x"), WalletConnectionLost),
    "ReadError": (httpx.ReadError("x"), WalletConnectionLost),
    "RemoteProtocolError": (httpx.RemoteProtocolError("x"), WalletConnectionLost),
    "PoolTimeout": (httpx.PoolTimeout("x"), WalletTimeout),
    "TimeoutError": (TimeoutError("x"), WalletTimeout),
}


@pytest.mark.parametrize(("error", "expected"), FOREIGN.values(), ids=FOREIGN)
async def test_foreign_transport_proves_nothing(error: Exception, expected: type[BridgeError]) -> None:
    """An error that carries no outcome is UNKNOWN, also one that sounds harmless."""
    found = await failure_of(WalletClient(ForeignTransport(error), "https://wallet.example"))
    assert type(found) is expected
    assert found.attempts == 1


async def test_no_foreign_text_in_the_chain() -> None:
    """The error that leads out of the process carries no foreign exception, whose text may hold anything."""
    found = await failure_of(WalletClient(ForeignTransport(httpx.ReadError("secret")), "https://wallet.example"))
    assert found.__cause__ is None
    assert found.__suppress_context__


async def test_name_that_does_not_resolve() -> None:
    """A host name that does not resolve is WALLET_UNREACHABLE, cause dns, after three attempts."""
    # Longer than DNS allows, so that the resolver says no by itself and no query leaves this machine.
    host = ".".join(["label-of-a-name-that-is-too-long-for-dns"] * 8)
    found = await failure_of(WalletClient(patient_transport(), f"https://{host}"))
    assert isinstance(found, WalletUnreachable)
    assert (found.cause, found.attempts) == ("dns", 3)


async def test_retry_budget_is_shared_by_calls() -> None:
    """Once the budget is spent, a call that fails gets no retry: retries must not multiply the load."""
    retries = RetryPolicy(RetryBudget(capacity=10))
    with reserved_address() as address:
        client = WalletClient(patient_transport(), f"http://{address}", retries=retries)
        with pytest.raises(WalletUnreachable) as first:
            await client.call(POST, accept, Deadline.after(PATIENCE_S))
        assert (first.value.attempts, retries.budget.tokens) == (3, 0)
        assert (await failure_of(client)).attempts == 1


async def test_success_pays_into_the_budget() -> None:
    """A success returns its share to the budget."""
    retries = RetryPolicy(RetryBudget(capacity=10))
    retries.budget.spend()
    async with FaultServer(answer(200)) as wallet:
        client = WalletClient(patient_transport(), wallet.url, retries=retries)
        _, attempts = await client.call(POST, accept, Deadline.after(PATIENCE_S))
        await client.aclose()
    assert (attempts, retries.budget.tokens) == (1, 6)


@NEEDS_SOURCES
async def test_no_retry_past_the_deadline() -> None:
    """A retry whose delay does not fit into the deadline is not made: the error that is known comes at once."""

    class Unhurried(RetryPolicy):
        """Would wait for an hour before the next attempt."""

        def delay_s(
            self,
            _error: BridgeError,
            _attempts: int,
            *,
            idempotent: bool,
            provider_id: int = 0,  # noqa: ARG002 - the interface's own name
            left_s: float = 0.0,  # noqa: ARG002 - likewise
        ) -> float | None:
            """Return an hour."""
            return 3600.0 * idempotent

    async with FaultServer(reset_with(ErrorCodes.REFUSED_STREAM)) as wallet:
        client = WalletClient(patient_transport(), wallet.url, retries=Unhurried())
        found = await failure_of(client)
        assert len(wallet.requests) == 1
    assert (type(found), found.attempts) == (WalletNotProcessed, 1)


@pytest.mark.parametrize("prefix", ["", "/v2", "/v2/"])
async def test_url_prefix(prefix: str) -> None:
    """A path in wallet.url stands before the operation's path."""
    async with FaultServer(answer(200)) as wallet:
        client = WalletClient(patient_transport(), wallet.url + prefix)
        await client.call(POST, accept, Deadline.after(PATIENCE_S))
        await client.aclose()
        (received,) = wallet.requests
    assert dict(received.headers)[":path"] == f"{prefix.rstrip('/')}/api/wallet/terminate"
