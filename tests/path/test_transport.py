"""What becomes of a call when the way to the wallet breaks: real sockets, real TLS, and never a wrong promise."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from h2.errors import ErrorCodes

from bridge.sandbox.behaviours import (
    answer,
    drip,
    hang,
    processed,
    refuse,
    reset_with,
    sequence,
    terminated,
)
from bridge.sandbox.server import FaultServer
from bridge.sandbox.stream import Behaviour, Stream
from tests.support.certificates import Certificates
from tests.support.dead_addresses import closing_server, silent_server
from tests.support.engines import on_both_engines
from tests.support.ports import reserved_address
from tests.support.whole_path import PATIENCE_S, Caller, Failure, bridge_to

pytestmark = [on_both_engines, pytest.mark.short("grpcio")]

UNREACHABLE = ("UNAVAILABLE", "WALLET_UNREACHABLE", "NOT_SENT")
LOST = Failure("UNKNOWN", "WALLET_CONNECTION_LOST", "UNKNOWN")
SOON = {"WALLET__DEADLINE_DEFAULT_S": "0.5"}
"""A deadline of the bridge's alone: its caller waits for what it says, however busy the machine is."""
TIMEOUT = Failure("DEADLINE_EXCEEDED", "WALLET_TIMEOUT", "UNKNOWN")
NOT_PROCESSED = Failure("UNAVAILABLE", "WALLET_NOT_PROCESSED", "NOT_PROCESSED", attempts=3)


@asynccontextmanager
async def secure_bridge(wallet: FaultServer, ca_file: Path) -> AsyncIterator[Caller]:
    """Run a bridge that trusts this CA."""
    async with bridge_to(wallet.url, {"WALLET__CA_FILE": str(ca_file)}) as caller:
        yield caller


async def test_refused() -> None:
    """A port where no process listens gives WALLET_UNREACHABLE, cause refused, after three attempts."""
    with reserved_address() as address:
        async with bridge_to(f"http://{address}") as caller:
            Failure(*UNREACHABLE, cause="refused", attempts=3).check(await caller.terminate())


async def test_reset_before_http2() -> None:
    """A wallet that hangs up at once gives NOT_SENT or UNKNOWN, by how far the request came: never an answer."""
    async with closing_server() as wallet, bridge_to(wallet.url) as caller:
        end = await caller.terminate()
        # Which of the two is a race between our first bytes and the FIN, and both are true.
        assert end.error_info.reason in {"WALLET_UNREACHABLE", "WALLET_CONNECTION_LOST"}
        assert wallet.requests == []


async def test_client_certificate(certificates: Certificates) -> None:
    """A wallet that demands a client certificate gets the configured one; without it nothing is sent."""
    tls = certificates.server.server_context(client_ca_file=certificates.ca_file)
    async with FaultServer(terminated, tls=tls) as wallet:
        settings = {
            "WALLET__CA_FILE": str(certificates.ca_file),
            "WALLET__CLIENT_CERTIFICATE_FILE": str(certificates.client.certificate_file),
            "WALLET__CLIENT_KEY_FILE": str(certificates.client.key_file),
        }
        async with bridge_to(wallet.url, settings) as caller:
            assert (await caller.terminate()).code == "OK"
        async with secure_bridge(wallet, certificates.ca_file) as caller:
            end = await caller.terminate()
            # With TLS 1.3 the server's no comes after our side of the handshake, with an alert or without.
            assert (end.error_info.reason, end.error_info.metadata["outcome"]) == UNREACHABLE[1:]
            assert len(wallet.requests) == 1


@pytest.mark.parametrize("alpn", [["http/1.1"], []], ids=["http/1.1 only", "no ALPN"])
async def test_http2_required(certificates: Certificates, alpn: list[str]) -> None:
    """A server that does not agree to HTTP/2 is refused before a byte of the request leaves, in one attempt."""
    async with (
        FaultServer(terminated, tls=certificates.server.server_context(alpn)) as wallet,
        secure_bridge(wallet, certificates.ca_file) as caller,
    ):
        Failure(*UNREACHABLE, cause="http2_required").check(await caller.terminate())
        assert (wallet.connections, wallet.received_bytes) == (1, 0)


async def test_tls_handshake_stalls(certificates: Certificates) -> None:
    """A server that accepts and says nothing ends in the connect time-out: WALLET_UNREACHABLE, cause timeout."""
    async with silent_server() as wallet:
        url = f"https://127.0.0.1:{wallet.port}"
        settings = {"WALLET__CA_FILE": str(certificates.ca_file), "WALLET__CONNECT_TIMEOUT_S": "0.1"}
        async with bridge_to(url, settings) as caller:
            Failure(*UNREACHABLE, cause="timeout", attempts=3).check(await caller.terminate())


async def test_deadline_while_connecting(certificates: Certificates) -> None:
    """A deadline that passes before the connection stands is NOT_SENT: the wallet cannot have seen the request."""
    async with silent_server() as wallet:
        url = f"https://127.0.0.1:{wallet.port}"
        settings = SOON | {"WALLET__CA_FILE": str(certificates.ca_file), "WALLET__CONNECT_TIMEOUT_S": "30"}
        async with bridge_to(url, settings) as caller:
            end = await caller.terminate()
            Failure(*UNREACHABLE, cause="timeout").check(end)


async def test_refused_stream_once_is_invisible() -> None:
    """A stream that is refused once is retried with the same bytes; the caller sees OK."""
    async with FaultServer(refuse(1)) as wallet, bridge_to(wallet.url) as caller:
        assert (await caller.terminate()).code == "OK"
        assert len(wallet.processed) == 1
        assert len({request.body for request in wallet.requests}) == 1


async def test_refused_stream_always() -> None:
    """A stream that is always refused is WALLET_NOT_PROCESSED after three attempts."""
    async with FaultServer(reset_with(ErrorCodes.REFUSED_STREAM)) as wallet, bridge_to(wallet.url) as caller:
        NOT_PROCESSED.check(await caller.terminate())
        assert (len(wallet.requests), wallet.processed) == (3, [])


async def goaway_without_us(stream: Stream) -> None:
    """Promise that this stream was not processed."""
    stream.connection.goaway(0)
    await stream.closed.wait()


async def test_goaway_below_our_stream_is_invisible() -> None:
    """GOAWAY with last stream 0 proves that nothing was processed: the call is retried on a new connection."""
    async with FaultServer(sequence(goaway_without_us, terminated)) as wallet, bridge_to(wallet.url) as caller:
        assert (await caller.terminate()).code == "OK"
        assert (wallet.connections, len(wallet.processed)) == (2, 1)


async def half_an_answer_then_reset(stream: Stream) -> None:
    """Reset the stream in the middle of the body."""
    await stream.respond(200, b'{"status":true', end=False)
    stream.reset(ErrorCodes.INTERNAL_ERROR)


async def half_an_answer_then_gone(stream: Stream) -> None:
    """Cut the TCP connection in the middle of the body."""
    await stream.respond(200, b'{"status":true', end=False)
    await stream.connection.drain()
    stream.connection.abort()


async def connection_gone(stream: Stream) -> None:
    """Cut the TCP connection before the headers."""
    stream.connection.abort()


async def connection_closed(stream: Stream) -> None:
    """Close the TCP connection before the headers."""
    stream.connection.close()


LOSSES: dict[str, Behaviour] = {
    **{f"RST_STREAM {code.name}": reset_with(code) for code in ErrorCodes if code is not ErrorCodes.REFUSED_STREAM},
    "RST_STREAM in the body": half_an_answer_then_reset,
    "TCP reset before headers": connection_gone,
    "FIN before headers": connection_closed,
    "TCP reset in the body": half_an_answer_then_gone,
    "content-length too long": answer(200, b"{}", (("content-length", "9"),)),
}


NAMED_CAUSES = {"RST_STREAM HTTP_1_1_REQUIRED": "http2_required"}


@pytest.mark.parametrize(("name", "behaviour"), LOSSES.items(), ids=LOSSES)
async def test_connection_lost(name: str, behaviour: Behaviour) -> None:
    """A stream or connection that breaks after the first byte is WALLET_CONNECTION_LOST and is not retried."""
    async with FaultServer(processed(behaviour)) as wallet, bridge_to(wallet.url) as caller:
        replace(LOST, cause=NAMED_CAUSES.get(name, "")).check(await caller.terminate())
        assert len(wallet.processed) == 1
        wallet.behaviour = terminated
        assert (await caller.terminate()).code == "OK"


@pytest.mark.parametrize("behaviour", [hang, drip(b"{" * 1000, 0.02)], ids=["no answer", "one byte at a time"])
async def test_timeout(behaviour: Behaviour) -> None:
    """An answer that is not complete at the deadline is WALLET_TIMEOUT, and its details still reach the caller."""
    async with FaultServer(terminated) as wallet, bridge_to(wallet.url, SOON) as caller:
        # The connection is there first: a deadline that passes before it is another failure.
        assert (await caller.terminate(timeout_s=PATIENCE_S)).code == "OK"
        wallet.behaviour = processed(behaviour)
        TIMEOUT.check(await caller.terminate())
        assert len(wallet.processed) == 2


@pytest.mark.parametrize("allowed", [True, False])
async def test_unknown_is_retried_only_with_leave(*, allowed: bool) -> None:
    """With wallet.retry_unknown a lost Terminate is retried, the same bytes; without it never."""
    behaviour = processed(sequence(connection_gone, terminated))
    async with (
        FaultServer(behaviour) as wallet,
        bridge_to(wallet.url, {"WALLET__RETRY_UNKNOWN": str(allowed)}) as caller,
    ):
        end = await caller.terminate()
        assert end.code == ("OK" if allowed else "UNKNOWN")
        assert len(wallet.requests) == (2 if allowed else 1)
        assert len({request.body for request in wallet.requests}) == 1
